package park_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"holdline/internal/park"
)

// stayServer holds every request by Stay.
func stayServer(t *testing.T, l *park.Lot) (url string, client *http.Client, polls chan poll) {
	t.Helper()
	polls = make(chan poll, 8)
	hs := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		h := newHolder()
		l.Stay(w, r, h, func(c park.Conn) { polls <- poll{conn: c, holder: h, path: r.Proto} })
	}))
	hs.Config.Protocols = new(http.Protocols)
	hs.Config.Protocols.SetUnencryptedHTTP2(true)
	hs.Start()
	transport := &http.Transport{Protocols: hs.Config.Protocols}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		hs.Close()
	})
	return hs.URL, &http.Client{Transport: transport}, polls
}

func get(t *testing.T, ctx context.Context, client *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// stay is a Lot behind an HTTP/2 server.
type stay struct {
	lot    *park.Lot
	stop   context.CancelFunc
	url    string
	client *http.Client
	polls  chan poll
	closes chan string
}

func startStay(t *testing.T) *stay {
	s := &stay{closes: make(chan string, 8)}
	s.lot, s.stop = kind{}.lot(t, park.Options{
		QueueFrames:  1 << 20,
		StallTimeout: 300 * time.Millisecond,
		OnClose:      func(why park.Reason, kind string) { s.closes <- why.String() + " " + kind },
	})
	s.url, s.client, s.polls = stayServer(t, s.lot)
	return s
}

func (s *stay) open(t *testing.T) (context.CancelFunc, *http.Response, poll) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	resp := get(t, ctx, s.client, s.url)
	p := wait(t, s.polls)
	if p.path != "HTTP/2.0" {
		t.Fatalf("served over %s", p.path)
	}
	return cancel, resp, p
}

func (s *stay) wantCounted(t *testing.T, want string) {
	t.Helper()
	if got := wait(t, s.closes); got != want {
		t.Errorf("counted as %q, want %q", got, want)
	}
}

func TestStayStreamsOverHTTP2(t *testing.T) {
	s := startStay(t)
	_, resp, p := s.open(t)
	for i := range 200 {
		frame := fmt.Sprintf("frame %d\n", i)
		if !p.conn.Send([]byte(frame)) {
			t.Fatal("gone")
		}
		wantRead(t, resp.Body, frame)
	}
	p.conn.SetAlarm(400 * time.Millisecond) // longer than StallTimeout: idling is no stalling
	wait(t, p.holder.alarms)
	p.conn.Finish([]byte("end"), true)
	p.holder.wantClosed(t, park.ReasonFinished)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "end" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	s.wantCounted(t, "finished request")
}

func TestStayEndsWithTheClient(t *testing.T) {
	s := startStay(t)
	cancel, _, p := s.open(t)
	cancel()
	p.holder.wantClosed(t, park.ReasonGone)
	s.wantCounted(t, "gone request")
}

func TestStayResetsASlowPeer(t *testing.T) {
	for name, send := range map[string]func(park.Conn){
		"too many bytes": func(c park.Conn) {
			for c.Send(make([]byte, 64<<10)) {
				continue
			}
		},
		"oldest byte too old": func(c park.Conn) { c.Send(make([]byte, 32<<20)) }, // beyond the windows of flow control
	} {
		t.Run(name, func(t *testing.T) {
			s := startStay(t)
			_, resp, p := s.open(t)
			send(p.conn)
			p.holder.wantClosed(t, park.ReasonSlow)
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("a torn response passes for a whole one")
			}
			s.wantCounted(t, "slow request")
		})
	}
}

func TestStayDrains(t *testing.T) {
	s := startStay(t)
	_, resp, p := s.open(t)
	s.stop()
	p.holder.wantClosed(t, park.ReasonDrain)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("a response with nothing unsent ends with %v", err)
	}
	s.wantCounted(t, "drain request")

	h := newHolder()
	s.lot.Stay(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), h, func(park.Conn) {
		t.Error("start was called after the end")
	})
	h.wantClosed(t, park.ReasonDrain)
}
