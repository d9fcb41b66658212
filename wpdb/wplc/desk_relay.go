package wplc

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"holdline/internal/chat"
)

// RelayLoop holds one request, and has PHP answer it when the rows show that PHP
// would answer at once. Its methods are for one goroutine at a time.
//
// No look waits for PHP: the Desk forwards the request and keeps the answer until
// a browser has it, the one that asked or, if that has left, its next poll. So
// PHP marks nothing as read that gets lost, unless the process is killed while PHP
// answers. To ask again with status 5 after that would bring the history, and with it
// what visitors wrote themselves: a page shows that without its row's id, and so
// would show it twice.
// What PHP itself loses (a message that comes between its look and its marking)
// stays lost.
//
// Without a companion plugin PHP also makes its own writes in forwards:
//
//   - The heartbeat of a visitor, in 8.x by a short poll every 25 s and chat, and
//     as soon as another page has the chat. 5.x knows no short poll, so each would
//     keep a PHP worker for half a minute; there only talks are kept alive that
//     would be closed else (3 after 300 s, 10 after 120 s), as rarely as that
//     allows. Visitors who just browse leave the agents' list two minutes after
//     they opened their page, and come back with the next one.
//   - Ageing, which PHP does only in loops that it holds for 14 s: now and then one
//     loop of the whole site is left to PHP, without a break while a visitor waits
//     for an agent, so that he is told "no answer" when PHP would say so.
//
// That a chat has moved to another page or tab (status 11) is told here: PHP
// says it only in requests that it holds itself, and any that is forwarded would
// take the chat back. The answer is the plugin's of 8.0 or 5.0; its pages look at
// nothing but the status in it.
//
// The marks of who is typing (Pro) are no reason to ask PHP: they come with the
// next answer or heartbeat.
type RelayLoop struct {
	desk  *Desk
	loop  Loop
	key   string
	print string
	visit Visit
	send  Forward
	came  time.Time
	began time.Time // to look

	begun  bool
	looked bool // at the rows, with success
	blind  bool // PHP was asked since the rows could not be looked at
	base   LoopCursor
	state  LoopState
	hold   time.Duration
	again  time.Duration
	age    ageAsked
	given  *slot // of the last Reply
}

// Relay makes a loop that PHP answers. client is the proven identity of who asks,
// "" for nobody; the caller has found that he may read.
func (d *Desk) Relay(l Loop, client string, v Visit, f Forward) *RelayLoop {
	return &RelayLoop{desk: d, loop: l, key: clientKey(client, &l), print: l.print(), visit: v, send: f, came: time.Now()}
}

// Channels are those whose events may make PHP answer.
func (l *RelayLoop) Channels() []string { return l.loop.Channels() }

// Hold is PHP's, counted from the request's beginning.
func (l *RelayLoop) Hold() time.Duration { return l.hold }

// Again is when to look again without an event, 0 for never.
func (l *RelayLoop) Again() time.Duration { return l.again }

// underWay is when to look again while PHP is asked; its answer comes with a Wake.
const underWay = 5 * time.Second

// Answer gives what PHP has answered, or looks whether it would.
func (l *RelayLoop) Answer(ctx context.Context, final bool) (*chat.Reply, error) {
	d := l.desk
	if l.hold == 0 {
		l.hold = orDefault(d.src.Hold(ctx))
	}
	if !l.begun {
		if !final && d.mustWait(l.key) {
			l.again = tellingTime
			return nil, nil
		}
		l.begin()
	}
	l.again, l.given = 0, d.slots.take(l.key, l.print, l.began)
	switch {
	case l.given != nil:
		d.giving(l.key)
		return l.given.reply, nil
	case final:
		return nil, nil
	case l.loop.Short:
		l.ask(forNews, false, "short")
		return nil, nil
	case l.loop.Action == ActionDashboard:
		return nil, l.dashboard(ctx)
	}
	return l.chat(ctx)
}

// begin takes the client from where it is.
func (l *RelayLoop) begin() {
	d := l.desk
	l.begun, l.began = true, time.Now()
	d.doubts.judge(l.key, l.came)
	l.base = d.cursors.Get(l.key).LoopCursor
	l.state = LoopState{Cursor: l.base, round: 1}
}

// Told lets go of the answer: a browser has it, unless that is in doubt.
func (l *RelayLoop) Told() {
	d, given := l.desk, l.given
	switch {
	case given == nil:
		return
	case given.carries && d.inDoubt(&l.loop):
		at := time.Now()
		d.slots.suppose(given)
		settle := func(received bool) {
			if received {
				d.slots.tell(given, at)
			} else {
				d.slots.back(given)
			}
		}
		d.doubts.add(l.key, unsure{settle: settle, mark: func() {}}) // PHP has marked
	default:
		d.slots.tell(given, time.Now())
	}
	d.gave(l.key, &l.loop)
}

// chat looks at the loop of a chat.
func (l *RelayLoop) chat(ctx context.Context) (*chat.Reply, error) {
	d := l.desk
	r := &round{s: d.src, q: d.opt.Query, l: &l.loop, st: &l.state}
	row, err := r.chat(ctx)
	if err != nil {
		return nil, l.unseen(err)
	}
	r.settle(&row)
	if !l.loop.Agent {
		if r.hasMoved(row, l.looked) {
			return &chat.Reply{Body: r.elsewhere()}, nil
		}
		l.writes(r, &row)
	}
	l.looked = true
	if d.forwards.has(l.key) {
		l.wait(underWay)
		return nil, nil
	}
	rows, err := r.news(ctx, row)
	if err != nil {
		return nil, l.unseen(err)
	}
	d.remember(l.key, l.base, l.state.Cursor)
	if rows != "" {
		l.ask(forNews, l.canShort(), rows)
		return nil, nil
	}
	if !l.loop.Agent && d.opt.Writes == nil {
		l.keepAlive(row)
	}
	return nil, nil
}

// unseen has PHP look where the rows could not be looked at, once in a request.
func (l *RelayLoop) unseen(err error) error {
	if !l.blind {
		l.blind = true
		l.ask(forNews, l.canShort(), rowsUnknown)
	}
	return fmt.Errorf("wplc: find out whether PHP would answer %s: %w", l.loop.Action, err)
}

// canShort tells whether PHP can be made to answer at once.
func (l *RelayLoop) canShort() bool {
	return l.loop.Action == ActionVisitor && l.desk.src.facts.Version == 8 && !l.loop.Short
}

// writes hands on what PHP would have written in this look. Where PHP writes it
// itself, in forwards, there is only to remember which page has the chat.
func (l *RelayLoop) writes(r *round, row *chatRow) {
	switch matches := row.equals(l.loop.form.status); {
	case !row.exists:
	case matches && !l.looked && row.status != statusPending && row.status != statusUnanswered:
		r.beat(*row, Effect{Kind: EffectBeat})
	case !matches && row.status == statusTimedOut && l.desk.opt.Writes != nil:
		r.beat(*row, Effect{Kind: EffectMove, From: statusTimedOut, To: statusBrowsing})
	}
	r.settle(row)
	l.desk.write(&l.loop, r.answer.Effects, l.visit)
	l.wait(l.age.ask(l.desk, &l.loop))
}

// ask has PHP asked, unless it was for the same just now.
func (l *RelayLoop) ask(why reason, short bool, rows string) bool {
	d := l.desk
	if known := d.memories.Get(l.key); why == forNews && known.asked == rows {
		if left := time.Until(known.next); left > 0 {
			l.wait(left)
			return false
		}
	}
	l.wait(underWay)
	f := &forward{send: l.send, loop: l.loop, key: l.key, short: short, why: why, rows: rows}
	return d.forwards.offer(f, func() bool { return d.slots.take(l.key, l.print, l.began) != nil })
}

// wait has the next look no later than after d; 0 changes nothing.
func (l *RelayLoop) wait(d time.Duration) { l.again = sooner(l.again, d) }

// pulse is the last heartbeat of a chat through PHP.
type pulse struct {
	session string
	at      time.Time
}

// pulseEvery is how often PHP is to write the heartbeat of a chat with some
// status, 0 for not at all.
func (s *Source) pulseEvery(status int64) time.Duration {
	if s.facts.Version == 5 {
		switch status {
		case statusActive: // closed after 300 s
			return 150 * time.Second
		case statusMinimised: // timed out after 120 s
			return 75 * time.Second
		case statusTimedOut: // becomes 5, once for each page
			return clientLife
		}
		return 0
	}
	switch status {
	case statusActive, statusBrowsing, statusDismissed, statusMinimised, statusTimedOut:
		return 25 * time.Second
	}
	return 0
}

// keepAlive forwards the request for what PHP writes in it: the heartbeat, one
// for all pages of a chat, or the ageing.
func (l *RelayLoop) keepAlive(row chatRow) {
	d, form := l.desk, l.loop.form
	every := d.src.pulseEvery(row.status)
	if every > 0 && (row.equals(form.status) || row.status == statusTimedOut) {
		key := strconv.FormatInt(l.loop.CID, 10)
		last := d.pulses.Get(key)
		left := time.Until(last.at.Add(every))
		if left <= 0 || last.session != form.session {
			if l.ask(forPulse, l.canShort(), "") {
				d.pulses.Put(key, pulse{form.session, time.Now()})
			}
			return
		}
		l.wait(left)
	}
	if d.src.facts.Version == 8 {
		l.leaveToPHP("")
	}
}

// leaveToPHP lets PHP hold the request if it is time for the ageing.
func (l *RelayLoop) leaveToPHP(rows string) {
	d := l.desk
	left := d.ageing.turn(l.loop.isPending())
	if left > 0 {
		l.wait(left)
		return
	}
	if !l.ask(forAge, false, rows) {
		d.ageing.over()
	}
}
