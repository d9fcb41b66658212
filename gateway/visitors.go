package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/internal/token"
	"holdline/internal/wpauth"
	"holdline/wpdb/wplc"
)

// Who may poll a chat (loops.wplc.visitors).
const (
	visitorsAdopt      = "adopt"
	visitorsCompatible = "compatible"
)

// mayPoll decides about a visitor's poll: whoever the chat is bound to, agents,
// and those whom the operator's choice lets in. A chat that is adopted gets its
// cookie with this request's answer.
func (a *ajax) mayPoll(loop wplc.Loop, known bool) (bool, error) {
	visitors := a.g.settings().Loops.WPLC.Visitors
	if visitors == visitorsCompatible {
		return true, nil
	}
	channel := loop.Channel()
	if channel == "" {
		return false, nil // PHP would read some chat, nobody knows which
	}
	if a.id.viewer.HasGrant(channel) {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(a.c.Request().Context(), lookupTimeout)
	defer cancel()
	if a.id.viewer.UserID > 0 {
		agent, err := a.loops.Desk.IsAgent(ctx, a.id.viewer.UserID)
		if err != nil || agent {
			return agent, err
		}
	}
	if visitors != visitorsAdopt || !known {
		return false, nil
	}
	to := a.adopter()
	if !a.loops.adoptions.again(to, loop.CID, time.Now()) {
		adopted, err := a.adopt(ctx, loop)
		if err != nil || !adopted {
			return false, nil // it is asked again with the next poll
		}
		a.loops.adoptions.note(to, loop.CID, time.Now())
	}
	cookie := a.g.bindingCookie(a.c.Request(), channel)
	if cookie == "" {
		return false, nil
	}
	a.heads().Add("Set-Cookie", cookie)
	a.adopted = true
	return true, nil
}

// adopt asks whether an unbound chat may be given to who polls for it: to the
// page that has it, which alone knows the number of its session, or, of the
// chats that began before Holdline came, to the first that asks.
func (a *ajax) adopt(ctx context.Context, loop wplc.Loop) (bool, error) {
	if has, err := a.loops.Desk.HasPage(ctx, loop); has || err != nil {
		return has, err
	}
	return a.loops.Courier.Adopt(ctx, loop.CID)
}

// adoptions remembers for a moment who was given which chat: the answer with the
// cookie may have been lost, or another tab may have asked before it came.
type adoptions struct {
	mu    sync.Mutex
	given map[int64]adoption
}

type adoption struct {
	to    adopter
	until time.Time
}

// adopter is as much of a browser as a request without cookies tells.
type adopter struct {
	from      netip.Addr
	userAgent [sha256.Size]byte
}

func (a *ajax) adopter() adopter {
	r := a.c.Request()
	from, _ := netip.ParseAddr(a.c.RealIP())
	return adopter{household(from), sha256.Sum256([]byte(r.UserAgent() + "\n" + r.Header.Get("Accept-Language")))}
}

const (
	// adoptionGrace is two of the plugin's pauses after an error.
	adoptionGrace = 10 * time.Second
	maxAdoptions  = 10_000
)

func (a *adoptions) again(to adopter, chat int64, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	given, ok := a.given[chat]
	return ok && given.to == to && now.Before(given.until)
}

func (a *adoptions) note(to adopter, chat int64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.given) >= maxAdoptions || a.given == nil {
		a.given = make(map[int64]adoption)
	}
	a.given[chat] = adoption{to, now.Add(adoptionGrace)}
}

// bindingLife is how long a browser keeps a chat. The plugin's own cookie lives a
// day.
const bindingLife = 7 * 24 * time.Hour

// bindingCookie binds one more chat to the browser of a request, "" where there
// is no secret to sign with.
func (g *Gateway) bindingCookie(r *http.Request, channel string) string {
	now := time.Now()
	bound := []string{channel}
	if value, ok := wpauth.LookupCookie(r.Header["Cookie"], token.BindingCookie); ok {
		if old, err := g.keys.CheckBinding(value, now); err == nil {
			bound = append(slices.DeleteFunc(old.Channels, func(c string) bool { return c == channel }), channel)
		}
	}
	if over := len(bound) - token.MaxBound; over > 0 {
		bound = bound[over:]
	}
	value, err := g.keys.Sign(token.Binding{Channels: bound, Expires: now.Add(bindingLife)})
	if err != nil {
		return ""
	}
	cookie := http.Cookie{
		Name: token.BindingCookie, Value: value, Path: "/", MaxAge: int(bindingLife.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: g.isHTTPS(r),
	}
	return cookie.String()
}

func (g *Gateway) isHTTPS(r *http.Request) bool {
	return r.TLS != nil || g.trusts(r.RemoteAddr) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// creation marks a request whose answer may tell of a chat that PHP has made for
// this browser.
type creation struct {
	request *http.Request
	form    url.Values
}

type creationKey struct{}

// expectChat marks the request.
func (a *ajax) expectChat() {
	r := a.c.Request()
	r = r.WithContext(context.WithValue(r.Context(), creationKey{}, &creation{r, a.body.form}))
	r.Header.Del("Accept-Encoding") // the answer has to be read here
	a.c.SetRequest(r)
}

// maxCreation bounds the answers that tell of a new chat: a number, or a small
// JSON object.
const maxCreation = 64 << 10

// bindCreated adds the cookie to PHP's answer, unless the companion plugin has set
// it already.
func (g *Gateway) bindCreated(resp *http.Response) error {
	made, ok := resp.Request.Context().Value(creationKey{}).(*creation)
	if !ok || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "" {
		return nil
	}
	for _, cookie := range resp.Header["Set-Cookie"] {
		if strings.HasPrefix(cookie, token.BindingCookie+"=") {
			return nil
		}
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxCreation+1))
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(head), errReader{err}, resp.Body), resp.Body}
	if err != nil || len(head) > maxCreation {
		return nil
	}
	if chat, ok := wplc.Created(made.form, head); ok {
		loop := wplc.Loop{CID: chat}
		if cookie := g.bindingCookie(made.request, loop.Channel()); cookie != "" {
			resp.Header.Add("Set-Cookie", cookie)
		}
	}
	return nil
}

// errReader passes on the error at which a body was given up; nil is none.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}
