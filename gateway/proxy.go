package gateway

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"holdline/poll"
	"holdline/wordpress"
)

// newProxy forwards to PHP's web server what is not Holdline's to answer:
// streaming both ways, with the original headers.
func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:      g.upstream.Transport,
		FlushInterval:  -1, // what PHP flushes, the browser gets
		ErrorLog:       slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		Rewrite:        g.toUpstream,
		ModifyResponse: g.bindCreated,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the browser has gone, and nobody is left to be told
			}
			if errors.Is(err, errSecretPoll) {
				g.metrics.auth.WithLabelValues("loop", "refused").Inc()
				poll.Empty(w, nil)
				return
			}
			g.metrics.refused.WithLabelValues("upstream").Inc()
			g.log.Warn("PHP cannot be reached", "upstream", g.cfg.WordPress.Upstream, "path", r.URL.Path, "error", err)
			http.Error(w, "the site does not answer; try again in a moment", http.StatusBadGateway)
		},
	}
}

// toUpstream addresses a request to PHP's web server.
func (g *Gateway) toUpstream(pr *httputil.ProxyRequest) {
	pr.Out.URL.Scheme, pr.Out.URL.Host = g.upstream.URL.Scheme, g.upstream.URL.Host
	// PHP reads queries that Go does not understand, and httputil would drop.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.Host = g.siteHost(pr.In)
	g.setForwarded(pr)
	pr.Out.Header.Set(wordpress.ForwardedHeader, "1")
}

// newUpstream is the way to PHP's web server.
func newUpstream(address string) *wordpress.Door {
	door, err := wordpress.NewDoor(address)
	if err != nil {
		panic(err) // the configuration has been validated
	}
	return door
}

// siteHost is the host that the browser asked for. A proxy that cannot pass it on
// as Host, as .htaccess rules cannot, asks for ours and says it beside.
func (g *Gateway) siteHost(r *http.Request) string {
	if said := r.Header.Get("X-Forwarded-Host"); said != "" && r.Host == g.listener.Addr().String() && g.trusts(r.RemoteAddr) {
		return said
	}
	return r.Host
}

// setForwarded tells PHP who asks. What a trusted proxy said before is kept and
// added to; what a browser claims is replaced.
func (g *Gateway) setForwarded(pr *httputil.ProxyRequest) {
	in, out := pr.In, pr.Out
	trusted := g.trusts(in.RemoteAddr)
	if trusted {
		out.Header["X-Forwarded-For"] = in.Header["X-Forwarded-For"]
	}
	for name := range out.Header {
		// To PHP both spellings are one variable, HTTP_X_FORWARDED_FOR (RFC 3875 section
		// 4.1.18), and not every web server drops the other.
		if said := strings.ReplaceAll(name, "_", "-"); said != name && isForwarding(said) {
			delete(out.Header, name)
		}
	}
	pr.SetXForwarded() // appends the peer to what is there
	if trusted {
		for _, name := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
			if v := in.Header.Get(name); v != "" {
				out.Header.Set(name, v)
			}
		}
	}
}

// isForwarding tells whether a header says who asks.
func isForwarding(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", wordpress.ForwardedHeader:
		return true
	}
	return false
}

func (g *Gateway) trusts(remote string) bool {
	if remote == "" || remote == "@" {
		return true // a unix socket: this machine
	}
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range g.settings().TrustedProxies {
		if p.Contains(ap.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// fallbackHeader is how nginx's rule says that it can hand a request to PHP
// itself; the value names the way.
const fallbackHeader = "X-Holdline-Fallback"

// forward lets PHP answer: through the upstream, or by giving the request back to
// the web server in front, whose rule then takes it to PHP.
func (g *Gateway) forward(c echo.Context) error {
	r, w := c.Request(), c.Response()
	switch {
	case r.Method == http.MethodConnect:
		return &refusal{http.StatusMethodNotAllowed, "route", "this is no proxy to elsewhere"}
	case g.upstream != nil:
		g.passOn(w, r)
		return nil
	case r.Header.Get(fallbackHeader) == "accel" && g.trusts(r.RemoteAddr):
		w.Header().Set("X-Accel-Redirect", "@holdline_php")
		return c.NoContent(http.StatusServiceUnavailable)
	case isAjax(r):
		return &refusal{
			http.StatusServiceUnavailable, "upstream",
			"this is PHP's to answer, and Holdline does not know where PHP is: set wordpress.upstream",
		}
	}
	return echo.ErrNotFound
}
