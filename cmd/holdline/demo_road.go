package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// Ways in which a road can be: as it should be, and as proxies and networks in the
// wild are.
const (
	roadOpen   = "open"
	roadNoWS   = "no-ws"  // the Upgrade header is not passed on, as nginx does unless it is told
	roadBuffer = "buffer" // besides, answers are gathered and passed on when they are whole
	roadDown   = "down"   // what is connected is cut, and nobody gets through
)

// road is one pane's way to the gateway: a reverse proxy whose faults the page's
// buttons choose. It is safe for concurrent use.
type road struct {
	proxy *httputil.ReverseProxy
	idle  *http.Transport

	mu   sync.Mutex
	mode string
	ctx  context.Context // ends with the mode
	end  context.CancelFunc
}

// newRoad leads from below prefix to base.
func newRoad(prefix string, base *url.URL, log *slog.Logger) *road {
	r := &road{mode: roadOpen, idle: &http.Transport{DisableCompression: true, IdleConnTimeout: 30 * time.Second}}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.proxy = &httputil.ReverseProxy{
		Transport: r.idle, FlushInterval: -1, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = base.Scheme, base.Host
			pr.Out.URL.Path, pr.Out.URL.RawPath = base.Path+pr.In.URL.Path[len(prefix):], ""
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			pr.Out.Host = pr.In.Host // the page's origin has to be the server's
		},
		// The browser sees a broken connection, as it would without a proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return r
}

// set changes the mode. What is under way in the old one is cut.
func (r *road) set(mode string) error {
	switch mode {
	case roadOpen, roadNoWS, roadBuffer, roadDown:
	default:
		return badRequest(fmt.Sprintf("mode must be %q, %q, %q or %q", roadOpen, roadNoWS, roadBuffer, roadDown))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode != mode {
		r.end()
		r.mode = mode
		r.ctx, r.end = context.WithCancel(context.Background())
	}
	return nil
}

func (r *road) now() (mode string, ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mode, r.ctx
}

// close cuts what is under way. It may be called again.
func (r *road) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.idle.CloseIdleConnections()
}

// ServeHTTP implements http.Handler.
func (r *road) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	mode, life := r.now()
	if mode == roadDown {
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	req = req.Clone(ctx)
	if mode != roadOpen {
		req.Header.Del("Upgrade")
	}
	if mode != roadBuffer {
		r.proxy.ServeHTTP(w, req)
		return
	}
	whole := &gathered{header: make(http.Header), status: http.StatusOK}
	r.proxy.ServeHTTP(whole, req)
	if ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	whole.passOn(w)
}

// gathered is an answer that is kept until it is whole.
type gathered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// maxGathered is more than any answer of the demo has.
const maxGathered = 4 << 20

var errGathered = errors.New("the answer is longer than this proxy gathers")

// Header implements http.ResponseWriter.
func (g *gathered) Header() http.Header { return g.header }

// WriteHeader implements http.ResponseWriter.
func (g *gathered) WriteHeader(status int) {
	if status >= http.StatusOK {
		g.status = status
	}
}

// Write implements http.ResponseWriter.
func (g *gathered) Write(b []byte) (int, error) {
	if g.body.Len()+len(b) > maxGathered {
		return 0, errGathered
	}
	return g.body.Write(b)
}

func (g *gathered) passOn(w http.ResponseWriter) {
	for name, values := range g.header {
		w.Header()[name] = values
	}
	w.WriteHeader(g.status)
	if _, err := io.Copy(w, &g.body); err != nil {
		panic(http.ErrAbortHandler) // the browser has gone
	}
}
