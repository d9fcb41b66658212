package gateway

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/r3labs/sse/v2"
)

// feed tells the operator's browsers the state over r3labs/sse. Its Server shares
// one stream among its subscribers, and one of them that stops reading holds up
// all; so each viewer has a stream of its own, under eight rules without which it
// leaks or hangs (v2.10.0):
//
//  1. no replay, no streams on demand, no TTL, no base64; small buffers;
//  2. the stream's name is random and the server's, never the client's;
//  3. nothing is published before OnSubscribe, or it would be dropped;
//  4. only TryPublish: a viewer whose buffer is full is let go as slow;
//  5. a fresh Event each time, always with an id;
//  6. a heartbeat is an event with only a comment (the state itself, which is told
//     every two seconds, is heartbeat enough here);
//  7. a stream ends by an empty event, and is removed in OnUnsubscribe only;
//  8. each write has a deadline, and a write that fails ends the request.
//
// It is safe for concurrent use. Close it.
type feed struct {
	server *sse.Server
	first  func() []byte // the whole state, for who has just come

	mu      sync.Mutex
	viewers map[string]*viewer
	closed  bool
	last    uint64         // id of an event
	gone    sync.WaitGroup // all streams
}

// viewer is one browser. The feed's lock guards it.
type viewer struct {
	cancel context.CancelFunc
	ready  bool // it hears what is published
	ended  bool // nothing may be published any more
}

const (
	// maxViewers bounds what the page costs: some 50 KB and six goroutines each.
	maxViewers = 32
	// viewerBuffer is how many events may wait for one viewer. r3labs has 64 more.
	viewerBuffer = 8
	// viewerPatience is how long one write to a viewer may take.
	viewerPatience = 5 * time.Second
	// statusEvent is the type of all events, named so that the page's script need
	// not guess.
	statusEvent = "status"
)

func newFeed(first func() []byte) *feed {
	f := &feed{first: first, viewers: make(map[string]*viewer)}
	f.server = sse.NewWithCallback(f.subscribed, f.unsubscribed)
	f.server.AutoReplay, f.server.AutoStream = false, false
	f.server.BufferSize, f.server.SplitData = viewerBuffer, true
	f.server.Headers = map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no",
		"Connection": "close", // its write deadline must not outlive the stream
	}
	return f
}

// ServeHTTP streams until the viewer leaves, is slow, or the feed is closed.
func (f *feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	id := rand.Text()
	if !f.enter(id, cancel) {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		http.Error(w, "too many people look at this already; /status.json has the same", http.StatusServiceUnavailable)
		return
	}
	f.server.CreateStream(id)
	out := &viewerWriter{ResponseWriter: w, control: http.NewResponseController(w), cancel: cancel}
	// r3labs waits for a write that hangs, also after the viewer was let go.
	defer context.AfterFunc(ctx, out.abort)()
	ask := r.Clone(ctx)
	ask.URL.RawQuery = "stream=" + id
	ask.Header.Del("Last-Event-ID") // nothing is replayed
	f.server.ServeHTTP(out, ask)
}

func (f *feed) enter(id string, cancel context.CancelFunc) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.viewers) >= maxViewers {
		return false
	}
	f.viewers[id] = &viewer{cancel: cancel}
	f.gone.Add(1)
	return true
}

// count is the number of viewers.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.viewers)
}

// subscribed is r3labs' word that a stream reaches its viewer. It may come after
// unsubscribed: both have goroutines of their own.
func (f *feed) subscribed(id string, _ *sse.Subscriber) {
	first := f.first()
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.viewers[id]
	if v == nil {
		return
	}
	v.ready = true
	f.tell(id, v, first)
	if f.closed {
		f.end(id, v)
	}
}

func (f *feed) unsubscribed(id string, _ *sse.Subscriber) {
	f.server.RemoveStream(id)
	f.mu.Lock()
	delete(f.viewers, id)
	f.mu.Unlock()
	f.gone.Done()
}

// publish tells every viewer. data is JSON, which has no line breaks.
func (f *feed) publish(data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, v := range f.viewers {
		if v.ready {
			f.tell(id, v, data)
		}
	}
}

// tell and end are called with the lock held.
func (f *feed) tell(id string, v *viewer, data []byte) {
	if v.ended {
		return
	}
	f.last++
	event := &sse.Event{ID: strconv.AppendUint(nil, f.last, 10), Event: []byte(statusEvent), Data: data}
	if !f.server.TryPublish(id, event) {
		v.ended = true
		v.cancel()
	}
}

func (f *feed) end(id string, v *viewer) {
	if v.ended {
		return
	}
	v.ended = true
	if !f.server.TryPublish(id, &sse.Event{}) {
		v.cancel()
	}
}

// close lets all viewers go and waits for them. Who comes later is refused.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	for id, v := range f.viewers {
		if v.ready { // otherwise subscribed will do it
			f.end(id, v)
		}
	}
	f.mu.Unlock()
	f.gone.Wait()
}

// viewerWriter bounds every write, and ends the request with the first that fails.
type viewerWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	cancel  context.CancelFunc
	failed  bool // of the request's goroutine
}

// Write implements http.ResponseWriter.
func (w *viewerWriter) Write(b []byte) (int, error) {
	if w.failed {
		return 0, http.ErrAbortHandler
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(viewerPatience)); err != nil {
		return 0, w.fail(err)
	}
	n, err := w.ResponseWriter.Write(b)
	return n, w.fail(err)
}

// Flush implements http.Flusher, which r3labs asks for.
func (w *viewerWriter) Flush() {
	if w.failed {
		return
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(viewerPatience)); err != nil {
		_ = w.fail(err)
		return
	}
	_ = w.fail(w.control.Flush()) // has no other way to tell
}

func (w *viewerWriter) fail(err error) error {
	if err != nil {
		w.failed = true
		w.cancel()
	}
	return err
}

// abort ends a write that is under way. It may be called by any goroutine.
func (w *viewerWriter) abort() {
	// An error leaves the deadline that the write has anyway.
	_ = w.control.SetWriteDeadline(time.Unix(1, 0))
}
