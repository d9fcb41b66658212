package dropin_test

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// check waits until everybody knows all, and compares what they know with the table.
func (all town) check() {
	s := all[0].s
	for i, m := range all {
		m.await("it is known what became of what was said", 3*time.Minute, m.settled)
		other := all[i^1]
		m.await("all that the other side said is heard", time.Minute, func() bool {
			n := 0
			for i := range m.heard {
				if h := &m.heard[i]; h.isRow() && h.From.Kind == other.as {
					n++
				}
			}
			return n >= eachSays
		})
	}
	pass(s.ctx, 2*time.Second) // for what comes once too often
	rows := s.sendRows()
	for i, m := range all {
		m.mu.Lock()
		m.checkSaid(rows[m.channel+m.as])
		m.checkHeard(m.said)
		m.checkHeard(all[i^1].said) // nobody says anything any more
		for i := range m.heard {
			if h := &m.heard[i]; slices.Contains([]string{"withdrawn", "reset", "error"}, h.Type) {
				m.faults = append(m.faults, fmt.Sprintf("it was told %+v", h.words))
			}
		}
		for _, fault := range m.faults {
			s.t.Errorf("%s: %s", m, fault)
		}
		m.mu.Unlock()
	}
	if n := s.storedSends(); n != inAll {
		s.t.Errorf("the table has %d messages, %d were sent", n, inAll)
	}
	all.tellTimes()
}

// sendRow is a message in the table.
type sendRow struct {
	id        int64
	rel, text string
}

// sendRows are the rows of each side of each chat, in their order.
func (s *stage) sendRows() map[string][]sendRow {
	s.t.Helper()
	found, err := s.site.DB().QueryContext(s.ctx, `SELECT id, CONCAT('wplc/', chat_sess_id, IF(originates = 1, 'agent', 'visitor')), rel, msg
		FROM wp_wplc_chat_msgs WHERE originates IN (1, 2) ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer found.Close()
	rows := map[string][]sendRow{}
	for found.Next() {
		var side string
		var r sendRow
		if err := found.Scan(&r.id, &side, &r.rel, &r.text); err != nil {
			s.t.Fatal(err)
		}
		rows[side] = append(rows[side], r)
	}
	if err := found.Err(); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// checkSaid looks whether all that was said is in the table once, in order, and whether
// its sender was told which row it became. Here, as below, the caller has the lock.
func (m *messenger) checkSaid(rows []sendRow) {
	var want, got []string
	for _, s := range m.said {
		want = append(want, fmt.Sprintf("%d %s", s.row, s.id))
		if s.failed != "" {
			m.s.t.Errorf("%s: %s has failed: %s", m, s.id, s.failed)
		}
	}
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%d %s", r.id, r.rel))
		if shown := "This is " + r.rel + " &#60;b>&#92;&#60;/b> &#x1f600;"; r.text != shown {
			m.s.t.Errorf("%s: %s is in the table as %q, want %q", m, r.rel, r.text, shown)
		}
	}
	if !slices.Equal(got, want) {
		m.s.t.Errorf("%s: the table has\n%q, it was told of\n%q", m, got, want)
	}
}

// checkHeard looks at what the lines have told of one side's messages.
func (m *messenger) checkHeard(said []*saying) {
	shown := -1 // where in heard the last one came up first
	for _, s := range said {
		at := m.checkOne(s)
		if at < shown {
			m.s.t.Errorf("%s: %s was shown before the one that was sent before it: %s", m, s.id, m.transcript(""))
		}
		shown = at
	}
}

// checkOne looks whether a message was told as pending and then stored, or as a message,
// and its row only once over all lines. A new line tells what is pending again, and a
// poll tells all that is pending with each change. It returns where it was told first.
func (m *messenger) checkOne(s *saying) (at int) {
	at = -1
	var pending, row *hearing
	for i := range m.heard {
		h := &m.heard[i]
		isMessage := h.Type == "message" || h.Type == "stored"
		if h.ClientID != s.id || !isMessage {
			continue
		}
		if at < 0 {
			at = i
		}
		wrong := ""
		switch {
		case h.Body != s.body:
			wrong = fmt.Sprintf("has the text %q", h.Body)
		case h.isRow() == h.Pending:
			wrong = "is neither pending nor a row, or both"
		case h.Pending && row != nil && row.line == h.line:
			wrong = "is pending after it was stored"
		case h.Pending && pending != nil && pending.line == h.line && m.way != "poll":
			wrong = "was told as pending twice"
		case h.Pending:
			pending = h
			continue
		case row != nil:
			wrong = "was told as a row twice"
		case h.ID != s.row:
			wrong = fmt.Sprintf("was told as row %d, not %d", h.ID, s.row)
		case h.Type == "stored" && pending == nil:
			wrong = "was stored before it was shown"
		}
		if wrong != "" {
			m.s.t.Errorf("%s: %s %s: %s", m, s.id, wrong, m.transcript(s.id))
		}
		if h.isRow() {
			row = h
		}
	}
	if row == nil {
		m.s.t.Errorf("%s: the row of %s was never told: %s", m, s.id, m.transcript(s.id))
	}
	return at
}

// seeEverything has all sides tell how far they have read. The other side hears it, and
// it is noted in the table.
func (all town) seeEverything() {
	s := all[0].s
	if n := s.column("SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE originates IN (1, 2) AND status = 0"); n != strconv.Itoa(inAll) {
		s.t.Errorf("%s messages are unread before anybody has told to have read them, want %d", n, inAll)
	}
	kinds := map[string]string{"visitor": "delivered", "agent": "seen"}
	for i, m := range all {
		m.tell(map[string]any{"type": kinds[m.as], "channel": m.channel, "as": m.as, "up_to": all[i^1].lastRow()})
	}
	for i, m := range all {
		other := all[i^1]
		m.await("the other side has read all", time.Minute, func() bool {
			return slices.ContainsFunc(m.heard, func(h hearing) bool {
				return h.Type == kinds[other.as] && h.From.Kind == other.as && h.Data.UpTo == m.said[len(m.said)-1].row
			})
		})
	}
	s.awaitColumn("0", "SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE originates IN (1, 2) AND status = 0")
}

func (m *messenger) lastRow() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said[len(m.said)-1].row
}

// tellTimes logs how long it took to be accepted, and to be shown to the other side.
func (all town) tellTimes() {
	var accepted, shown []time.Duration
	delayed, lines := 0, 0
	for i, m := range all {
		m.mu.Lock()
		first := map[string]time.Time{} // when something was asked
		for _, s := range m.said {
			first[s.id] = s.first
			if !s.accepted.IsZero() {
				accepted = append(accepted, s.accepted.Sub(s.first))
			}
		}
		for i := range m.heard {
			if m.heard[i].Type == "delayed" {
				delayed++
			}
		}
		lines += m.line
		m.mu.Unlock()
		other := all[i^1]
		other.mu.Lock()
		for i := range other.heard {
			h := &other.heard[i]
			if asked, ok := first[h.ClientID]; ok {
				shown = append(shown, h.at.Sub(asked))
				delete(first, h.ClientID)
			}
		}
		other.mu.Unlock()
	}
	t := all[0].s.t
	if delayed == 0 {
		t.Error("no sender was told that WordPress is away")
	}
	t.Logf("accepted after %s; shown to the other side after %s; over %d lines; senders were told %d times of a delay",
		quantiles(accepted), quantiles(shown), lines, delayed)
}

func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "never"
	}
	slices.Sort(all)
	return fmt.Sprintf("p50 %v, p95 %v, longest %v", all[len(all)/2].Round(100*time.Microsecond),
		all[len(all)*95/100].Round(100*time.Microsecond), all[len(all)-1].Round(time.Millisecond))
}
