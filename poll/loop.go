package poll

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/internal/rawhttp"
)

// Loop is one request of a plugin's own polling loop, as the plugin's folder
// understands it. Its methods are never called concurrently.
type Loop interface {
	// Channels are those whose events may give the loop something to say.
	Channels() []string
	// Hold is how long PHP would keep the request when there is nothing.
	Hold() time.Duration
	// Answer looks whether there is something to say. now is false while the
	// request shall be held; final tells that its time is over, and then there is
	// an answer, the plugin's "nothing new" if nothing else.
	Answer(ctx context.Context, final bool) (body []byte, now bool, err error)
	// Told is called once the answer is on its way to the browser: what it held
	// need not be told again. It is not called for a browser that has left.
	Told()
}

// Loops holds legacy loops: it waits for their channels, asks the plugin's
// folder again at each event, and answers with its bytes. It is safe for
// concurrent use; Run does the asking.
type Loops struct {
	Hub    *hub.Hub
	Lot    *park.Lot
	Logger *slog.Logger

	once  sync.Once
	asked chan struct{}
	mu    sync.Mutex
	queue []*held
}

// askers is how many loops are looked at side by side. More would only queue for
// the database.
const askers = 2

// answerTimeout bounds one look.
const answerTimeout = 10 * time.Second

// Run looks at loops that were woken until ctx ends.
func (l *Loops) Run(ctx context.Context) error {
	l.init()
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-l.asked:
				}
				for h := l.take(); h != nil && ctx.Err() == nil; h = l.take() {
					h.look(ctx)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

func (l *Loops) init() { l.once.Do(func() { l.asked = make(chan struct{}, askers) }) }

func (l *Loops) take() *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	h := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return h
}

func (l *Loops) put(h *held) {
	l.mu.Lock()
	l.queue = append(l.queue, h)
	l.mu.Unlock()
	select {
	case l.asked <- struct{}{}:
	default: // all are busy and will look at the queue again
	}
}

// Serve answers a loop at once where it has something to say, and holds it
// otherwise. It returns when the request is answered or parked.
func (l *Loops) Serve(w http.ResponseWriter, r *http.Request, loop Loop, pass Pass) error {
	l.init()
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	body, now, err := loop.Answer(ctx, false)
	if now && err == nil {
		defer pass.Release()
		for name, values := range loopHead() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if _, err := w.Write(body); err == nil {
			loop.Told()
		}
		return nil
	}
	// What went wrong may be right by the next event; a loop is never answered
	// by an error, since the plugin would print it or stop for good.
	return l.hold(w, r, loop, pass)
}

func (l *Loops) hold(w http.ResponseWriter, r *http.Request, loop Loop, pass Pass) error {
	h := &held{loops: l, loop: loop, pass: pass, until: time.Now().Add(loop.Hold())}
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		for name, values := range loopHead() {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		l.Lot.Stay(w, r, h, func(c park.Conn) {
			h.conn = c
			if err := l.begin(h); err != nil {
				c.Finish(nil, false)
			}
		})
		return nil
	}
	if err != nil {
		pass.Release()
		return err
	}
	h.raw, h.keepAlive = true, rawhttp.KeepsAlive(r)
	h.conn = l.Lot.Park(conn, buffered, h)
	if err := l.begin(h); err != nil {
		l.Logger.Debug("a loop cannot be held", "error", err)
		h.answer(nil)
	}
	return nil
}

func (l *Loops) begin(h *held) error {
	h.conn.SetAlarm(time.Until(h.until))
	return l.Hub.Subscribe(h, hub.Subscription{Channels: h.loop.Channels()}, h.subscribed)
}

// loopHead are the headers of WordPress's own answers (wp_send_nosniff_header,
// nocache_headers and the like in admin-ajax.php); JSON that called itself so
// would break the plugin's parser.
func loopHead() http.Header {
	return http.Header{
		"Content-Type":           {"text/html; charset=UTF-8"},
		"Cache-Control":          {"no-cache, must-revalidate, max-age=0"},
		"Expires":                {"Wed, 11 Jan 1984 05:00:00 GMT"},
		"Referrer-Policy":        {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Frame-Options":        {"SAMEORIGIN"},
		"X-Robots-Tag":           {"noindex"},
	}
}

// held is one loop that waits. A look at it happens on one asker at a time;
// events that come meanwhile make for one more.
type held struct {
	loops     *Loops
	loop      Loop
	conn      park.Conn
	sub       atomic.Pointer[hub.Sub]
	pass      Pass
	until     time.Time
	state     atomic.Uint32 // of the looks: rest, due, looking, again
	final     atomic.Bool   // the hold is over
	raw       bool
	keepAlive bool
	answered  atomic.Bool
	ended     atomic.Bool
}

const (
	rest    uint32 = iota
	due            // in the queue
	looking        // with an asker
	again          // with an asker, and something has come since
)

var (
	_ hub.Subscriber = (*held)(nil)
	_ park.Holder    = (*held)(nil)
)

func (h *held) subscribed(sub *hub.Sub) {
	h.sub.Store(sub)
	if h.ended.Load() {
		sub.Close()
	}
}

// wake asks for a look.
func (h *held) wake() {
	for {
		switch s := h.state.Load(); s {
		case rest:
			if h.state.CompareAndSwap(rest, due) {
				h.loops.put(h)
				return
			}
		case looking:
			if h.state.CompareAndSwap(looking, again) {
				return
			}
		default:
			return
		}
	}
}

// look asks the loop once, or once more if something came meanwhile.
func (h *held) look(ctx context.Context) {
	h.state.Store(looking)
	for !h.ended.Load() && !h.answered.Load() {
		final := h.final.Load()
		body, now, err := h.ask(ctx, final)
		if now || final {
			if err != nil {
				body = nil
			}
			h.answer(body)
			return
		}
		if h.state.CompareAndSwap(looking, rest) {
			return
		}
		h.state.Store(looking)
	}
}

func (h *held) ask(ctx context.Context, final bool) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return h.loop.Answer(ctx, final)
}

// Live looks once: something may have come between the first look and now.
func (h *held) Live(string, *hub.Delivery) { h.wake() }

// Deliver implements hub.Subscriber: what came is only a reason to look.
func (h *held) Deliver(*hub.Delivery) { h.wake() }

// Alarm is the end of the hold.
func (h *held) Alarm(park.Conn) {
	h.final.Store(true)
	h.wake()
}

// answer writes the response, once, and lets the connection go.
func (h *held) answer(body []byte) {
	if !h.answered.CompareAndSwap(false, true) {
		return
	}
	if h.ended.Load() {
		return // the browser has gone: nothing was told
	}
	h.loop.Told()
	h.conn.Finish(h.response(body), h.keepAlive)
}

func (h *held) response(body []byte) []byte {
	if !h.raw {
		return body
	}
	head := loopHead()
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if !h.keepAlive {
		head.Set("Connection", "close")
	}
	return append(rawhttp.AppendHead(nil, http.StatusOK, time.Now(), head), body...)
}

// WantsBytes implements park.Reader: what the client sends now is its next
// request.
func (h *held) WantsBytes() bool { return false }

// Received implements park.Holder.
func (h *held) Received(park.Conn, []byte) {}

// Closed implements park.Holder.
func (h *held) Closed(park.Conn, park.Reason) {
	h.ended.Store(true)
	if sub := h.sub.Load(); sub != nil {
		sub.Close()
	}
	h.pass.Release()
}

// Pass is the client's right to be here, for whoever checks it again.
func (h *held) Pass() any { return h.pass }

// End answers that nothing came: to a legacy loop that is the only good-bye
// there is, and its next request finds what has come meanwhile.
func (h *held) End(park.Reason, time.Duration) { h.answer(nil) }
