package wplc

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"
)

const manyRows = 100_000

// plan is one line of EXPLAIN.
type plan struct{ kind, key, extra string }

func explain(t *testing.T, db *sql.DB, query string, args ...any) []plan {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plans []plan
	for rows.Next() {
		var id, selectType, table, kind, possible, key, keyLen, ref, n, extra sql.NullString
		if err := rows.Scan(&id, &selectType, &table, &kind, &possible, &key, &keyLen, &ref, &n, &extra); err != nil {
			t.Fatal(err)
		}
		plans = append(plans, plan{kind.String, key.String, extra.String})
	}
	if err := rows.Err(); err != nil || plans == nil {
		t.Fatalf("EXPLAIN said nothing: %v", err)
	}
	return plans
}

// wantPrimary fails when a query does anything but walk the primary key.
func wantPrimary(t *testing.T, what string, plans []plan) {
	t.Helper()
	for _, p := range plans {
		cheap := (p.kind == "range" || p.kind == "const" || p.kind == "eq_ref") && p.key == "PRIMARY"
		if !cheap || strings.Contains(p.extra, "filesort") || strings.Contains(p.extra, "temporary") {
			t.Errorf("%s: %+v", what, plans)
			return
		}
	}
}

// handlerReads runs something on one connection and returns how many rows the
// server's storage engine was asked for meanwhile, and how many of these came
// from a walk through the whole table.
func handlerReads(t *testing.T, site *testSite, run func(t *testing.T)) (all, next int) {
	t.Helper()
	site.DB.SetMaxOpenConns(1)
	defer site.DB.SetMaxOpenConns(0)
	allBefore, nextBefore := readCounters(t, site)
	run(t)
	all, next = readCounters(t, site)
	return all - allBefore, next - nextBefore
}

func readCounters(t *testing.T, site *testSite) (all, next int) {
	t.Helper()
	rows, err := site.DB.Query("SHOW SESSION STATUS LIKE 'Handler_read%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		all += n
		if name == "Handler_read_rnd_next" {
			next = n
		}
	}
	return all, next
}

// bigSite has 100,000 sessions, of which 400 are open, and as many messages.
func bigSite(t *testing.T) (*testSite, *sql.DB) {
	t.Helper()
	site, root := newSite(t, "wplc-8.sql")
	fill(t, root, manyRows, 1)
	exec(t, root, fmt.Sprintf(`
		UPDATE wp_wplc_chat_sessions SET status = 3 WHERE id %% 500 = 0;
		UPDATE wp_wplc_chat_sessions SET status = 5 WHERE id %% 500 = 1;
		INSERT INTO wp_wplc_chat_msgs SELECT seq, 1000 + seq %% 100000, 'Ann', REPEAT('text ', 20), '2019-03-19 10:00:00', 0, 2, '', '', 0, 0 FROM seq_1_to_%d;
		ANALYZE TABLE wp_wplc_chat_sessions, wp_wplc_chat_msgs`, manyRows))
	return site, root
}

func TestNoTickScansATable(t *testing.T) {
	site, root := bigSite(t)
	s := detect(t, site)
	const last = 999 + manyRows

	t.Run("tail", func(t *testing.T) {
		read := "SELECT " + s.Columns() + " FROM " + s.Table()
		// A tail that is up to date, one with a list of gaps, and a replay.
		wantPrimary(t, "up to date", explain(t, site.DB, read+" WHERE id > ? ORDER BY id LIMIT ?", manyRows, 1000))
		gaps := make([]any, 300)
		for i := range gaps {
			gaps[i] = manyRows - 2*i
		}
		query := read + " WHERE id > ? OR id IN (" + placeholders(len(gaps)) + ") ORDER BY id LIMIT ?"
		args := append(append([]any{manyRows - 5}, gaps...), 1000)
		wantPrimary(t, "with gaps", explain(t, site.DB, query, args...))
		where, filterArgs := s.Filter([]string{"41", "41/agent", "42", "agents"})
		wantPrimary(t, "replay", explain(t, site.DB, read+" WHERE id > ? AND "+where+" ORDER BY id LIMIT ?",
			append(append([]any{manyRows - 5000}, filterArgs...), 1000)...))

		all, next := handlerReads(t, site, func(t *testing.T) {
			rows, err := site.DB.Query(query, args...)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			n := 0
			for rows.Next() {
				n++
			}
			if n != 302 { // three gaps are in the range as well
				t.Errorf("%d rows", n)
			}
		})
		if all > 1000 || next > 20 {
			t.Errorf("a tail query read %d rows, %d of them in a row", all, next)
		}
	})

	t.Run("watched chats", func(t *testing.T) {
		for _, n := range []int{1, 100, maxAsked, 5000} {
			status(t, s, site) // forget
			watched := names(20_000, n)
			all, next := handlerReads(t, site, func(t *testing.T) { status(t, s, site, watched...) })
			wantPrimary(t, fmt.Sprint(n, " chats"), explain(t, root, site.last))
			if limit := 2*min(n, maxAsked) + 20; all > limit || next > 20 {
				t.Errorf("%d chats: %d rows read, %d of them in a row", n, all, next)
			}
		}
	})

	t.Run("agents' list", func(t *testing.T) {
		bubble(t, site, func(t *testing.T) {
			if visitors, ids, _, _ := listOf(t, s, site); visitors != 400 || len(ids) != 200 {
				t.Errorf("%d visitors, %d chats", visitors, len(ids))
			}
			for range 3 {
				all, next := handlerReads(t, site, func(t *testing.T) { listOf(t, s, site, names(20_000, 700)...) })
				wantPrimary(t, "list", explain(t, root, site.last))
				asked(t, site)
				if all > 2*(maxAsked+overlap)+20 || next > 20 {
					t.Errorf("list: %d rows read, %d of them in a row", all, next)
				}
			}
			exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = ?", last)
			if visitors, _, _, ok := listOf(t, s, site); !ok || visitors != 401 {
				t.Errorf("%d visitors, told %v", visitors, ok)
			}
			// Exactly one query in thirty seconds is a scan.
			scans := 0
			for range 300 {
				time.Sleep(scanEvery / 300)
				if status(t, s, site, "agents"); isScan(site) {
					scans++
				}
			}
			if scans != 1 {
				t.Errorf("%d scans in %v", scans, scanEvery)
			}
		})
	})
}

func TestQueriesAreCounted(t *testing.T) {
	site, _ := newSite8(t)
	s := detect(t, site)
	// Two for the tables' columns, six options.
	if n := site.queries.Load(); n != 8 {
		t.Errorf("Detect made %d queries", n)
	}
	for _, watched := range [][]string{{"41"}, {"agents"}, {"agents"}, {"41", "agents"}, names(1, 3000)} {
		before := site.queries.Load()
		if _, err := s.Status(context.Background(), site, watched); err != nil {
			t.Fatal(err)
		}
		if n := site.queries.Load() - before; n != 1 {
			t.Errorf("%d names: %d queries", len(watched), n)
		}
	}
}
