//go:build e2e && linux

package soak_test

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"sync"
	"time"
)

// ledger knows what was written, by text: every text is written once in a run.
type ledger struct {
	mu      sync.Mutex
	entries map[string]*entry
	n       int
}

// entry is a row that may come to be.
type entry struct {
	begun      time.Time // when it could be told at the earliest: COMMIT was said, or it was sent
	acked      bool      // COMMIT was answered, or the gateway accepted it
	rolledBack bool
	sender     string // of a message that was sent
	clientID   string
	seq        int // of its sender's
}

func newLedger() *ledger { return &ledger{entries: map[string]*entry{}} }

// begin notes that a text may come to be seen from now on.
func (l *ledger) begin(text string, e entry) *entry {
	e.begun = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[text] = &e
	return &e
}

func (l *ledger) ack(texts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range texts {
		l.entries[text].acked = true
	}
}

// number makes texts different.
func (l *ledger) number() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return l.n
}

// row is a row as a client was told of it. An id alone does not name a row: what a
// killed database takes back leaves its id to another.
type row struct {
	ID  int64
	Sum uint64 // of the text
}

func rowOf(id int64, text string) row {
	h := fnv.New64a()
	h.Write([]byte(text))
	return row{id, h.Sum64()}
}

// tableRow is a row that is in the table in the end.
type tableRow struct {
	id       int64
	text     string
	clientID string
	read     bool // as the plugin's loops mark what they have told
	begun    time.Time
}

// table is what there is in the end, by chat.
type table struct {
	rows   map[int64][]tableRow
	all    map[row]bool
	n      int
	faults []string
}

// read reads the table and compares it with the ledger. Rows of before the run, and what
// the plugin itself says, belong to nobody.
func (l *ledger) read(ctx context.Context, db *sql.DB) (*table, error) {
	t := &table{rows: map[int64][]tableRow{}, all: map[row]bool{}}
	rows, err := db.QueryContext(ctx, `SELECT id, chat_sess_id, msg, rel, status = 1 FROM wp_wplc_chat_msgs WHERE originates IN (1, 2) ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read the table: %w", err)
	}
	defer rows.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	found, last := map[string]int64{}, map[string]int{}
	for rows.Next() {
		var r tableRow
		var chat int64
		if err := rows.Scan(&r.id, &chat, &r.text, &r.clientID, &r.read); err != nil {
			return nil, fmt.Errorf("read the table: %w", err)
		}
		t.all[rowOf(r.id, r.text)] = true
		e := l.entries[r.text]
		if e == nil {
			t.fault("row %d, %q, was written by nobody", r.id, r.text)
			continue
		}
		r.begun = e.begun
		t.rows[chat] = append(t.rows[chat], r)
		t.n++
		if first, ok := found[r.text]; ok {
			t.fault("%q is in the table twice, as rows %d and %d", r.text, first, r.id)
		}
		found[r.text] = r.id
		t.check(e, &r, last)
	}
	for text, e := range l.entries {
		if e.acked && found[text] == 0 {
			t.fault("%q was acknowledged (sender %q) and is not in the table", text, e.sender)
		}
	}
	return t, rows.Err()
}

// check compares a row with what was written.
func (t *table) check(e *entry, r *tableRow, last map[string]int) {
	if e.rolledBack {
		t.fault("row %d, %q, was rolled back", r.id, r.text)
	}
	if e.sender == "" {
		return
	}
	if e.seq < last[e.sender] {
		t.fault("message %d of %s comes after message %d in the table", e.seq, e.sender, last[e.sender])
	}
	last[e.sender] = e.seq
	if r.clientID != e.clientID {
		t.fault("row %d has the client id %q, not %q", r.id, r.clientID, e.clientID)
	}
}

func (t *table) fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}
