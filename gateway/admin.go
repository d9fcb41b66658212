package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminRoutes are for the operator, on a listener of their own.
func (g *Gateway) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", g.serveReady)
	// Compressed they would cost 1.4 MB at every scrape, to spare the loopback 15 KB.
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{DisableCompression: true}))
	// By hand: importing pprof for its effects would open it on every server.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	g.status.routes(mux)
	return g.guardOperator(mux)
}

// serveReady says whether new clients would be served, and if not, why and what
// to do.
func (g *Gateway) serveReady(w http.ResponseWriter, r *http.Request) {
	if why := g.notServing(r.Context()); why != "" {
		http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// notServing tells why new clients would not be served; "" if they would. It asks
// the database for a sign of life.
func (g *Gateway) notServing(ctx context.Context) string {
	at := g.attached.Load()
	switch {
	case g.draining.Load():
		return "draining"
	case at == nil:
		if reason := g.metrics.waiting.Load(); reason != nil {
			return *reason
		}
		return "the site's database has not answered yet"
	case at.backend.Health != nil:
		if h := at.backend.Health(ctx); !h.OK {
			return fmt.Sprintf("database trouble since %s: %s", h.Since.UTC().Format("15:04:05 MST"), h.Trouble)
		}
	}
	return ""
}
