package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"holdline/config"
	"holdline/gateway"
	"holdline/wpdb"
)

// An EventSource must outlive a gateway that starts before its database.
func TestEventSourceIsToldToComeAgain(t *testing.T) {
	cfg, err := config.Load([]string{"--listen=127.0.0.1:0", "--admin-listen=localhost:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	gw, err := gateway.New(gateway.Options{Config: cfg, Connect: func(context.Context, wpdb.Sink) (*gateway.Backend, error) {
		return nil, errors.New("no database today")
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := gw.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- gw.Run(ctx) }()
	defer func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ask := func(path, accept string) (*http.Response, string, error) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+gw.Addr().String()+cfg.BasePath+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		req.Header.Set("Origin", "https://site.example.test")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}

	resp, body, err := ask("/sse?channels=wplc/1", "text/event-stream")
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("an EventSource is ended for good by %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://site.example.test" {
		t.Errorf("an EventSource of another origin is ended for good by %v", resp.Header)
	}
	if !strings.Contains(body, "\nretry: ") || !strings.HasSuffix(body, "\n\n") {
		t.Errorf("does not say when to come back: %q", body)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("r3labs' client takes this for the end of all: %v", err)
	}
	for path, accept := range map[string]string{"/sse?channels=wplc/1": "*/*", "/poll?channels=wplc/1": "text/event-stream"} {
		if resp, _, _ := ask(path, accept); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s accepting %s: %s", path, accept, resp.Status)
		}
	}
}
