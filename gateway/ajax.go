package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/internal/chat"
	"holdline/internal/wpauth"
	"holdline/poll"
	"holdline/wordpress"
	"holdline/wpdb/wplc"
)

// isAjax also finds the spellings that web servers hand to the same script.
func isAjax(r *http.Request) bool {
	return strings.Contains(path.Clean(r.URL.Path), wordpress.AjaxPath)
}

// serveSite answers what is the site's: the loops that Holdline knows are held
// here, everything else is PHP's.
func (g *Gateway) serveSite(c echo.Context) error {
	r := c.Request()
	if r.Header.Get(wordpress.ForwardedHeader) != "" {
		return &refusal{
			http.StatusLoopDetected, "circle",
			"this request has come back to Holdline: wordpress.upstream must reach PHP without Holdline in between",
		}
	}
	at := g.attached.Load()
	if at == nil || at.backend.Loops == nil || !isAjax(r) {
		return g.forward(c)
	}
	a := &ajax{g: g, c: c, at: at, loops: at.backend.Loops, pass: func() error { return g.forward(c) }}
	return a.serve()
}

// serveRerouted takes the loops of pages whose site has no proxy rule: the
// companion plugin sends them here. Anything but 200 sends the page back to PHP.
func (g *Gateway) serveRerouted(c echo.Context) error {
	at := g.attached.Load()
	if at == nil {
		return errNotReady
	}
	if at.backend.Loops == nil {
		return errNoLoop
	}
	a := &ajax{g: g, c: c, at: at, loops: at.backend.Loops, rerouted: true}
	a.pass = func() error { return errNoLoop }
	return a.serve()
}

var errNoLoop = &refusal{http.StatusNotFound, "loop", "this is no request that Holdline answers: ask the site's own admin-ajax.php"}

// ajax is one request to admin-ajax.php.
type ajax struct {
	g        *Gateway
	c        echo.Context
	at       *attached
	loops    *Loops
	rerouted bool
	pass     func() error // lets PHP answer

	body    ajaxBody
	id      *identity   // who asks; of loops only
	parked  bool        // the identity's grant is the held connection's
	header  http.Header // of whatever is answered here
	adopted bool        // its answer brings the cookie that later ones need
}

func (a *ajax) serve() error {
	var err error
	if a.body, err = a.g.readAjax(a.c); err != nil {
		return err
	}
	switch a.body.kind {
	case bodyNone:
		return a.pass()
	case bodyHidden:
		return a.passSifted()
	}
	loop, known := a.loops.Desk.Recognise(a.body.form)
	if loop.Action == "" {
		return a.passCreating()
	}
	if a.id, err = a.identify(); err != nil {
		if loop.Agent {
			return a.pass() // PHP decides as well
		}
		a.id = &identity{}
		return a.sayNothing(loop, known)
	}
	defer func() {
		if !a.parked { // or the held connection gives it back
			a.id.grant.release()
		}
	}()
	if !loop.Agent {
		return a.serveVisitor(loop, known)
	}
	if !known || a.id.grant.session == nil || !a.nonce(loop) {
		return a.pass()
	}
	return a.hold(loop)
}

// serveVisitor answers the poll of a visitor's page. PHP would show any chat to
// anybody who knows its number, so nothing about a chat passes by the check.
func (a *ajax) serveVisitor(loop wplc.Loop, known bool) error {
	if loop.CID == 0 {
		return a.passCreating()
	}
	may, err := a.mayPoll(loop, known)
	switch {
	case err != nil, !may: // it is asked again with the next poll
		return a.sayNothing(loop, known)
	case !known, a.mustProve() && !a.nonce(loop):
		return a.pass()
	}
	return a.hold(loop)
}

// mustProve tells whether PHP asks for a nonce: in 8.x only of users who are
// logged in (ajax_new.php:28), in 5.x of everybody.
func (a *ajax) mustProve() bool {
	return a.id.grant.session != nil || a.loops.Desk.NonceForAll()
}

func (a *ajax) nonce(loop wplc.Loop) bool {
	return a.loops.Nonce(a.id.grant.session, wplc.NonceAction, loop.Nonce, time.Now())
}

// identify is the gateway's, but for tokens that have run out: a page sends its
// old one for ever, and its other credentials may do.
func (a *ajax) identify() (*identity, error) {
	r := a.c.Request()
	from, _ := netip.ParseAddr(a.c.RealIP())
	ctx, cancel := context.WithTimeout(r.Context(), lookupTimeout)
	defer cancel()
	id, err := a.g.identify(ctx, a.at.backend, r, from, time.Now())
	var told *refusal
	if errors.As(err, &told) {
		return &identity{doubt: told}, nil
	}
	if err == nil && a.rerouted {
		if err = checkOrigin(r, a.g.origins(a.at.backend), id.ambient, false); err != nil {
			id.grant.release()
		}
	}
	return id, err
}

// heads are the headers of all answers of ours. A rerouted page is often one of
// another origin; others get what WordPress sends.
func (a *ajax) heads() http.Header {
	if a.header != nil {
		return a.header
	}
	a.header = http.Header{}
	r, origins := a.c.Request(), a.g.origins(a.at.backend)
	switch origin := r.Header.Get("Origin"); {
	case origin == "":
	case a.rerouted:
		cors(a.header, r, origins)
	case wordPressAllows(origin, origins):
		a.header.Set("Access-Control-Allow-Origin", origin)
		a.header.Set("Access-Control-Allow-Credentials", "true")
	}
	return a.header
}

// hold answers a loop whose sender may have the answer.
func (a *ajax) hold(loop wplc.Loop) error {
	if a.id.grant.session != nil {
		loop.UserID = a.id.grant.session.UserID
	}
	if cookie, ok := wpauth.LookupCookie(a.c.Request().Header["Cookie"], "wplc_email"); ok {
		loop.EmailCookie = unescape(cookie)
	}
	loop.Careful = a.g.isDeaf(a.c.Request())
	client := "v" // bound to the chat, which is part of a cursor's key
	if loop.UserID > 0 {
		client = userKey(loop.UserID, "")
	}
	visit := wplc.Visit{
		URL: a.c.Request().Referer(), UserAgent: a.c.Request().UserAgent(), IP: a.c.RealIP(),
	}
	if a.adopted && !loop.Short {
		// The cookie must not wait for news, which may come in half a minute: by then
		// the page may be gone.
		return a.empty()
	}
	switch w := a.loops.way(a.c.Request().Context()); {
	case w.native:
		loop.Strings = w.strings
		return a.park(loop, w.desk.Native(loop, client, visit), w.String())
	case a.g.upstream == nil:
		return a.pass()
	default:
		return a.park(loop, w.desk.Relay(loop, client, visit, a.forwarder()), w.String())
	}
}

// isDeaf tells whether a request came through a proxy that does not notice when the
// browser leaves: Apache's mod_proxy, which alone of the usual ones sends this header
// (ProxyAddHeaders).
func (g *Gateway) isDeaf(r *http.Request) bool {
	return r.Header.Get("X-Forwarded-Server") != "" && g.trusts(r.RemoteAddr)
}

// sayNothing is for who may not read: PHP's own empty answer, after as long.
func (a *ajax) sayNothing(loop wplc.Loop, known bool) error {
	a.g.metrics.auth.WithLabelValues("loop", "refused").Inc()
	if !known {
		return a.empty()
	}
	return a.park(loop, a.loops.Desk.Silent(loop), silent)
}

// silent is how loops are answered whose sender may not read.
const silent = "silent"

// appear tells the other side of a chat that somebody is there. Between two polls
// live's grace keeps it so.
func (a *ajax) appear(loop wplc.Loop, pass *pass) {
	channel := loop.Channel()
	if channel == "" {
		return // a dashboard
	}
	viewer, as := chat.Viewer{}, asVisitor
	if loop.Agent {
		viewer, as = chat.Viewer{UserID: loop.UserID}, asAgent
	}
	channels := []string{channel}
	a.at.speech.enter(pass, a.at.speech.listener(a.c.Request().Context(), viewer, as, channels), channels)
}

// park counts the request in and hands it to the loops. A loop for which there
// is no room is answered with nothing: an error would be printed into the chat.
func (a *ajax) park(loop wplc.Loop, answers poll.Loop, how string) error {
	from, _ := netip.ParseAddr(a.c.RealIP())
	pass, err := a.g.enter(a.c.Request(), from, a.id)
	if err != nil {
		a.g.metrics.refused.WithLabelValues(a.g.judge(err).reason).Inc()
		return a.empty()
	}
	a.parked = true
	if how != silent {
		a.appear(loop, &pass)
	}
	a.g.metrics.loops.WithLabelValues(loop.Action, how).Inc()
	return a.at.loops.Serve(a.c.Response(), a.c.Request(), poll.LoopRequest{Loop: answers, Pass: &pass, Header: a.heads()})
}

// empty is what PHP answers when nothing came.
func (a *ajax) empty() error {
	poll.Empty(a.c.Response(), a.heads())
	return nil
}

// passSifted lets PHP answer a form that cannot be read here, unless a visitor's
// poll is hidden in it. What agents send needs no sieve: they may read every chat.
func (a *ajax) passSifted() error {
	if a.rerouted {
		return a.pass()
	}
	if a.g.settings().Loops.WPLC.Visitors == visitorsCompatible || a.fromAgent() {
		return a.pass()
	}
	r := a.c.Request()
	r.Body = &sieve{ReadCloser: r.Body}
	return a.pass()
}

func (a *ajax) fromAgent() bool {
	id, err := a.identify()
	if err != nil {
		return false
	}
	defer id.grant.release()
	if id.viewer.UserID <= 0 {
		return false
	}
	agent, err := a.loops.Desk.IsAgent(a.c.Request().Context(), id.viewer.UserID)
	return agent && err == nil
}

// passCreating lets PHP answer, and binds the chat to the browser if PHP makes
// one.
func (a *ajax) passCreating() error {
	if !a.rerouted && wplc.Creates(a.body.form) {
		a.expectChat()
	}
	return a.pass()
}
