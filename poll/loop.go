package poll

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/park"
	"holdline/internal/rawhttp"
)

// Loop is one request of a plugin's own polling loop, as the plugin's folder
// understands it. Its methods are never called concurrently. One that panics
// ends this request, with the empty answer, and nothing else.
type Loop interface {
	// Channels are those whose events may give the loop something to say. They are
	// asked for once, after the first Answer. Without any, the loop is looked at
	// when Again says so and at the end of its hold.
	Channels() []string
	// Hold is how long PHP would keep the request when there is nothing, counted
	// from its beginning. It is asked after the first Answer, once.
	Hold() time.Duration
	// Answer looks whether there is something to say, and is nil while there is
	// not. final tells that the request's time is over: nil then stands for the
	// plugin's empty answer. An error is no answer, and the look is repeated. Few
	// looks happen side by side, so it must not wait for anything slow.
	Answer(ctx context.Context, final bool) (*chat.Reply, error)
	// Again is when to look again though no event has come; 0 is not before the
	// end of the hold. It is asked after each Answer that said nothing.
	Again() time.Duration
	// Told is called once the last Answer's Reply is on its way to the browser: what
	// it held need not be told again. It is not called for a browser that has
	// left, nor when the request ended without a Reply, and must not block.
	Told()
}

// LoopRequest is a plugin's loop that has been found lawful.
type LoopRequest struct {
	Loop Loop
	Pass Pass
	// Header goes with every answer, also the empty one (Set-Cookie, CORS); may be
	// nil. A value that the Reply has as well is sent once.
	Header http.Header
}

// Loops holds legacy loops: it waits for their channels, asks the plugin's
// folder again at each event, and answers with its bytes. It is safe for
// concurrent use; Run does the asking. Without Run, held loops are answered with
// nothing, late.
type Loops struct {
	Hub    *hub.Hub
	Lot    *park.Lot
	Logger *slog.Logger

	once    sync.Once
	asked   chan struct{}
	roll    roll
	nothing chat.Reply // the empty answer, told from a Loop's own by its address

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

// Wake has every loop that is held on a channel looked at again now. It never
// waits for a look. A loop that only arrives meanwhile needs no word: it is looked
// at once more as soon as it hears its channels.
func (l *Loops) Wake(channel string) { l.roll.wake(channel) }

// Each calls fn for every held loop, also those without channels, which the hub
// does not know. fn may end them; who arrives or ends meanwhile may be missed or
// come all the same.
func (l *Loops) Each(fn func(hub.Subscriber)) {
	for _, h := range l.roll.list() {
		fn(h)
	}
}

// Serve answers a loop at once where it has something to say, and holds it
// otherwise. It returns when the request is answered or parked, with HTTP/2 when
// it has been answered. The request's body must have been read to its end. The
// pass has been given back, or will be, also after an error, which can be told to
// the client only if its connection is still the server's.
func (l *Loops) Serve(w http.ResponseWriter, r *http.Request, req LoopRequest) error {
	l.init()
	h := &held{loops: l, loop: req.Loop, pass: req.Pass, header: req.Header}
	reply, wait := h.arrive(r.Context())
	if reply == nil {
		return l.hold(w, r, h, wait)
	}
	defer h.pass.Release()
	if err := h.respond(w, reply); err != nil || r.Context().Err() != nil {
		return nil // a browser that has left is nobody's fault
	}
	h.told(reply)
	return nil
}

// waiting is what a loop waits for after its first look.
type waiting struct {
	channels []string
	pause    time.Duration // until the next look if no event comes; 0 for none
}

// arrive looks for the first time. What goes wrong may be right by the next
// event; a loop is never answered by an error, since the plugin would print it or
// stop for good.
func (h *held) arrive(ctx context.Context) (reply *chat.Reply, wait waiting) {
	began := time.Now()
	reply, wait.pause = h.ask(ctx, false)
	if reply != nil {
		return reply, wait
	}
	if !h.loops.guard(func() {
		h.until = began.Add(h.loop.Hold())
		wait.channels = h.loop.Channels()
	}) {
		return &h.loops.nothing, wait
	}
	return nil, wait
}

// guard runs calls of a plugin's folder, and tells whether they came through
// without a panic.
func (l *Loops) guard(calls func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			l.Logger.Error("a plugin's loop has a bug; its request is answered with nothing",
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	calls()
	return true
}

func (l *Loops) hold(w http.ResponseWriter, r *http.Request, h *held, wait waiting) error {
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		l.stay(w, r, h, wait)
		return nil
	}
	if err != nil {
		h.pass.Release()
		return err
	}
	h.raw, h.keepAlive = true, rawhttp.KeepsAlive(r)
	h.conn = l.Lot.Park(conn, buffered, h)
	l.begin(h, wait)
	return nil
}

// stay holds a request in its handler. A Lot that lets go of it unanswered leaves
// the browser with the empty answer.
func (l *Loops) stay(w http.ResponseWriter, r *http.Request, h *held, wait waiting) {
	late := &lateWriter{ResponseWriter: w, held: h}
	l.Lot.Stay(late, r, h, func(c park.Conn) {
		h.conn = c
		l.begin(h, wait)
	})
	h.said.CompareAndSwap(nil, &l.nothing)
	late.head()
}

// begin waits for the loop's channels. A loop whose channels nobody reads is
// answered with nothing at once, which its plugin takes for the end of a hold.
func (l *Loops) begin(h *held, wait waiting) {
	h.rearm(wait.pause)
	l.roll.enter(h, wait.channels)
	if len(wait.channels) == 0 {
		return
	}
	if err := l.Hub.Subscribe(h, hub.Subscription{Channels: wait.channels}, h.subscribed); err != nil {
		l.Logger.Warn("a loop cannot be held", "error", err)
		h.end(h.keepAlive)
	}
}
