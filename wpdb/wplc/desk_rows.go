package wplc

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"time"
)

// rowsUnknown stands for rows that could not be read.
const rowsUnknown = "?"

// news tells whether PHP would answer a loop at once, by what it reads in its
// first round: "" if not, else a text that is the same as long as PHP has the
// same to say. The cursor in the round's state passes what was found to be read,
// so that the messages are searched by ranges of the primary key.
func (r *round) news(ctx context.Context, row chatRow) (rows string, err error) {
	status, form := row.statusText(), r.l.form
	matches := row.equals(form.status)
	var kinds []int64
	switch {
	case form.opened:
		if row.exists && row.status == statusActive {
			return status, nil
		}
		return "", nil
	case form.first:
		return "first", nil
	case r.l.Agent && !matches:
		return status + "/" + form.status, nil
	case r.l.Agent:
		kinds = r.s.agentsUnread()
	case !matches:
		if r.s.isAnswered(row) {
			return status + "/" + form.status, nil
		}
		return "", nil
	case r.s.facts.Version == 5 && row.exists && row.status == statusMissed:
		return status, nil // becomes 5
	default:
		kinds = r.s.visitorsUnread(row)
	}
	if len(kinds) == 0 {
		return "", nil
	}
	found, err := r.unread(ctx, row.highest, true, kinds...)
	if err != nil || len(found) == 0 {
		return "", err
	}
	return fmt.Sprint(status, " #", found[len(found)-1].id), nil
}

// isAnswered tells whether PHP answers at once when the page believes in another
// status than the row's.
func (s *Source) isAnswered(row chatRow) bool {
	if !row.exists || row.status == statusMissed {
		return s.facts.Version == 5 // null == 0
	}
	switch row.status {
	case statusEnded:
		return true
	case statusUnanswered:
		return s.facts.Version == 8
	case statusInvited:
		return s.facts.Pro
	}
	return isAnswered8(row.status)
}

// visitorsUnread are the messages that a visitor's loop tells in a chat that is
// as the page believes.
func (s *Source) visitorsUnread(row chatRow) []int64 {
	switch {
	case !row.exists:
	case s.facts.Version == 5 && row.status == statusActive:
		return []int64{fromAgent}
	case s.facts.Version == 8 && (row.status == statusActive || row.status == statusMinimised || row.status == statusPending):
		return []int64{fromAgent, noteForVisitor}
	}
	return nil
}

func (s *Source) agentsUnread() []int64 {
	if s.facts.Version == 5 {
		return []int64{fromVisitor}
	}
	return []int64{fromVisitor, noteForAgents}
}

// hasMoved tells whether another page has the visitor's chat. PHP looks from its
// second round on, and not while nobody has accepted the chat.
func (r *round) hasMoved(row chatRow, looked bool) bool {
	return looked && row.exists && row.equals(r.l.form.status) && row.status != statusPending && r.otherTab(row)
}

// elsewhere is PHP's answer to a page that no longer has the chat.
func (r *round) elsewhere() []byte {
	r.st.array = nil
	if r.s.facts.Version == 5 {
		r.head5()
	} else {
		r.head8()
	}
	r.st.array.set("status", jsonInt(statusElsewhere))
	return r.st.array.json()
}

// noTable is what a dashboard sends that has no list yet.
const noTable = "false"

// relistPause is the least distance between two requests of one dashboard's to PHP.
const relistPause = 5 * time.Second

// dashboard has PHP make the list for a page without one, and when a list made
// here of the same rows would have changed. The two need not be the same: Pro adds
// to PHP's. It changes every minute, with the times in it.
func (l *RelayLoop) dashboard(ctx context.Context) error {
	d := l.desk
	l.wait(l.age.ask(d, &l.loop))
	if d.forwards.has(l.key) {
		l.wait(underWay)
		return nil
	}
	rows, again, shown, err := d.src.listed(ctx, d)
	if err != nil {
		return l.unseen(err)
	}
	l.wait(min(again, dashboardEvery))
	if l.loop.form.table == noTable {
		if shown {
			l.ask(forNews, false, rows)
		}
		return nil
	}
	if d.lists.Get(l.key+l.print) == rows {
		if d.opt.Writes == nil {
			l.leaveToPHP(rows)
		}
		return nil
	}
	known := d.memories.Get(l.key)
	if left := time.Until(known.listed.Add(relistPause)); left > 0 {
		l.wait(left)
		return nil
	}
	if l.ask(forNews, false, rows) {
		d.memories.Update(l.key, func(m memory) memory { m.listed = time.Now(); return m })
	}
	return nil
}

// listed is what the dashboard's rows show, as a hash, when the same rows will
// show something else, and whether there is anything that PHP would show.
func (s *Source) listed(ctx context.Context, d *Desk) (rows string, again time.Duration, shown bool, err error) {
	b := board{words: English(), now: time.Now(), loc: s.site.Location()}
	if b.rows, err = s.boards.read(ctx, d.opt.Query, s); err != nil {
		return "", 0, false, err
	}
	version8 := s.facts.Version == 8
	list, again, shown := b.list8()
	if !version8 {
		list, again, shown = b.list5()
	}
	return strconv.FormatUint(maphash.Bytes(printSeed, list), 16) + strconv.FormatBool(b.pending(version8)), again, shown, nil
}

const (
	// ageEvery is how often one loop is left to PHP for the ageing, and
	// agePendingEvery how often while a visitor waits for an agent: as often as he
	// polls.
	ageEvery        = 2 * time.Minute
	agePendingEvery = 29 * time.Second
)

// ageing is the turn of one loop of the site to be held by PHP.
type ageing struct {
	mu   sync.Mutex
	busy bool
	last time.Time
}

// turn takes the turn if left is 0, until over.
func (a *ageing) turn(pending bool) (left time.Duration) {
	every := ageEvery
	if pending {
		every = agePendingEvery
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy {
		return underWay
	}
	if left = time.Until(a.last.Add(every)); left > 0 {
		return left
	}
	a.busy, a.last = true, time.Now()
	return 0
}

func (a *ageing) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
}
