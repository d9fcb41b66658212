package gateway

import (
	"embed"
	"fmt"
	"net/http"
)

// statusPage is the page as it is served. It needs nothing from anywhere else, and
// its addresses are relative, so that it also works below a proxy's path.
//
//go:embed status/index.html status/status.css status/status.js status/icon.svg
var statusPage embed.FS

// statusPolicy lets the page run its own files and speak to this server only
// (https://www.w3.org/TR/CSP3/).
const statusPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// statusParts are the page's files, by their address.
func statusParts() (map[string]http.HandlerFunc, error) {
	parts := make(map[string]http.HandlerFunc)
	for path, file := range map[string]struct{ name, kind string }{
		"/status":            {"index.html", "text/html"},
		"/status/status.css": {"status.css", "text/css"},
		"/status/status.js":  {"status.js", "text/javascript"},
		"/status/icon.svg":   {"icon.svg", "image/svg+xml"},
	} {
		text, err := statusPage.ReadFile("status/" + file.name)
		if err != nil {
			return nil, fmt.Errorf("the status page: %w", err)
		}
		parts[path] = servePart(file.kind, text)
	}
	return parts, nil
}

// routes adds the page's to the operator's.
func (s *status) routes(mux *http.ServeMux) {
	for path, serve := range s.parts {
		mux.HandleFunc("GET "+path, serve)
	}
	mux.HandleFunc("GET /status.json", s.serveJSON)
	mux.Handle("GET /status/stream", s.feed)
}

// servePart serves one of the page's files. They are small, near, and change with
// the program, so nothing is cached.
func servePart(kind string, text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind+"; charset=utf-8")
		h.Set("Content-Security-Policy", statusPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // who has left needs no answer
	}
}
