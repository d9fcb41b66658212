//go:build e2e && linux

package soak_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const insertRow = `INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
	VALUES (?, 'Admin', ?, NOW(), 0, 1, '', '', 0, 0)`

// writers write rows as plugins do, many sessions at once. Some keep their transactions
// open while others commit, so that ids commit out of order, and some roll back.
type writers struct {
	db     *sql.DB
	ledger *ledger
	chats  []int64
	rng    *rand.Rand
	rate   float64 // transactions a second
	haste  float64 // so many times as fast, with as many transactions open at a time; 0 is 1
	open   sync.WaitGroup

	commits, rollbacks, unsure atomic.Int64
}

// run begins transactions until ctx ends, and waits for those that are open.
func (w *writers) run(ctx context.Context) {
	defer w.open.Wait()
	tick := time.NewTicker(w.hasten(time.Duration(float64(time.Second) / w.rate)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tx := w.plan()
		w.open.Go(func() { tx.run() })
	}
}

// transaction is what one session does, planned ahead.
type transaction struct {
	*writers
	chats    []int64
	texts    []string
	hold     time.Duration // between the last INSERT and the end
	rollback bool
}

func (w *writers) plan() *transaction {
	tx := &transaction{writers: w, rollback: w.rng.IntN(10) == 0}
	for range 1 + w.rng.IntN(3) {
		tx.chats = append(tx.chats, w.chats[w.rng.IntN(len(w.chats))])
		tx.texts = append(tx.texts, fmt.Sprintf("row %d", w.ledger.number()))
	}
	switch w.rng.IntN(20) {
	case 0:
		tx.hold = time.Duration(w.rng.Int64N(int64(20 * time.Second))) // a third of tail.gap_window
	case 1, 2, 3:
		tx.hold = time.Duration(w.rng.Int64N(int64(time.Second)))
	default:
		tx.hold = time.Duration(w.rng.Int64N(int64(20 * time.Millisecond)))
	}
	tx.hold = w.hasten(tx.hold)
	return tx
}

func (w *writers) hasten(d time.Duration) time.Duration {
	return time.Duration(float64(d) / max(1, w.haste))
}

func (tx *transaction) run() {
	// Not the run's: what was begun ends as planned.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	session, err := tx.db.BeginTx(ctx, nil)
	if err != nil {
		return // MariaDB is away
	}
	defer session.Rollback() // after COMMIT it does nothing
	for i, text := range tx.texts {
		if _, err := session.ExecContext(ctx, insertRow, tx.chats[i], text); err != nil {
			return
		}
	}
	pass(ctx, tx.hold)
	for _, text := range tx.texts {
		tx.ledger.begin(text, entry{rolledBack: tx.rollback})
	}
	if tx.rollback {
		tx.rollbacks.Add(1)
		return
	}
	if session.Commit() != nil {
		tx.unsure.Add(1) // nobody knows; the table will tell
		return
	}
	tx.commits.Add(1)
	tx.ledger.ack(tx.texts...)
}

// quiet is what a mark comes after when nothing has happened for some seconds.
const quiet = "quiet"

// mark is a row in every chat that says when and after what it was written.
type mark struct {
	n     int
	after string
	at    time.Time     // when it was begun
	took  time.Duration // until it could be seen
}

func (m mark) String() string { return fmt.Sprintf("mark %d %d %s", m.n, m.at.UnixNano(), m.after) }

func parseMark(text string) (m mark, err error) {
	var at int64
	if _, err := fmt.Sscanf(text, "mark %d %d", &m.n, &at); err != nil {
		return m, fmt.Errorf("%q is no mark: %w", text, err)
	}
	m.at = time.Unix(0, at)
	m.after, _, _ = strings.Cut(strings.SplitN(text, " ", 4)[3], " in ")
	return m, nil
}

// mark writes a mark.
func (w *writers) mark(ctx context.Context, after string) (mark, error) {
	session, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return mark{}, fmt.Errorf("write a mark: %w", err)
	}
	defer session.Rollback() // after COMMIT it does nothing
	m := mark{n: w.ledger.number(), after: after, at: time.Now()}
	var texts []string
	for _, chat := range w.chats {
		texts = append(texts, fmt.Sprintf("%s in %d", m, chat))
	}
	for i, text := range texts {
		if _, err := session.ExecContext(ctx, insertRow, w.chats[i], text); err != nil {
			return mark{}, fmt.Errorf("write a mark: %w", err)
		}
		w.ledger.begin(text, entry{})
	}
	m.took = time.Since(m.at)
	if err := session.Commit(); err != nil {
		return mark{}, fmt.Errorf("write a mark: %w", err)
	}
	w.ledger.ack(texts...)
	return m, nil
}

// pass lets time pass, and tells whether the context still lives.
func pass(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
