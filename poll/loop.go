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
	// asked for once, before the first Answer. Without any, the loop is looked at
	// at first and when Again says so.
	Channels() []string
	// Hold is how long PHP would keep the request when there is nothing, counted
	// from its beginning. It is asked after the first Answer, once.
	Hold() time.Duration
	// Answer looks whether there is something to say, and is nil while there is
	// not. It is asked when the request comes, after each event, and when Again
	// says so. final tells that the request's time was over before the look began:
	// nil or an error then stands for the plugin's empty answer. A loop that rests
	// at the end of its hold gets that without being asked. Any other error is no
	// answer, and the look is repeated. ctx ends after 10 s. Not many looks happen
	// side by side, so it must not wait for anything slow.
	Answer(ctx context.Context, final bool) (*chat.Reply, error)
	// Again is when to look again though no event has come; 0 is not at all, and
	// neither is a time after the end of the hold. It is asked after each Answer
	// that said nothing.
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

// Loops holds legacy loops: it asks the plugin's folder once when they come and
// again at each event of their channels, and answers with its bytes. A loop to
// which nothing happens costs one look, however long it is held. It is safe for
// concurrent use; Run does the asking but for the first time. Without Run, held
// loops to which something happened are answered with nothing, late.
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

// askers is how many loops that were woken are looked at side by side. What they
// ask of the database at about the same time is put together in the plugin's
// folder.
const askers = 32

// answerTimeout bounds one look. It is also how long the answer at the end of a
// hold is waited for, so that looks of others which hang cannot keep a browser
// beyond what the proxies before us allow.
const answerTimeout = 10 * time.Second

// retryPause is when a look that failed is tried again, if no event comes before.
const retryPause = time.Second

// Run looks at held loops that were woken, until ctx ends.
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

// Wake has every loop that is held on a channel looked at again now, and one whose
// first look is under way as soon as that has found nothing. It never waits for a
// look.
func (l *Loops) Wake(channel string) { l.roll.wake(channel) }

// Each calls fn for every loop that is held or arrives, also those without
// channels, which the hub does not know. fn may end them; who comes or ends
// meanwhile may be missed or come all the same.
func (l *Loops) Each(fn func(hub.Subscriber)) {
	for _, h := range l.roll.list() {
		fn(h)
	}
}

// tellingEvery is how often Quit looks whether somebody is still being told something.
const tellingEvery = 5 * time.Millisecond

// Quit answers every loop with nothing, and those that come later at once, until
// Resume. When it returns nil nobody is being told anything and each Told has
// returned: another process may go on from where the browsers are then. The error is
// ctx's, while some were still being told.
func (l *Loops) Quit(ctx context.Context) error {
	l.roll.setShut(true)
	tick := time.NewTicker(tellingEvery)
	defer tick.Stop()
	for {
		telling := 0
		for _, h := range l.roll.list() {
			h.end(true)
			if h.said.Load() != &l.nothing { // the news were first
				telling++
			}
		}
		if telling == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d loops are still being answered: %w", telling, ctx.Err())
		}
	}
}

// Resume ends what Quit has begun: loops are held again.
func (l *Loops) Resume() { l.roll.setShut(false) }

// Serve answers a loop at once where it has something to say, and holds it
// otherwise. It returns when the request is answered or parked, with HTTP/2 when
// it has been answered. The request's body must have been read to its end. The
// pass has been given back, or will be, also after an error, which can be told to
// the client only if its connection is still the server's.
func (l *Loops) Serve(w http.ResponseWriter, r *http.Request, req LoopRequest) error {
	l.init()
	h := &held{loops: l, loop: req.Loop, pass: req.Pass, header: req.Header}
	reply, pause := h.arrive(r.Context())
	if reply == nil || !h.said.CompareAndSwap(nil, reply) { // End was first
		return l.hold(w, r, h, pause)
	}
	defer h.leave()
	if r.Context().Err() != nil {
		return nil // a browser that has left is nobody's fault
	}
	// Afterwards the context says nothing: a web server that has the whole answer
	// may end the connection at once.
	if err := h.respond(w, reply); err == nil {
		h.told(reply)
	}
	return nil
}

// arrive subscribes and then looks for the first time, so that what comes after
// the look is heard of and one look is enough. pause is until the next one if no
// event comes; 0 for none. What goes wrong may be right by the next event; a loop
// is never answered by an error, since the plugin would print it or stop for good.
// One whose channels nobody reads gets the empty answer at once, which its plugin
// takes for the end of a hold.
func (h *held) arrive(ctx context.Context) (reply *chat.Reply, pause time.Duration) {
	began := time.Now()
	var channels []string
	if !h.loops.guard(func() { channels = h.loop.Channels() }) {
		return &h.loops.nothing, 0
	}
	if !h.loops.roll.enter(h, channels) {
		return &h.loops.nothing, 0
	}
	unheard := h.subscribe(ctx, channels)
	h.state.Store(looking) // from now on, what comes is a reason for another look
	if reply, pause = h.ask(ctx, false); reply != nil {
		return reply, 0
	}
	if unheard != nil {
		h.loops.Logger.Warn("a loop cannot be held", "error", unheard)
		return &h.loops.nothing, 0
	}
	if !h.loops.guard(func() { h.until = began.Add(h.loop.Hold()) }) {
		return &h.loops.nothing, 0
	}
	return nil, pause
}

// livePatience is how long a loop waits to hear its channels before it looks all
// the same. It is looked at again then once it hears them.
const livePatience = 250 * time.Millisecond

// subscribe has the loop hear its channels, and waits for that as long as is
// bearable. An error tells that it never will.
func (h *held) subscribe(ctx context.Context, channels []string) error {
	if len(channels) == 0 {
		return nil
	}
	live := make(chan struct{})
	h.live.Store(&live)
	defer h.live.Store(nil)
	if err := h.loops.Hub.Subscribe(h, hub.Subscription{Channels: channels}, h.seat.Take); err != nil {
		return err
	}
	patience := time.NewTimer(livePatience)
	defer patience.Stop()
	select {
	case <-live:
	case <-patience.C:
	case <-ctx.Done():
	}
	return nil
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

func (l *Loops) hold(w http.ResponseWriter, r *http.Request, h *held, pause time.Duration) error {
	conn, buffered, err := rawhttp.Hijack(w, r)
	if err == rawhttp.ErrCannotHijack {
		l.stay(w, r, h, pause)
		return nil
	}
	if err != nil {
		h.leave()
		return err
	}
	h.raw, h.keepAlive = true, rawhttp.KeepsAlive(r)
	h.conn = l.Lot.Park(conn, buffered, h)
	l.begin(h, pause)
	return nil
}

// stay holds a request in its handler. A Lot that lets go of it unanswered leaves
// the browser with the empty answer.
func (l *Loops) stay(w http.ResponseWriter, r *http.Request, h *held, pause time.Duration) {
	late := &lateWriter{ResponseWriter: w, held: h}
	l.Lot.Stay(late, r, h, func(c park.Conn) {
		h.conn = c
		l.begin(h, pause)
	})
	h.said.CompareAndSwap(nil, &l.nothing)
	late.head()
}

// begin holds the loop once it has its connection. Whatever came since the first
// look began is a reason for another one.
func (l *Loops) begin(h *held, pause time.Duration) {
	h.rearm(pause) // before an asker may
	h.meet()       // the answer may be there: the server has begun to leave
	if !h.state.CompareAndSwap(looking, rest) {
		h.state.Store(due)
		l.put(h)
	}
}
