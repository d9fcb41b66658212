package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"holdline/wordpress"
	"holdline/wpdb"
	"holdline/wpdb/wplc"
)

// Loops is what answers the polling loops of WP Live Chat Support's own
// JavaScript: from the rows, with the companion plugin for the writes, or by PHP.
type Loops struct {
	// Desk hands the writes to the courier. Alone makes none: where there is no
	// companion plugin, PHP has to be asked for them. Both know what browsers have.
	Desk, Alone *wplc.Desk
	Courier     *wordpress.Courier
	// Nonce verifies a WordPress nonce; a nil session is a visitor's.
	Nonce func(s *wpdb.Session, action, nonce string, now time.Time) bool

	answer    func() string // loops.wplc.answer
	log       *slog.Logger
	adoptions adoptions
	texts     atomic.Pointer[texts]
	told      atomic.Pointer[string] // why loops are relayed, as it was logged last
}

// texts are the site's, kept together with what they were made of.
type texts struct {
	of      map[string]string
	strings *wplc.Strings
}

// newLoops stands on a site's rows. It starts nothing; the gateway's estate does.
func (g *Gateway) newLoops(src *wplc.Source, db *wpdb.DB, site *wpdb.Site, auth *wpdb.Authenticator) *Loops {
	courier := wordpress.NewCourier(wordpress.CourierOptions{Do: g.siteCall(site, wordpress.SyncAction), Logger: g.log})
	desk := wplc.NewDesk(src, wplc.DeskOptions{
		Query: db.Shared(), Writes: writes{courier}, Wake: g.wakeLoops, Logger: g.log,
	})
	return &Loops{
		Desk: desk, Alone: desk.Alone(), Courier: courier,
		Nonce: auth.VerifyNonce, answer: func() string { return g.settings().Loops.WPLC.Answer }, log: g.log,
	}
}

func (g *Gateway) wakeLoops(channel string) {
	if at := g.attached.Load(); at != nil {
		at.loops.Wake(channel)
	}
}

// helloPatience is how long the first requests after a start wait to learn
// whether the companion plugin is there.
const helloPatience = 3 * time.Second

// way is how a loop is answered.
type way struct {
	native  bool
	desk    *wplc.Desk
	strings *wplc.Strings // of native answers; nil is English
}

func (w way) String() string {
	if w.native {
		return "native"
	}
	return "relay"
}

// way decides it for the site as it is now: from the rows where these suffice and
// the companion plugin makes the writes, otherwise by PHP.
func (l *Loops) way(ctx context.Context) way {
	ctx, cancel := context.WithTimeout(ctx, helloPatience)
	defer cancel()
	hello, err := l.Courier.Hello(ctx)
	why, answer := "", l.answer()
	switch unfit := l.Desk.Unfit(); {
	case answer == "relay":
		why = "loops.wplc.answer is relay"
	case unfit != nil:
		why = unfit.Error()
	case answer == "native" || err == nil && len(hello.Hello.Custom) == 0:
		return way{native: true, desk: l.Desk, strings: l.stringsOf(hello.Strings)}
	case err != nil:
		why = err.Error()
	default:
		why = "other plugins change the answers (" + strings.Join(hello.Hello.Custom, ", ") + ")"
	}
	if last := l.told.Swap(&why); last == nil || *last != why {
		l.log.Info("PHP answers the polling loops, when there is news (relay)", "reason", why)
	}
	if err != nil {
		return way{desk: l.Alone}
	}
	return way{desk: l.Desk}
}

// stringsOf makes the texts once, until the site's language changes.
func (l *Loops) stringsOf(of map[string]string) *wplc.Strings {
	if len(of) == 0 {
		return nil
	}
	if have := l.texts.Load(); have != nil && maps.Equal(have.of, of) {
		return have.strings
	}
	made := &texts{of, wplc.StringsOf(of)}
	l.texts.Store(made)
	return made.strings
}

// writes carries the desk's to the companion plugin.
type writes struct{ courier *wordpress.Courier }

// Effect implements wplc.Writes.
func (w writes) Effect(e wplc.Effect, v wplc.Visit) {
	visit := wordpress.Visit{Session: e.Session, URL: &v.URL, UA: &v.UserAgent, IP: v.IP}
	switch e.Kind {
	case wplc.EffectBeat:
		w.courier.Beat(wordpress.Beat{Chat: e.CID, Status: int(e.From), Visit: visit})
		if e.Switch {
			w.courier.Flush() // another page has the chat now, and others look that up
		}
	case wplc.EffectMove:
		w.courier.Move(wordpress.Transition{Chat: e.CID, From: int(e.From), To: int(e.To), Visit: visit})
	case wplc.EffectMissed:
		w.courier.Move(wordpress.Transition{Chat: e.CID, From: int(e.From), To: int(e.From), Visit: visit})
		w.courier.Missed(e.CID)
	}
}

// Read implements wplc.Writes.
func (w writes) Read(ids []int64) { w.courier.Read(ids...) }

// Age implements wplc.Writes.
func (w writes) Age() { w.courier.Age() }

// syncTimeout is how long WordPress may take over one batch.
const syncTimeout = 20 * time.Second

// siteCall posts to one action of the companion plugin, past any proxy rule that
// leads back here.
func (g *Gateway) siteCall(site *wpdb.Site, action string) func(context.Context, []byte) (int, []byte, error) {
	call := callSync
	if action == wordpress.SendAction {
		call = callSend
	}
	return func(ctx context.Context, body []byte) (int, []byte, error) {
		if len(g.keys.Secret) == 0 {
			return 0, nil, errors.New("auth.secret_file is not set, so the companion plugin cannot be called")
		}
		defer g.metrics.called(call, time.Now())
		ctx, cancel := context.WithTimeout(ctx, syncTimeout)
		defer cancel()
		door := g.door()
		req, err := door.Request(ctx, site.SiteURL(), action, body)
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		g.keys.SignHeader(req.Header, body, time.Now())
		resp, answer, err := door.Ask(req, wordpress.MaxSyncBody)
		if err != nil {
			return 0, nil, fmt.Errorf("call the companion plugin: %w", err)
		}
		return resp.StatusCode, answer, nil
	}
}

// door is where calls go: the upstream, or the site itself where there is none.
func (g *Gateway) door() *wordpress.Door {
	if g.upstream != nil {
		return g.upstream
	}
	return &wordpress.Door{Transport: g.direct}
}
