package wplc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"holdline/internal/chat"
	"holdline/wpdb"
)

// Values of wplc_chat_sessions.status (functions.php:1377-1403). 11 is an answer
// of the plugin's loops, to a page whose chat another page has, and never stored.
const (
	statusMissed     = 0
	statusEnded      = 1
	statusPending    = 2
	statusActive     = 3
	statusDeleted    = 4
	statusBrowsing   = 5
	statusInvited    = 6
	statusTimedOut   = 7
	statusEndedHere  = 8
	statusDismissed  = 9
	statusMinimised  = 10
	statusElsewhere  = 11
	statusUnanswered = 12
)

// Statuses of an open session (those the plugin counts as visitors,
// functions.php:602-697), and of these the ones that the agents' list shows.
const (
	openStatuses   = "2,3,5,8,9,10,12"
	listedStatuses = "2,3,10,12"
)

// stateOf is the word for a status in events.
func stateOf(status int64) string {
	switch status {
	case statusMissed:
		return "missed"
	case statusEnded, statusEndedHere:
		return "ended"
	case statusPending:
		return "pending"
	case statusActive:
		return "active"
	case statusDeleted:
		return "deleted"
	case statusBrowsing:
		return "browsing"
	case statusInvited:
		return "invited"
	case statusTimedOut:
		return "timed_out"
	case statusDismissed:
		return "dismissed"
	case statusMinimised:
		return "minimised"
	case statusUnanswered:
		return "unanswered"
	}
	return "unknown"
}

func isListed(status int64) bool {
	switch status {
	case statusPending, statusActive, statusMinimised, statusUnanswered:
		return true
	}
	return false
}

func isOpen(status int64) bool {
	switch status {
	case statusBrowsing, statusEndedHere, statusDismissed:
		return true
	}
	return isListed(status)
}

// Limits of one Status query.
const (
	// maxAsked is how many sessions are asked for by id. From 1000 on, MariaDB
	// makes a join of an IN list (in_predicate_conversion_threshold).
	maxAsked = 800
	// coldShare of it is kept for open sessions that nobody chats in.
	coldShare = 100
	// maxRead bounds the rows of one answer, and so the sessions remembered for
	// the agents' list. Newer sessions come first.
	maxRead = 5000
	// overlap is how many ids behind the newest are read again: AUTO_INCREMENT
	// ids become visible in the order of commits.
	overlap = 16
)

// Distances of the scans for the agents' list: the regular one, and the one after
// the newest session vanished (TRUNCATE, a restored dump).
const (
	scanEvery  = 30 * time.Second
	rescanWait = 5 * time.Second
)

// watch is what Status remembers from one call to the next.
type watch struct {
	round     uint64
	told      map[int64]*told
	watched   []string // as last taken in
	fresh     []int64  // of told, those of which nothing was told yet
	hot       []int64  // and the others
	stale     bool     // fresh and hot must be made anew
	listening bool     // somebody reads the agents' list
	list      roster
	hotAfter  int64 // where the last round of asking by id ended
	coldAfter int64
}

// told is what the readers of one chat's channel know.
type told struct {
	round uint64 // of Status in which it was last watched
	known bool
	state state
}

// state is the part of a session that its own channel tells. It holds nothing
// that a visitor may not see.
type state struct{ status, agent int64 }

type statusData struct {
	Status  int64  `json:"status"`             // the number in the database; 4 when the row is gone
	State   string `json:"state"`              // the word for it, see Source.Status
	AgentID int64  `json:"agent_id,omitempty"` // WordPress user who accepted the chat
}

// question is what one Status query asks.
type question struct {
	scan   bool // look at every open session
	ranged bool // look at the ids beyond after
	after  int64
	ids    []int64 // look at these, each named once
	brief  bool    // nobody reads the list: id, status and agent are enough
}

// Status tells the state of watched chats and the list of open ones. It makes one
// query, or none when no chat and no list is watched.
//
// wplc/<chat id> gets {"status":3,"state":"active","agent_id":1}. The states are:
//
//	0 missed      unanswered, the visitor is gone
//	1 ended       8: the same, the visitor is still on the site
//	2 pending     the visitor asked, no agent has answered yet
//	3 active
//	4 deleted     also when the row is gone or never was there
//	5 browsing    6: invited by an agent (Pro)
//	7 timed_out
//	9 dismissed   the visitor closed the box before chatting
//	10 minimised
//	12 unanswered for 30 seconds, the visitor still waits
//
// and "unknown" for every other number. wplc/agents gets the whole list, see
// listData. wplc/<chat id>/agent has no state of its own.
//
// At most maxAsked chats are asked for at a time, new ones first, so with more
// than that a change is seen after as many ticks as there are such portions. The
// agents' list begins with a scan of the session table and repeats it every 30
// seconds; in between only new sessions and those known to be open are read, by
// primary key. So an ended chat whose visitor comes back shows up within 30
// seconds, everything else within a tick.
//
// After an error nothing is forgotten and nothing counts as told.
func (s *Source) Status(ctx context.Context, q wpdb.Querier, watched []string) ([]chat.Event, error) {
	w := &s.watch
	w.mark(watched)
	ask := w.plan(time.Now())
	if !ask.scan && !ask.ranged && len(ask.ids) == 0 {
		return nil, nil
	}
	rows, err := s.readSessions(ctx, q, ask)
	if err != nil {
		return nil, fmt.Errorf("wplc: read the status of chats: %w", err)
	}
	events, err := w.tell(ask, rows)
	if err != nil {
		return nil, err
	}
	if !w.listening {
		return events, nil
	}
	w.list.update(ask, rows, time.Now())
	event, changed, err := w.list.event(s.site.Location())
	if err != nil {
		return nil, err
	}
	if changed {
		events = append(events, event)
	}
	return events, nil
}

// mark takes in who is watched now and forgets the others. With thousands of
// idle clients nothing has changed at nearly every tick, and the caller says so
// by handing over the same slice.
func (w *watch) mark(watched []string) {
	if len(watched) > 0 && len(watched) == len(w.watched) && &watched[0] == &w.watched[0] {
		return
	}
	w.watched, w.stale = watched, true
	if w.told == nil {
		w.told = make(map[int64]*told)
	}
	w.round++
	listening := false
	n := 0
	for _, name := range watched {
		r, ok := parseRoom(name)
		switch {
		case !ok:
		case r.chat == 0:
			listening = true
		case !r.agents:
			t := w.told[r.chat]
			if t == nil {
				t = &told{}
				w.told[r.chat] = t
			}
			if t.round != w.round {
				t.round = w.round
				n++
			}
		}
	}
	if n < len(w.told) {
		for id, t := range w.told {
			if t.round != w.round {
				delete(w.told, id)
			}
		}
	}
	if w.listening = listening; !listening {
		w.list = roster{}
	}
}

// plan chooses what to ask: chats of which nothing was told yet, then in turns
// those that somebody reads or chats in, then in turns the other open sessions.
func (w *watch) plan(now time.Time) question {
	if w.stale {
		w.sort()
	}
	ask := question{brief: !w.listening}
	var cold []int64
	hot := w.hot
	if w.listening {
		if ask.scan = w.list.scanDue(now); !ask.scan {
			ask.ranged = true
			ask.after = w.list.newest - overlap
			hot, cold = w.appendOpen(slices.Clone(hot), cold)
		}
	}
	warm := maxAsked - min(len(cold), coldShare)
	ask.ids = slices.Clone(w.fresh[:min(len(w.fresh), warm)])
	ask.ids = appendTurn(ask.ids, hot, &w.hotAfter, warm-len(ask.ids))
	ask.ids = appendTurn(ask.ids, cold, &w.coldAfter, maxAsked-len(ask.ids))
	return ask
}

// sort parts the watched chats into those of which nothing was told and the rest.
func (w *watch) sort() {
	w.stale, w.fresh, w.hot = false, nil, w.hot[:0]
	for id, t := range w.told {
		if t.known {
			w.hot = append(w.hot, id)
		} else {
			w.fresh = append(w.fresh, id)
		}
	}
}

// appendOpen adds the open sessions that nobody watches: chats to hot, the others
// to cold.
func (w *watch) appendOpen(hot, cold []int64) (newHot, newCold []int64) {
	for id, row := range w.list.open {
		switch {
		case w.told[id] != nil: // is asked for already
		case isListed(row.status):
			hot = append(hot, id)
		default:
			cold = append(cold, id)
		}
	}
	return hot, cold
}

// appendTurn appends the n ids that come after the last turn's, going round.
func appendTurn(dst, ids []int64, after *int64, n int) []int64 {
	if n <= 0 || len(ids) == 0 {
		return dst
	}
	if len(ids) <= n {
		return append(dst, ids...)
	}
	slices.Sort(ids)
	at, _ := slices.BinarySearch(ids, *after+1)
	for range n {
		id := ids[at%len(ids)]
		dst = append(dst, id)
		*after = id
		at++
	}
	return dst
}

// tell makes events of what the readers of single chats do not know yet.
func (w *watch) tell(ask question, rows sessions) ([]chat.Event, error) {
	var events []chat.Event
	say := func(id int64, st state) error {
		t := w.told[id]
		if t == nil || t.known && t.state == st {
			return nil
		}
		data, err := json.Marshal(statusData{Status: st.status, State: stateOf(st.status), AgentID: st.agent})
		if err != nil {
			return fmt.Errorf("wplc: encode the status of chat %d: %w", id, err)
		}
		if !t.known {
			w.stale = true
		}
		t.known, t.state = true, st
		events = append(events, chat.Event{Type: chat.TypeStatus, Channel: room{chat: id}.channel(), Data: data})
		return nil
	}
	for _, row := range rows.found {
		if err := say(row.id, state{row.status, row.agent}); err != nil {
			return nil, err
		}
	}
	for _, id := range ask.ids {
		if rows.lacks(id) {
			if err := say(id, state{status: statusDeleted}); err != nil {
				return nil, err
			}
		}
	}
	return events, nil
}

// query writes the one statement of a Status call. The ids are numbers of our
// own, written out because hundreds of placeholders cost the driver more than the
// query costs the server.
func (s *Source) query(ask question) string {
	table := quote(s.sessionTable())
	columns := s.sessionColumns
	if ask.brief {
		columns = s.stateColumns
	}
	b := []byte("SELECT " + columns + " FROM " + table + " WHERE ")
	or := ""
	if ask.scan {
		// MAX(id) is where the range reads go on from.
		b = append(b, "`status` IN ("+openStatuses+") OR `id` = (SELECT MAX(`id`) FROM "+table+")"...)
		or = " OR "
	}
	if ask.ranged {
		b = strconv.AppendInt(append(b, "`id` > "...), ask.after, 10)
		or = " OR "
	}
	if len(ask.ids) > 0 {
		b = append(append(b, or...), "`id` IN ("...)
		for i, id := range ask.ids {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, id, 10)
		}
		b = append(b, ')')
	}
	b = append(b, " ORDER BY `id` DESC LIMIT "...)
	return string(strconv.AppendInt(b, maxRead, 10))
}
