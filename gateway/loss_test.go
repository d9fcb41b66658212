package gateway_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdline/config"
)

// Sizes of the loss test. LOSS_ROWS raises the number of rows for a run by hand.
const (
	lossWriters = 20
	lossClients = 30
	lossChats   = 4
	lossRows    = 3000
)

// TestNoRowIsLostOrRepeated: writers commit in any order, dawdle and roll back,
// while clients on all transports come, drop at any moment and come back with
// their last cursor; the database is killed and the gateway is replaced in the
// middle of it. In the end every client must have had every row of its chats
// that is in the table, once.
func TestNoRowIsLostOrRepeated(t *testing.T) {
	rows := int64(lossRows)
	if text := os.Getenv("LOSS_ROWS"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows = n
	}
	s := newSite(t, with(func(c *config.Config) {
		c.Limits.PerAddress, c.Drain = 1000, 2*time.Second
	}))
	l := &loss{site: s, want: rows, started: time.Now()}
	for range lossChats {
		l.chats = append(l.chats, s.chat(3))
	}
	l.announce()
	var writers, clients sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	l.ctx = ctx
	for i := range lossClients {
		c := newLossClient(l, i)
		l.clients = append(l.clients, c)
		c.connectFirst(t)
		clients.Go(c.run)
	}
	for i := range lossWriters {
		w := &lossWriter{loss: l, index: i, db: openOwn(t, s)}
		writers.Go(w.run)
	}
	l.disturb(t)
	writers.Wait()
	l.table(t)
	l.complete.Store(true)
	clients.Wait()
	l.check(t)
}

// loss is the state of the test.
type loss struct {
	*site
	ctx     context.Context
	started time.Time
	want    int64 // rows to commit
	chats   []int64
	clients []*lossClient
	base    atomic.Pointer[string] // of the gateway that runs now

	committed, rolledBack, unsure, kills atomic.Int64
	complete                             atomic.Bool                // final is there
	acknowledged                         sync.Map                   // text of rows whose COMMIT was answered
	final                                map[int64]map[int64]string // what the table holds in the end: chat, id, text
}

// openOwn is a writer's own connection.
func openOwn(tb testing.TB, s *site) *sql.DB {
	tb.Helper()
	db, err := server.Open(s.name)
	if err != nil {
		tb.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tb.Cleanup(func() { db.Close() })
	return db
}

type lossWriter struct {
	*loss
	index int
	db    *sql.DB
}

var errRollBack = errors.New("rolled back on purpose")

func (w *lossWriter) run() {
	for n := 0; w.committed.Load() < w.want && w.ctx.Err() == nil; n++ {
		texts := make([]string, 1+rand.N(3))
		for i := range texts {
			texts[i] = fmt.Sprintf("%d/%d/%d", w.index, n, i)
		}
		switch err := w.transaction(texts); {
		case err == nil:
			w.committed.Add(int64(len(texts)))
			for _, text := range texts {
				w.acknowledged.Store(text, true)
			}
		case errors.Is(err, errRollBack):
			w.rolledBack.Add(1)
		default:
			w.unsure.Add(1) // the database was killed: nobody knows, the table will tell
			pause(20 * time.Millisecond)
		}
	}
}

func (w *lossWriter) transaction(texts []string) error {
	tx, err := w.db.BeginTx(w.ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint // after COMMIT it does nothing
	for _, text := range texts {
		_, err := tx.ExecContext(w.ctx, `INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
			VALUES (?, 'Admin', ?, NOW(), 0, 1, '', '', 0, 0)`, w.chats[rand.N(len(w.chats))], text)
		if err != nil {
			return err
		}
		pause(rand.N(4 * time.Millisecond))
	}
	switch rand.N(20) {
	case 0:
		pause(rand.N(200 * time.Millisecond)) // commits long after higher ids
	case 1, 2:
		return errors.Join(errRollBack, tx.Rollback())
	}
	return tx.Commit()
}

// pause spreads what happens over real time: the database has no other.
func pause(d time.Duration) { time.Sleep(d) }

// disturb kills the database and replaces the gateway, each twice.
func (l *loss) disturb(t *testing.T) {
	for i, share := range []int64{25, 45, 65, 85} {
		for l.committed.Load() < l.want*share/100 && l.ctx.Err() == nil {
			pause(10 * time.Millisecond)
		}
		if i%2 == 0 {
			if err := server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := server.Restart(context.Background()); err != nil {
				t.Fatal(err)
			}
		} else {
			l.stop()
			l.start()
			l.announce()
		}
		l.kills.Add(1)
	}
}

// announce tells the clients where the gateway is.
func (l *loss) announce() {
	base := l.site.base
	l.base.Store(&base)
}

// table reads what there is in the end.
func (l *loss) table(t *testing.T) {
	l.final = make(map[int64]map[int64]string)
	rows, err := l.db.QueryContext(l.ctx, "SELECT id, chat_sess_id, msg FROM wp_wplc_chat_msgs")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := make(map[string]bool)
	for rows.Next() {
		var id, chat int64
		var text string
		if err := rows.Scan(&id, &chat, &text); err != nil {
			t.Fatal(err)
		}
		if l.final[chat] == nil {
			l.final[chat] = make(map[int64]string)
		}
		l.final[chat][id] = text
		found[text] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	l.acknowledged.Range(func(text, _ any) bool {
		if !found[text.(string)] {
			t.Errorf("the database lost the committed row %s", text)
		}
		return true
	})
}

// check compares what each client had with the table.
func (l *loss) check(t *testing.T) {
	var deliveries, missing, repeated, phantom, resumes, resets int
	total := 0
	for _, rows := range l.final {
		total += len(rows)
	}
	byTransport := make(map[string]int)
	for _, c := range l.clients {
		if c.refused != nil {
			t.Errorf("%s client %d: %v", c.transport, c.index, c.refused)
		}
		for _, chat := range c.chats {
			for id, text := range l.final[chat] {
				if had := c.had[id]; had != text {
					if missing++; missing < 10 {
						t.Errorf("%s client %d: row %d of chat %d is missing (had %q)", c.transport, c.index, id, chat, had)
					}
				}
			}
		}
		for id, text := range c.had {
			if !slices.ContainsFunc(c.chats, func(chat int64) bool { return l.final[chat][id] == text }) {
				phantom++
			}
		}
		deliveries += len(c.had)
		byTransport[c.transport] += len(c.had)
		repeated += c.repeated
		resumes += c.resumes
		resets += c.resets
	}
	if missing > 0 || repeated > 0 || resets > 0 {
		t.Errorf("%d missing, %d repeated, %d resets", missing, repeated, resets)
	}
	t.Logf("%d rows in the table of %d writers (%d commits acknowledged, %d transactions rolled back, %d cut off by a kill)",
		total, lossWriters, l.committed.Load(), l.rolledBack.Load(), l.unsure.Load())
	t.Logf("%d deliveries to %d clients %v, %d drops and resumes, %d kills of database or gateway: %d missing, %d repeated, %d of rows that a kill took back, in %v",
		deliveries, lossClients, byTransport, resumes, l.kills.Load(), missing, repeated, phantom, time.Since(l.started).Round(time.Millisecond))
}
