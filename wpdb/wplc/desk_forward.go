package wplc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"holdline/internal/chat"
)

// Forward sends a browser's original request to PHP and returns its answer;
// short adds short_poll=true, with which PHP answers at once. It may take as long
// as PHP holds, and must go on when the browser has left: PHP marks messages as
// read in it. It may be called several times for one request, also after that
// has ended, but only once at a time for a client.
type Forward func(ctx context.Context, short bool) (*chat.Reply, error)

const (
	// maxForwards bounds the forwards under way, each a PHP worker, and maxSlow
	// those among them that PHP may hold.
	maxForwards = 4
	maxSlow     = 2
	// maxWaiting bounds those that wait for a turn, one for each client.
	maxWaiting = 10_000
	// forwardLimit is longer than the 120 s after which the plugin's own JavaScript
	// gives up.
	forwardLimit = 130 * time.Second
	// lastMoment is what a forward has left when the Desk ends.
	lastMoment = time.Second
)

// forward is one request to PHP that is due or under way.
type forward struct {
	send  Forward
	loop  Loop
	key   string // of the client
	short bool   // as the page did not ask for
	why   reason
	rows  string // what the rows showed
	// order, begun and dropped belong to the queue.
	order          uint64
	begun, dropped bool
}

// reason is why PHP is asked.
type reason int

const (
	forNews  reason = iota // PHP has something to say
	forPulse               // the visitor's heartbeat is due
	forAge                 // PHP ages the chats in a loop that it holds
)

// slow tells whether PHP may hold the request.
func (f *forward) slow() bool {
	if f.short || f.loop.Short {
		return false
	}
	return f.why != forNews || f.loop.Action == ActionDashboard || f.rows == rowsUnknown
}

// forwards sends requests to PHP in the order in which they became due, a few at
// a time, but those that PHP may hold cannot take all the places.
type forwards struct {
	done func(f *forward, reply *chat.Reply, err error)
	// gone hears of a forward that will not be made; it must not call back.
	gone func(f *forward)

	mu      sync.Mutex
	ctx     context.Context     // nil but for while the Desk runs
	clients map[string]*forward // due or under way
	// waiting are those that are due, the slow ones apart.
	waiting   [2][]*forward
	order     uint64
	busy      int
	busySlow  int
	underWays sync.WaitGroup
}

// start takes forwards until ctx ends. wait returns when none is under way.
func (q *forwards) start(ctx context.Context) (wait func()) {
	q.mu.Lock()
	q.ctx, q.clients = ctx, make(map[string]*forward)
	q.mu.Unlock()
	return func() {
		q.mu.Lock()
		q.ctx, q.waiting = nil, [2][]*forward{}
		q.mu.Unlock()
		q.underWays.Wait()
	}
}

// has tells whether a client has a forward that another one had to wait for.
func (q *forwards) has(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := q.clients[key]
	return f != nil && !f.yields()
}

// yields tells whether a forward makes room for one of its client's that PHP
// answers at once: it waits for its turn, which may last as long as PHP holds two
// others.
func (f *forward) yields() bool { return !f.begun && f.slow() }

// offer takes a forward unless its client has one, too many wait, the Desk does
// not run, or needless says so once it is certain that none can end meanwhile.
func (q *forwards) offer(f *forward, needless func() bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ctx == nil || q.ctx.Err() != nil || len(q.clients) >= maxWaiting || needless() {
		return false
	}
	if other := q.clients[f.key]; other != nil {
		if !other.yields() || f.slow() {
			return false
		}
		other.dropped = true
		q.gone(other)
	}
	q.order++
	f.order = q.order
	q.clients[f.key] = f
	lane := f.lane()
	q.waiting[lane] = append(q.waiting[lane], f)
	q.next()
	return true
}

// lane is 1 for what PHP may hold.
func (f *forward) lane() int {
	if f.slow() {
		return 1
	}
	return 0
}

// next begins what there is room for. The caller has the lock.
func (q *forwards) next() {
	for q.ctx != nil && q.ctx.Err() == nil && q.busy < maxForwards {
		f := q.first()
		if f == nil {
			return
		}
		f.begun = true
		q.busy++
		q.busySlow += f.lane()
		ctx := q.ctx
		q.underWays.Go(func() {
			reply, err := f.run(ctx)
			q.done(f, reply, err)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.busy--
			q.busySlow -= f.lane()
			delete(q.clients, f.key)
			q.next()
		})
	}
}

// first takes the forward that became due first, of those there is room for.
func (q *forwards) first() *forward {
	for lane := range q.waiting {
		for len(q.waiting[lane]) > 0 && q.waiting[lane][0].dropped {
			q.waiting[lane] = q.waiting[lane][1:]
		}
	}
	quick, slow := q.waiting[0], q.waiting[1]
	lane := 0
	if len(slow) > 0 && q.busySlow < maxSlow && (len(quick) == 0 || slow[0].order < quick[0].order) {
		lane = 1
	}
	if len(q.waiting[lane]) == 0 {
		return nil
	}
	f := q.waiting[lane][0]
	q.waiting[lane][0] = nil
	q.waiting[lane] = q.waiting[lane][1:]
	return f
}

// run asks PHP. When the Desk ends, PHP has a last moment.
func (f *forward) run(desk context.Context) (reply *chat.Reply, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(desk), forwardLimit)
	defer cancel()
	ended := context.AfterFunc(desk, func() {
		select {
		case <-ctx.Done():
		case <-time.After(lastMoment):
			cancel()
		}
	})
	defer ended()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("wplc: forward %s: panic: %v", f.loop.Action, p)
		}
	}()
	reply, err = f.send(ctx, f.short)
	switch {
	case err != nil:
		return nil, fmt.Errorf("wplc: forward %s: %w", f.loop.Action, err)
	case reply == nil:
		return nil, errors.New("wplc: forward " + f.loop.Action + ": there is no answer")
	case len(reply.Body) > maxReply:
		return nil, fmt.Errorf("wplc: forward %s: the answer has %d bytes, more than the %d that are kept for a browser", f.loop.Action, len(reply.Body), maxReply)
	case isTrouble(reply.Status):
		return nil, fmt.Errorf("wplc: forward %s: WordPress answered with status %d", f.loop.Action, reply.Status)
	}
	return reply, nil
}

// isTrouble tells whether a status is one of servers in trouble, not of the
// plugin or WordPress who refuse the request (403 "-1", 400 "0").
func isTrouble(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// memory is what is known of a client between its relayed loops.
type memory struct {
	// asked is what the rows showed when PHP last had nothing to say, or could not
	// say it. PHP is asked again when they show something else, or at next.
	asked string
	next  time.Time
	tries int
	// listed is when a dashboard was last forwarded.
	listed time.Time
}

const (
	firstPause = 5 * time.Second
	lastPause  = time.Minute
)

// forwarded takes PHP's answer. It is called before the client may ask again.
func (d *Desk) forwarded(f *forward, reply *chat.Reply, err error) {
	if err != nil {
		d.gripe.tell(d.opt.Logger, "WordPress did not answer a loop that was passed on to it; browsers stay held and it is asked again", err)
	}
	d.unmade(f)
	says := err == nil && f.says(reply)
	if f.why == forNews {
		d.memories.Update(f.key, func(m memory) memory { return m.after(f, says) })
	}
	if err == nil && f.loop.Action == ActionDashboard {
		table := f.loop.form.table // what PHP would not change, if it said nothing
		if says {
			table = nextTable(reply)
		}
		d.lists.Put(f.key+tablePrint(table), f.rows)
	}
	if says {
		d.slots.put(f.key, f.loop.print(), f.loop.carries(reply), reply)
		d.opt.Wake(f.loop.Channels()[0])
	}
}

// unmade lets another loop have the turn that a forward had.
func (d *Desk) unmade(f *forward) {
	if f.why == forAge {
		d.ageing.over()
	}
}

func (m memory) after(f *forward, says bool) memory {
	if says {
		m.asked, m.next, m.tries = "", time.Time{}, 0
		return m
	}
	m.asked, m.next = f.rows, time.Now().Add(min(firstPause<<min(m.tries, 4), lastPause))
	m.tries++
	return m
}
