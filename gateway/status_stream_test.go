package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reader is a viewer's browser, as net/http shows it to a handler.
type reader struct {
	mu       sync.Mutex
	text     bytes.Buffer
	flushed  int
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
	stalled  bool          // reads nothing: writes wait for their deadline
	header   http.Header
	status   int
}

func newReader(stalled bool) *reader {
	return &reader{stalled: stalled, header: http.Header{}, moved: make(chan struct{})}
}

func (r *reader) Header() http.Header { return r.header }

func (r *reader) WriteHeader(status int) { r.status = status }

func (r *reader) Flush() {}

func (r *reader) FlushError() error {
	for r.stalled {
		r.mu.Lock()
		deadline, moved := r.deadline, r.moved
		r.mu.Unlock()
		wait := time.NewTimer(time.Until(deadline))
		select {
		case <-wait.C:
			return os.ErrDeadlineExceeded
		case <-moved:
			wait.Stop()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed = r.text.Len()
	return nil
}

func (r *reader) SetWriteDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	close(r.moved)
	r.moved = make(chan struct{})
	return nil
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *reader) read() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text.Bytes()[:r.flushed])
}

// watch serves a viewer until its context ends; over is closed then.
func watch(f *feed, w http.ResponseWriter, change func(*http.Request)) (leave func(), over chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	over = make(chan struct{})
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/status/stream", nil)
	if change != nil {
		change(r)
	}
	go func() {
		defer close(over)
		f.ServeHTTP(w, r)
		cancel() // as net/http does when the handler returns
	}()
	return cancel, over
}

func isOver(c chan struct{}) bool { return isClosed(c) }

func TestViewerHearsTheStateAndWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(func() []byte { return []byte(`{"first":1}`) })
		out := newReader(false)
		_, over := watch(f, out, func(r *http.Request) {
			r.URL.RawQuery = "stream=chosen-by-the-client"
			r.Header.Set("Last-Event-ID", "not a number")
		})
		synctest.Wait()
		f.publish([]byte(`{"n":2}`))
		synctest.Wait()
		want := "id: 1\ndata: {\"first\":1}\nevent: status\n\nid: 2\ndata: {\"n\":2}\nevent: status\n\n"
		if got := out.read(); got != want {
			t.Errorf("%q", got)
		}
		if out.header.Get("Content-Type") != "text/event-stream" || out.header.Get("Cache-Control") != "no-store" || out.status != 200 {
			t.Error(out.status, out.header)
		}
		f.close()
		synctest.Wait()
		if !isOver(over) || f.count() != 0 {
			t.Errorf("over %v, %d viewers", isOver(over), f.count())
		}
	})
}

func TestViewerThatLeavesLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine that stays fails it
		f := newFeed(func() []byte { return []byte("{}") })
		for range 300 {
			leave, over := watch(f, newReader(false), nil)
			f.publish([]byte("1")) // to who has just come, or not quite
			leave()
			<-over
			synctest.Wait()
			if f.count() != 0 || f.server.StreamExists("") {
				t.Fatal(f.count())
			}
		}
		f.close()
	})
}

func TestViewersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(func() []byte { return []byte("{}") })
		var leaves []func()
		refused := 0
		for range 100 {
			out := newReader(false)
			leave, over := watch(f, out, nil)
			synctest.Wait()
			leaves = append(leaves, leave)
			if isOver(over) {
				refused++
				if out.status != http.StatusServiceUnavailable || out.header.Get("Retry-After") == "" {
					t.Fatal(out.status, out.header)
				}
			}
		}
		if refused != 100-maxViewers || f.count() != maxViewers {
			t.Errorf("%d refused, %d there", refused, f.count())
		}
		for _, leave := range leaves {
			leave()
		}
		synctest.Wait()
		if f.count() != 0 {
			t.Error("still there:", f.count())
		}
		leave, over := watch(f, newReader(false), nil)
		synctest.Wait()
		if isOver(over) {
			t.Error("there is room again, and nobody may come")
		}
		leave()
		<-over
		f.close()
	})
}

func TestSlowViewerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(func() []byte { return []byte("{}") })
		_, slowOver := watch(f, newReader(true), nil)
		quick := newReader(false)
		_, quickOver := watch(f, quick, nil)
		synctest.Wait()
		began := time.Now()
		for i := range 200 { // more than all buffers of a viewer hold
			f.publish(fmt.Appendf(nil, "%d", i))
			synctest.Wait()
		}
		if waited := time.Since(began); waited != 0 {
			t.Error("publishing waited", waited)
		}
		if n := strings.Count(quick.read(), "event: status"); n != 201 {
			t.Errorf("the quick one heard %d events", n)
		}
		if !isOver(slowOver) || f.count() != 1 {
			t.Errorf("the slow one is over: %v, %d viewers", isOver(slowOver), f.count())
		}
		f.close()
		<-quickOver
	})
}

func TestViewerThatStallsEndsWithItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(func() []byte { return []byte("{}") })
		began := time.Now()
		_, over := watch(f, newReader(true), nil)
		<-over
		if waited := time.Since(began); waited != viewerPatience {
			t.Error("it took", waited)
		}
		synctest.Wait()
		if f.count() != 0 {
			t.Error(f.count())
		}
		f.close()
	})
}

func TestCloseDoesNotMissWhoIsJustComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := newFeed(func() []byte { <-release; return []byte("{}") })
		_, over := watch(f, newReader(false), nil)
		synctest.Wait() // it is there, and has not been told anything
		closed := make(chan struct{})
		go func() { defer close(closed); f.close() }()
		synctest.Wait()
		close(release)
		<-closed
		<-over
		out := newReader(false)
		_, late := watch(f, out, nil)
		<-late
		if out.status != http.StatusServiceUnavailable {
			t.Error(out.status)
		}
	})
}

func TestViewerWriterRemembersAnError(t *testing.T) {
	canceled := 0
	w := &viewerWriter{ResponseWriter: brokenWriter{}, control: http.NewResponseController(newReader(false)), cancel: func() { canceled++ }}
	for range 3 {
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("no error")
		}
		w.Flush()
	}
	if canceled != 1 {
		t.Errorf("cancelled %d times", canceled)
	}
}

type brokenWriter struct{}

func (brokenWriter) Header() http.Header         { return http.Header{} }
func (brokenWriter) WriteHeader(int)             {}
func (brokenWriter) Write(b []byte) (int, error) { return 0, errors.New("broken pipe") }
