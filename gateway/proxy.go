package gateway

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// forwardedHeader marks what has been through Holdline already. A proxy rule
// that sends PHP's share back to us would otherwise turn in a circle for ever.
const forwardedHeader = "X-Holdline-Forwarded"

// newProxy forwards to PHP's web server what is not Holdline's to answer:
// streaming both ways, with the original headers.
func (g *Gateway) newProxy(upstream string) *httputil.ReverseProxy {
	target, transport := dialer(upstream)
	return &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // what PHP flushes, the browser gets
		ErrorLog:      slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = target.Scheme, target.Host
			// PHP reads queries that Go does not understand, and httputil would drop.
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			pr.Out.Host = g.siteHost(pr.In)
			g.setForwarded(pr)
			pr.Out.Header.Set(forwardedHeader, "1")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the browser has gone, and nobody is left to be told
			}
			g.metrics.refused.WithLabelValues("upstream").Inc()
			g.log.Warn("PHP cannot be reached", "upstream", upstream, "path", r.URL.Path, "error", err)
			http.Error(w, "the site does not answer; try again in a moment", http.StatusBadGateway)
		},
	}
}

// dialer returns where requests go and how: over TCP, or to a unix socket, whose
// path stands in the configuration as unix:/path.
func dialer(upstream string) (*url.URL, *http.Transport) {
	t := &http.Transport{
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // Content-Encoding is between PHP and the browser
	}
	d := &net.Dialer{Timeout: 5 * time.Second}
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
		return &url.URL{Scheme: "http", Host: "php"}, t
	}
	t.DialContext = d.DialContext
	u, err := url.Parse(upstream)
	if err != nil {
		panic(err) // the configuration has been validated
	}
	return u, t
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
	pr.SetXForwarded() // appends the peer to what is there
	if trusted {
		for _, name := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
			if v := in.Header.Get(name); v != "" {
				out.Header.Set(name, v)
			}
		}
	}
}

func (g *Gateway) trusts(remote string) bool {
	if remote == "" || remote == "@" {
		return true // a unix socket: this machine
	}
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range g.cfg.TrustedProxies {
		if p.Contains(ap.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// serveSite answers what is the site's: PHP does.
func (g *Gateway) serveSite(c echo.Context) error {
	r := c.Request()
	if r.Header.Get(forwardedHeader) != "" {
		return &refusal{
			http.StatusLoopDetected, "circle",
			"this request has come back to Holdline: wordpress.upstream must reach PHP without Holdline in between",
		}
	}
	g.proxy.ServeHTTP(c.Response(), r)
	return nil
}
