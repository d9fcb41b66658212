package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/internal/token"
	"holdline/wpdb"
)

// routes makes the public handler. echo is the router and nothing more: no
// middleware may wrap the response of a held connection.
func (g *Gateway) routes() http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(io.Discard) // what matters is returned and ends in fail
	e.HTTPErrorHandler = g.fail
	e.IPExtractor = func(r *http.Request) string { return g.settings().realIP(r) }
	e.Use(g.survive, g.limitTime)

	base := e.Group(g.cfg.BasePath)
	checks := newChecks(g)
	base.GET("/check", checks.servePage)
	base.GET("/sse", g.serveSSE, checks.instead(checks.serveSSE), g.metrics.countResumes)
	base.GET("/ws", g.serveWS, checks.instead(checks.serveWS), g.metrics.countResumes)
	base.GET("/poll", g.servePoll, checks.instead(checks.servePoll))
	base.POST("/poll", g.servePoll)
	base.POST("/send", g.serveSend)
	base.POST("/signal", g.serveSignal)
	base.GET("/info", g.serveInfo)
	for _, s := range g.scripts {
		base.GET("/"+s.name, s.serve)
		base.HEAD("/"+s.name, s.serve)
	}
	base.POST("/wake", g.serveWake)
	base.POST("/ajax", g.serveRerouted)
	base.OPTIONS("/*", g.servePreflight)
	if g.opt.Routes != nil {
		e.Any("/*", echo.WrapHandler(g.opt.Routes))
	} else {
		e.Any("/*", g.serveSite)
	}
	return e
}

// ipExtractor believes X-Forwarded-For from the listed proxies only. What comes
// over a unix socket comes from this machine.
func ipExtractor(trusted []netip.Prefix) echo.IPExtractor {
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range trusted {
		options = append(options, echo.TrustIPRange(prefixNet(p)))
	}
	fromHeader := echo.ExtractIPFromXFFHeader(options...)
	return func(r *http.Request) string {
		if r.RemoteAddr == "" || r.RemoteAddr == "@" {
			local := *r
			local.RemoteAddr = "127.0.0.1:0"
			r = &local
		}
		return fromHeader(r)
	}
}

// survive turns a panic into an error: one request's fault is not the others'.
func (g *Gateway) survive(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				g.log.Error("panic in a handler", "panic", p, "path", c.Request().URL.Path)
				err = errInternal
			}
		}()
		return next(c)
	}
}

// errNotReady is told while the database has not answered since the start.
var errNotReady = errors.New("the site's database has not answered yet")

// retryAfter is what a refused client is told to wait, in seconds.
const retryAfter = 5

// fail ends an error's journey: the client gets a sentence, the log the rest.
func (g *Gateway) fail(err error, c echo.Context) {
	r, w := c.Request(), c.Response()
	// The context alone does not tell that the client has left: it also ends
	// when a body comes too slowly.
	if w.Committed || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return
	}
	answer := g.judge(err)
	if answer.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	if answer.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 section 11.6.1
	}
	if at := g.attached.Load(); at != nil {
		cors(w.Header(), r, g.origins(at.backend))
	}
	g.metrics.refused.WithLabelValues(answer.reason).Inc()
	if answer.status >= http.StatusInternalServerError {
		level := slog.LevelWarn
		if answer.expected() {
			level = slog.LevelDebug // a crowd that is turned away must not fill the log
		}
		g.log.LogAttrs(r.Context(), level, "request failed", slog.String("path", r.URL.Path),
			slog.String("query", redactedQuery(r.URL)), slog.Int("status", answer.status), slog.Any("error", err))
	}
	w.Header().Set("Cache-Control", "no-store")
	if err := c.JSON(answer.status, map[string]string{"error": answer.text, "reason": answer.reason}); err != nil {
		g.log.Debug("an error could not be told", "error", err)
	}
}

// The reasons of what passes by itself.
const (
	reasonNotReady = "not_ready"
	reasonDatabase = "database"
)

// judge is the one table from errors to answers.
func (g *Gateway) judge(err error) *refusal {
	var told *refusal
	var over *overLimit
	var routed *echo.HTTPError
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &over):
		return &refusal{http.StatusServiceUnavailable, "limit_" + over.what, over.Error()}
	case errors.Is(err, errNotReady):
		return &refusal{http.StatusServiceUnavailable, reasonNotReady, errNotReady.Error() + "; try again in a moment"}
	case errors.As(err, &routed):
		return &refusal{routed.Code, "route", http.StatusText(routed.Code)}
	case errors.Is(err, context.DeadlineExceeded), wpdb.Classify(err) != wpdb.Classify(nil):
		return &refusal{http.StatusServiceUnavailable, reasonDatabase, "the site's database does not answer; try again in a moment"}
	}
	return errInternal
}

// errInternal is told when the fault is ours.
var errInternal = &refusal{http.StatusInternalServerError, "internal", "something went wrong here; the log knows more"}

// info is what a client may know before it connects.
type info struct {
	Transports  []string  `json:"transports"`
	ServerTime  time.Time `json:"server_time"`
	HoldMS      int64     `json:"hold_ms"`
	HeartbeatMS int64     `json:"heartbeat_ms"`
	Channels    int       `json:"max_channels"`
	Sources     []string  `json:"sources"`
	Send        bool      `json:"send"`     // whether messages are taken
	MaxBody     int64     `json:"max_body"` // bytes of a message's text
	Version     string    `json:"version"`
}

func (g *Gateway) serveInfo(c echo.Context) error {
	now := g.settings()
	i := info{
		Transports: []string{"ws", "sse", "poll"}, ServerTime: time.Now().UTC(),
		HoldMS: now.Hold.Milliseconds(), HeartbeatMS: now.Heartbeat.Milliseconds(),
		Channels: now.Limits.Channels, Sources: []string{}, MaxBody: int64(now.Limits.Message), Version: g.opt.Version,
	}
	if at := g.attached.Load(); at != nil {
		cors(c.Response().Header(), c.Request(), g.origins(at.backend))
		i.Sources = append(i.Sources, sourceNames(at.backend)...)
		i.Send = at.speech.writable(c.Request().Context())
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, i)
}

// serveWake is the doorbell of the companion plugin: a signed POST with a JSON
// object that may name one source. It says nothing but "read now".
func (g *Gateway) serveWake(c echo.Context) error {
	body, err := g.body(c)
	if err != nil {
		return err
	}
	r := c.Request()
	err = g.keys.CheckCall(r.Header.Get(token.TimestampHeader), r.Header.Get(token.SignatureHeader), body, time.Now())
	if err != nil {
		g.metrics.auth.WithLabelValues("call", "refused").Inc()
		return &refusal{http.StatusForbidden, "signature", err.Error()}
	}
	var wish struct {
		Source string `json:"source"`
	}
	if len(body) > 0 && json.Unmarshal(body, &wish) != nil {
		return &refusal{http.StatusBadRequest, "body", "the body must be a JSON object"}
	}
	at := g.attached.Load()
	if at == nil {
		return errNotReady
	}
	g.metrics.doorbells.WithLabelValues("wake").Inc()
	for _, f := range at.backend.Feeds {
		if wish.Source == "" || wish.Source == f.Tail.Name() {
			f.Tail.Wake()
		}
	}
	return c.NoContent(http.StatusNoContent)
}

// servePreflight answers the browser's question before a request of another
// origin (https://fetch.spec.whatwg.org/#cors-preflight-request).
func (g *Gateway) servePreflight(c echo.Context) error {
	at := g.attached.Load()
	if at == nil {
		return errNotReady
	}
	h := c.Response().Header()
	cors(h, c.Request(), g.origins(at.backend))
	if h.Get("Access-Control-Allow-Origin") == "" {
		return &refusal{http.StatusForbidden, "origin", "this page's origin is not allowed: add it to auth.allowed_origins"}
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", strings.Join([]string{
		"Authorization", "Content-Type", "Last-Event-ID", "If-None-Match", "Cache-Control",
	}, ", "))
	h.Set("Access-Control-Max-Age", "600")
	return c.NoContent(http.StatusNoContent)
}
