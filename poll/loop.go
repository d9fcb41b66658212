package poll

import (
	"context"
	"errors"
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
	// Hold is how long PHP would keep the request when there is nothing, counted
	// from its beginning. It is asked after the first Answer, once.
	Hold() time.Duration
	// Answer looks whether there is something to say. now is false while the
	// request shall be held; final tells that its time is over, and then there is
	// an answer, the plugin's "nothing new" if nothing else.
	Answer(ctx context.Context, final bool) (body []byte, now bool, err error)
	// Told is called once the last Answer's body is on its way to the browser: what
	// it held need not be told again. It is not called for a browser that has
	// left, nor when the request ended without that body, and must not block.
	Told()
}

// Loops holds legacy loops: it waits for their channels, asks the plugin's
// folder again at each event, and answers with its bytes. It is safe for
// concurrent use; Run does the asking. Without Run, held loops are answered with
// nothing, late.
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

// answerTimeout bounds one look. It is also how long the answer at the end of a
// hold is waited for, so that looks of others which hang cannot keep a browser
// beyond what the proxies before us allow.
const answerTimeout = 10 * time.Second

// retryPause is when a look that failed is tried again, if no event comes before.
const retryPause = time.Second

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
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	body, now, err := loop.Answer(ctx, false)
	if now && err == nil {
		defer pass.Release()
		if err := respond(w, body); err == nil && r.Context().Err() == nil {
			loop.Told()
		}
		return nil // a browser that has left is nobody's fault
	}
	// What went wrong may be right by the next event; a loop is never answered
	// by an error, since the plugin would print it or stop for good.
	return l.hold(w, r, &held{loops: l, loop: loop, pass: pass, until: began.Add(loop.Hold())})
}

// respond writes a whole response and tells whether it got as far as the socket.
func respond(w http.ResponseWriter, body []byte) error {
	for name, values := range loopHead() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func (l *Loops) hold(w http.ResponseWriter, r *http.Request, h *held) error {
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		for name, values := range loopHead() {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		l.Lot.Stay(w, r, h, func(c park.Conn) {
			h.conn = c
			l.begin(h)
		})
		return nil
	}
	if err != nil {
		h.pass.Release()
		return err
	}
	h.raw, h.keepAlive = true, rawhttp.KeepsAlive(r)
	h.conn = l.Lot.Park(conn, buffered, h)
	l.begin(h)
	return nil
}

// begin waits for the loop's channels. A loop whose channels nobody reads is
// answered with nothing at once, which its plugin takes for the end of a hold.
func (l *Loops) begin(h *held) {
	h.setAlarm(time.Until(h.until))
	err := l.Hub.Subscribe(h, hub.Subscription{Channels: h.loop.Channels()}, h.subscribed)
	if err != nil {
		l.Logger.Warn("a loop cannot be held", "error", err)
		h.end(h.keepAlive)
	}
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
	telling   bool // the answer is one of the loop's; set by who answered
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
		switch {
		case err == nil && (now || final):
			h.tell(body)
			return
		case final:
			h.end(h.keepAlive)
			return
		case err != nil:
			h.loops.Logger.Debug("a loop could not be looked at", "error", err)
			h.setAlarm(min(retryPause, time.Until(h.until)))
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

// setAlarm asks for an alarm after d, or as soon as may be: the Lot takes 0 for
// none.
func (h *held) setAlarm(d time.Duration) { h.conn.SetAlarm(max(d, 1)) }

// Alarm is the end of the hold, or the end of the patience with the look that
// then is due, or before both the time to repeat a look that failed.
func (h *held) Alarm(park.Conn) {
	over := time.Since(h.until)
	switch {
	case over >= answerTimeout:
		h.end(h.keepAlive)
		return
	case over >= 0:
		h.final.Store(true)
		h.setAlarm(answerTimeout - over)
	default:
		h.setAlarm(-over)
	}
	h.wake()
}

// tell answers with what the loop said.
func (h *held) tell(body []byte) {
	if h.answered.CompareAndSwap(false, true) {
		h.telling = true
		h.conn.Finish(h.response(body, h.keepAlive), h.keepAlive)
	}
}

// end answers that nothing came, whatever a look may find that is under way: it
// will not be told, so it is found again by the next request.
func (h *held) end(keepAlive bool) {
	if h.answered.CompareAndSwap(false, true) {
		h.conn.Finish(h.response(nil, keepAlive), keepAlive)
	}
}

// response puts the head before the body where that is ours to do.
func (h *held) response(body []byte, keepAlive bool) []byte {
	if !h.raw {
		return body
	}
	head := loopHead()
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if !keepAlive {
		head.Set("Connection", "close")
	}
	return append(rawhttp.AppendHead(nil, http.StatusOK, time.Now(), head), body...)
}

// WantsBytes implements park.Reader: what the client sends now is its next
// request.
func (h *held) WantsBytes() bool { return false }

// Received implements park.Holder.
func (h *held) Received(park.Conn, []byte) {}

// Closed implements park.Holder. Only here it is known whether an answer found
// its browser.
func (h *held) Closed(_ park.Conn, why park.Reason) {
	h.ended.Store(true)
	if why == park.ReasonFinished && h.telling {
		h.loop.Told()
	}
	if sub := h.sub.Load(); sub != nil {
		sub.Close()
	}
	h.pass.Release()
}

// Pass is the client's right to be here, for whoever checks it again.
func (h *held) Pass() any { return h.pass }

// End answers that nothing came: to a legacy loop that is the only good-bye
// there is, and its next request finds what has come meanwhile. It goes to the
// server's successor, hence over a new connection.
func (h *held) End(park.Reason, time.Duration) { h.end(false) }
