package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/config"
	"holdline/internal/park"
	"holdline/sse"
	"holdline/wordpress"
	"holdline/ws"
)

// checks serve the check page, with which a site's owner finds out what the
// proxies on the way do to each transport. Its requests go to the transports' own
// addresses, because a proxy may have rules for each of them, with check=<name> in
// the query. They need no login and hold no channel: all that they tell is the
// time and how the request itself came in.
type checks struct {
	g         *Gateway
	admission *admission
	page      []byte
	policy    string

	mu      sync.Mutex
	refused []failedHandshake // the latest
}

// What strangers can make us hold, at a time: one page holds three.
const (
	maxChecks      = 60
	maxChecksOfOne = 20
	checkLife      = 30 * time.Second
	maxCheckWait   = 25 * time.Second
	maxCheckWords  = 100 // to a WebSocket
	maxCheckName   = 40
	maxRefused     = 64
)

const (
	checkTick  = 250 * time.Millisecond // how soon a check notices that we are leaving
	checkTicks = 5                      // events of a stream, one a tick; only heartbeats follow
)

// failedHandshake is why the WebSocket of a check was refused, which browsers do
// not tell their pages.
type failedHandshake struct{ check, why string }

func newChecks(g *Gateway) *checks {
	page, policy := wordpress.CheckPage()
	return &checks{g: g, page: page, policy: policy, admission: newAdmission(config.Limits{
		Connections: maxChecks, PerAddress: maxChecksOfOne,
	})}
}

// instead lets serve answer the requests of the check page.
func (k *checks) instead(serve func(c echo.Context, check string) error) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !strings.Contains(c.Request().URL.RawQuery, "check=") {
				return next(c)
			}
			check := c.QueryParam("check")
			switch {
			case check == "":
				return next(c)
			case len(check) > maxCheckName:
				return &refusal{http.StatusBadRequest, "parameter", fmt.Sprintf("the name of a check has %d bytes at most", maxCheckName)}
			}
			return serve(c, strings.Clone(check))
		}
	}
}

func (k *checks) servePage(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", k.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	return c.HTMLBlob(http.StatusOK, k.page)
}

// enter makes room for one held check.
func (k *checks) enter(c echo.Context) (pass, error) {
	from, _ := netip.ParseAddr(c.RealIP())
	p, err := k.admission.enter(from, "", overLoop, grant{})
	if err != nil {
		return pass{}, &refusal{http.StatusServiceUnavailable, "limit_check", "too many checks are running; try again in half a minute"}
	}
	return p, nil
}

// checkReport is the answer to a poll of the check page. It says nothing of the
// machines between the browser and us that a stranger could use.
type checkReport struct {
	Now      float64 `json:"now"`      // the server's clock when it answered, in ms since 1970
	HeldMS   float64 `json:"held_ms"`  // since the request's head was here
	Protocol string  `json:"protocol"` // of the last hop: HTTP/1.0, HTTP/1.1 or HTTP/2.0
	// Address is where the browser seems to be, if that is a public address: another
	// would be a machine's of the site. Scope is public, private, loopback or none.
	Address string `json:"address,omitempty"`
	Scope   string `json:"scope"`
	Trusted bool   `json:"trusted"` // the last hop may say for whom it asks: trusted_proxies
	// ForwardedFor tells whether the request names an address, SameHost whether it
	// names the host of the page (host=), HTTPS whether it came encrypted.
	ForwardedFor bool  `json:"forwarded_for"`
	SameHost     bool  `json:"same_host"`
	HTTPS        bool  `json:"https"`
	HeartbeatMS  int64 `json:"heartbeat_ms"`
	// Handshake is why the WebSocket of this check was refused, "" if none was.
	Handshake string `json:"handshake,omitempty"`
}

// servePoll holds a request for wait= seconds, as polls are, and then tells how
// it came in.
func (k *checks) servePoll(c echo.Context, check string) error {
	began := time.Now()
	seconds, err := strconv.ParseFloat("0"+c.QueryParam("wait"), 64)
	if err != nil || math.IsNaN(seconds) {
		return &refusal{http.StatusBadRequest, "parameter", "wait is a number of seconds"}
	}
	if seconds > 0 {
		p, err := k.enter(c)
		if err != nil {
			return err
		}
		defer p.Release()
		end := began.Add(time.Duration(min(seconds, maxCheckWait.Seconds()) * float64(time.Second)))
		if !k.waitUntil(c.Request().Context(), end) {
			return errNotReady // we are leaving, or nobody listens
		}
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, k.report(c, check, began))
}

// waitUntil tells whether the time has come, and not an end before it.
func (k *checks) waitUntil(ctx context.Context, end time.Time) bool {
	for {
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		select {
		case <-time.After(min(left, checkTick)):
		case <-ctx.Done():
			return false
		}
		if k.g.draining.Load() {
			return false
		}
	}
}

func (k *checks) report(c echo.Context, check string, began time.Time) checkReport {
	r := c.Request()
	from, _ := netip.ParseAddr(c.RealIP())
	trusted := k.g.trusts(r.RemoteAddr)
	a := checkReport{
		Protocol: r.Proto, Scope: scopeOf(from), Trusted: trusted,
		ForwardedFor: r.Header.Get("X-Forwarded-For") != "",
		SameHost:     strings.EqualFold(hostname(k.g.siteHost(r)), c.QueryParam("host")),
		HTTPS:        r.TLS != nil || trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
		HeartbeatMS:  k.g.settings().Heartbeat.Milliseconds(),
		Handshake:    k.whyRefused(check),
	}
	if a.Scope == "public" {
		a.Address = from.Unmap().String()
	}
	now := time.Now()
	a.Now, a.HeldMS = milliseconds(now), float64(now.Sub(began).Microseconds())/1000
	return a
}

func milliseconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// hostname is a Host without its port. Browsers write IPv6 in brackets.
func hostname(host string) string {
	return (&url.URL{Host: host}).Hostname()
}

func scopeOf(a netip.Addr) string {
	switch a = a.Unmap(); {
	case !a.IsValid():
		return "none"
	case a.IsLoopback():
		return "loopback"
	case a.IsGlobalUnicast() && !a.IsPrivate():
		return "public"
	}
	return "private"
}

// serveSSE is a stream that says the time five times and then only beats, as a
// chat does in which nobody speaks.
func (k *checks) serveSSE(c echo.Context, _ string) error {
	p, err := k.enter(c)
	if err != nil {
		return err
	}
	defer p.Release()
	sse.SetHeader(c.Response().Header())
	say := func(text string) error {
		if _, err := c.Response().Write([]byte(text)); err != nil {
			return err
		}
		return http.NewResponseController(c.Response()).Flush()
	}
	began := time.Now()
	if err := say(": holdline\nretry: 60000\n\n"); err != nil {
		return nil // the browser has left
	}
	ctx := c.Request().Context()
	for range checkTicks {
		if say(fmt.Sprintf("event: time\ndata: {\"type\":\"time\",\"now\":%.3f}\n\n", milliseconds(time.Now()))) != nil ||
			!k.waitUntil(ctx, time.Now().Add(checkTick)) {
			return nil
		}
	}
	for end := began.Add(checkLife); ; {
		beat := time.Now().Add(k.g.settings().Heartbeat)
		if beat.After(end) {
			k.waitUntil(ctx, end)
			return nil
		}
		if !k.waitUntil(ctx, beat) || say(":\n\n") != nil {
			return nil
		}
	}
}

// serveWS is a WebSocket that answers pings.
func (k *checks) serveWS(c echo.Context, check string) error {
	p, err := k.enter(c)
	if err != nil {
		k.refuse(check, err.Error())
		return err
	}
	conn, early, refused := ws.Upgrade(c.Response(), c.Request(), nil)
	if refused != nil {
		p.Release()
		k.refuse(check, refused.Reason)
		if refused.Status == 0 {
			return nil // nobody is left to be told
		}
		for name, values := range refused.Header {
			c.Response().Header()[name] = values
		}
		return &refusal{refused.Status, "handshake", refused.Reason}
	}
	s := &checkSocket{g: k.g, pass: p, session: ws.Session{Heartbeat: k.g.settings().Heartbeat}}
	s.began = time.Now()
	s.beaten = s.began
	k.g.lot.Park(conn, early, s).SetAlarm(checkTick)
	return nil
}

func (k *checks) refuse(check, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.refused) == maxRefused {
		k.refused = append(k.refused[:0], k.refused[1:]...)
	}
	k.refused = append(k.refused, failedHandshake{check, why})
}

func (k *checks) whyRefused(check string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.refused {
		if f.check == check {
			return f.why
		}
	}
	return ""
}

// checkSocket is one held WebSocket of a check.
type checkSocket struct {
	g             *Gateway
	pass          pass
	session       ws.Session
	began, beaten time.Time // beaten is of Alarm alone
	words         int       // of Received alone
}

var (
	_ park.Holder = (*checkSocket)(nil)
	_ ws.Listener = (*checkSocket)(nil)
)

// Received implements park.Holder.
func (s *checkSocket) Received(c park.Conn, b []byte) { s.session.Received(c, b, s) }

// Message implements ws.Listener: it answers pings with the time.
func (s *checkSocket) Message(c park.Conn, msg []byte) {
	var said struct {
		ID float64 `json:"id"`
	}
	if s.words++; s.words > maxCheckWords {
		s.session.Close(c, ws.CodePolicy, "too many messages")
		return
	}
	if json.Unmarshal(msg, &said) != nil {
		s.session.Close(c, ws.CodeMisuse, "")
		return
	}
	b, err := json.Marshal(map[string]any{"type": "pong", "id": said.ID, "now": milliseconds(time.Now())})
	if err != nil {
		return // two numbers
	}
	s.session.Send(c, ws.AppendText(nil, b))
}

// Alarm rings every tick. The session has only one alarm too, so its heartbeats
// are rung from here.
func (s *checkSocket) Alarm(c park.Conn) {
	now := time.Now()
	switch {
	case s.session.Code() != 0: // closing: the session waits for the answer
		s.session.Alarm(c)
		return
	case s.g.draining.Load():
		s.session.Close(c, ws.CodeDraining, "")
		return
	case now.Sub(s.began) >= checkLife:
		s.session.Close(c, ws.CodeNormal, "the check is over")
		return
	case now.Sub(s.beaten) >= s.g.settings().Heartbeat:
		s.beaten = now
		s.session.Alarm(c)
	}
	c.SetAlarm(checkTick)
}

// Closed implements park.Holder.
func (s *checkSocket) Closed(park.Conn, park.Reason) { s.pass.Release() }
