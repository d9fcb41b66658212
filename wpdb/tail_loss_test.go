package wpdb_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/mariadb/mariadbtest"
	"holdline/wpdb"
)

// lossRows is how many rows the loss test commits. The long run is
//
//	go test ./wpdb -run TestNothingIsLost -loss-rows=100000 -timeout=10m
var lossRows = flag.Int64("loss-rows", 20000, "rows of TestNothingIsLost")

const (
	lossWriters = 20
	lossChats   = 10
	lossClients = 50
)

// TestNothingIsLost lets many writers commit in any order and take a tenth back,
// while clients come, go and come back with their last cursor, and the server is
// killed in the middle. Everybody must get every row of their chats once.
func TestNothingIsLost(t *testing.T) {
	srv, err := mariadbtest.Start("--innodb-flush-log-at-trx-commit=2", "--max-connections=60")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	table, root, _ := tabled(t, srv)
	root.SetMaxIdleConns(lossWriters)
	for range 100 {
		say(t, root, 1, "history") // begins behind something
	}

	h := hub.New(hub.Options{})
	published := &recorder{Hub: h, order: make(map[int64]int)}
	tail := wpdb.NewTail(messages{}, table, nil, published, wpdb.TailOptions{Logger: slog.New(slog.DiscardHandler)})
	replays := &countingSource{Tail: tail}
	h.Add(replays)
	ctx, cancel := context.WithCancel(t.Context())
	var servers, clients, writers sync.WaitGroup
	servers.Go(func() { h.Run(ctx) })
	servers.Go(func() { tail.Run(ctx) })
	t.Cleanup(func() { cancel(); clients.Wait(); servers.Wait() })

	var calm atomic.Bool
	all := make([]*reader, lossClients)
	for i := range all {
		all[i] = newReader(h, i, &calm)
		clients.Go(func() { all[i].run(ctx) })
	}
	await(t, ctx, "the first position", func() bool { return tail.Stats().Last == 100 })
	var committed atomic.Int64
	for i := range lossWriters {
		writers.Go(func() { write(ctx, root, rand.New(rand.NewPCG(1, uint64(i))), &committed) })
	}
	await(t, ctx, "half of the rows", func() bool { return committed.Load() > *lossRows/2 })
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, "the tail to miss the server", func() bool { return tail.Stats().Errors > 0 })
	if err := srv.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	writers.Wait()
	calm.Store(true)

	want := truth(t, root)
	await(t, ctx, "everybody to have everything", func() bool {
		return !slices.ContainsFunc(all, func(r *reader) bool { return r.missing(want) > 0 })
	})
	rows := 0
	for i, r := range all {
		if n := r.missing(want); n > 0 {
			t.Errorf("client %d is missing %d rows", i, n)
		}
		rows += r.check(t, published)
	}
	s := tail.Stats()
	t.Logf("%d rows committed, %d published (%d late), %d delivered, %d returns, %d replays from the database",
		committed.Load(), s.Rows, s.Late, rows, returns(all), replays.n.Load())
	if s.Late == 0 || s.Errors == 0 || returns(all) < lossClients || replays.n.Load() == 0 {
		t.Errorf("the test did not test what it should: %+v", s)
	}
}

// await waits for what must come in the end, however slow the machine.
func await(t *testing.T, ctx context.Context, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for !done() {
		if !pause(ctx, 20*time.Millisecond) {
			t.Logf("gave up waiting for %s", what)
			return
		}
	}
}

// pause is false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// write commits transactions of one to ten rows, half of them after up to 200
// ms, and rolls one in ten back, until there are enough rows. Errors are those
// of a server that was killed.
func write(ctx context.Context, root *sql.DB, r *rand.Rand, committed *atomic.Int64) {
	for committed.Load() < *lossRows && ctx.Err() == nil {
		n := 1 + r.IntN(10)
		if err := transaction(ctx, root, r, n); err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		committed.Add(int64(n))
	}
}

func transaction(ctx context.Context, root *sql.DB, r *rand.Rand, n int) error {
	tx, err := root.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for range n {
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(insert, 1+r.IntN(lossChats), "x")); err != nil {
			return err
		}
	}
	if r.IntN(2) == 0 {
		pause(ctx, time.Duration(r.IntN(200))*time.Millisecond)
	}
	if r.IntN(10) == 0 {
		return context.Canceled // taken back
	}
	return tx.Commit()
}

// truth is what the table holds in the end, by channel.
func truth(t *testing.T, root *sql.DB) map[string][]int64 {
	t.Helper()
	rows, err := root.QueryContext(t.Context(), "SELECT id, chat_sess_id FROM wp_wplc_chat_msgs WHERE id > 100")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	want := make(map[string][]int64)
	for rows.Next() {
		var id, session int64
		if err := rows.Scan(&id, &session); err != nil {
			t.Fatal(err)
		}
		channel := "wplc/" + strconv.FormatInt(session, 10)
		want[channel] = append(want[channel], id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return want
}

// recorder notes the order in which rows are published.
type recorder struct {
	*hub.Hub
	mu    sync.Mutex
	order map[int64]int
}

func (r *recorder) Publish(ctx context.Context, b chat.Batch) error {
	r.mu.Lock()
	for _, e := range b.Events {
		r.order[e.ID] = len(r.order)
	}
	r.mu.Unlock()
	return r.Hub.Publish(ctx, b)
}

// countingSource counts the hub's questions to the database.
type countingSource struct {
	*wpdb.Tail
	n atomic.Int64
}

func (c *countingSource) Rows(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) ([]chat.Event, int64, error) {
	c.n.Add(1)
	return c.Tail.Rows(ctx, names, after, upTo, ids, limit)
}
