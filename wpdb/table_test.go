package wpdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/mariadb/mariadbtest"
	"holdline/wpdb"
)

// messages is the least there can be of a source: WP Live Chat Support's table.
type messages struct{}

func (messages) Name() string    { return "wplc" }
func (messages) Table() string   { return "wp_wplc_chat_msgs" }
func (messages) Columns() string { return "id, chat_sess_id, msg" }

func (messages) Decode(scan func(...any) error) (wpdb.Row, error) {
	var r wpdb.Row
	var session int64
	if err := scan(&r.ID, &session, &r.Event.Body); err != nil {
		return r, err
	}
	if r.Event.Body == "unreadable" {
		return r, errors.New("a row that nobody can read")
	}
	r.Event.Type, r.Event.Channel = chat.TypeMessage, "wplc/"+strconv.FormatInt(session, 10)
	return r, nil
}

func (messages) Filter(names []string) (string, []any) {
	args := make([]any, len(names))
	for i, n := range names {
		args[i] = n
	}
	return "chat_sess_id IN (?" + strings.Repeat(",?", len(names)-1) + ")", args
}

const insert = "INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)" +
	" VALUES (%d, 'x', '%s', '2026-11-22 05:00:00', 0, 2, '', '', 0, 0)"

// tabled makes the plugin's tables and reads them as a user who may only SELECT.
func tabled(t testing.TB, srv *mariadbtest.Instance) (table *wpdb.Table, root *sql.DB, name string) {
	t.Helper()
	schema, err := os.ReadFile("../testdata/schema/wplc-8.sql")
	if err != nil {
		t.Fatal(err)
	}
	name, root = srv.Database(t, string(schema))
	table = wpdb.NewTable(open(t, userOptions(srv, name, srv.ReadOnlyUser(t, name))), messages{})
	return table, root, name
}

func say(t testing.TB, q interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, session int, text string,
) int64 {
	t.Helper()
	res, err := q.ExecContext(context.Background(), fmt.Sprintf(insert, session, text))
	if err != nil {
		t.Fatal(err)
	}
	id, err := res.LastInsertId()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func begin(t testing.TB, root *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := root.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func rowIDs(rows []wpdb.Row) (ids []int64) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func wantRead(t *testing.T, table *wpdb.Table, after int64, ids, want []int64) {
	t.Helper()
	rows, err := table.Read(t.Context(), after, ids, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rowIDs(rows)); diff != "" {
		t.Errorf("read after %d and %v: %s", after, ids, diff)
	}
}

func wantInFlight(t *testing.T, table *wpdb.Table, ids, want []int64, sure bool) {
	t.Helper()
	got, conclusive, err := table.InFlight(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || conclusive != sure {
		t.Errorf("in flight of %v (conclusive: %v): %s", ids, conclusive, diff)
	}
}

func TestTableShowsCommitOrder(t *testing.T) {
	table, root, _ := tabled(t, server)
	early, other := begin(t, root), begin(t, root)
	say(t, early, 1, "one")
	say(t, other, 1, "two")
	say(t, root, 1, "three")
	wantRead(t, table, 0, nil, []int64{3})
	wantInFlight(t, table, []int64{1, 2, 7}, []int64{1, 2}, true)
	if err := early.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, table, 3, []int64{1, 2}, []int64{1})
	wantInFlight(t, table, []int64{1, 2}, []int64{1}, true)
	// The look at uncommitted rows was for that one look.
	late := begin(t, root)
	say(t, late, 1, "four")
	wantRead(t, table, 3, []int64{4}, nil)
	present, err := table.Present(t.Context(), 0, 9)
	if diff := cmp.Diff([]int64{1, 3}, present); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestTableReadsPastWhatItCannotDecode(t *testing.T) {
	table, root, _ := tabled(t, server)
	say(t, root, 1, "one")
	say(t, root, 1, "unreadable")
	say(t, root, 1, "three")
	rows, err := table.Read(t.Context(), 0, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, rowIDs(rows)); diff != "" {
		t.Fatal(diff)
	}
	if !rows[1].Silent || rows[1].Event.Body != "" || rows[2].Silent || table.Unreadable() != 1 {
		t.Fatalf("%+v, %d unreadable", rows, table.Unreadable())
	}
}

func TestTableFind(t *testing.T) {
	table, root, _ := tabled(t, server)
	for i := range 10 {
		say(t, root, 1+i%2, "x")
	}
	for _, tt := range []struct {
		name        string
		names       []string
		after, upTo int64
		ids         []int64
		limit       int
		want        []int64
		cut         int64
	}{
		{"all", nil, 3, 6, nil, 100, []int64{4, 5, 6}, 0},
		{"one chat", []string{"1"}, 0, 6, nil, 100, []int64{1, 3, 5}, 0},
		{"both chats", []string{"1", "2"}, 8, 10, nil, 100, []int64{9, 10}, 0},
		{"with open ids", []string{"1"}, 6, 8, []int64{1, 2, 3}, 100, []int64{1, 3, 7}, 0},
		{"cut", nil, 0, 10, nil, 4, []int64{1, 2, 3, 4}, 4},
		{"none", []string{"7"}, 0, 10, nil, 4, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, cut, err := table.Find(t.Context(), tt.names, tt.after, tt.upTo, tt.ids, tt.limit)
			if diff := cmp.Diff(tt.want, rowIDs(rows)); diff != "" || cut != tt.cut || err != nil {
				t.Error(diff, cut, err)
			}
		})
	}
}

func TestTableEdge(t *testing.T) {
	for _, engine := range []string{"InnoDB", "MyISAM"} {
		t.Run(engine, func(t *testing.T) {
			table, root, _ := tabled(t, server)
			mustExec(t, root, "ALTER TABLE wp_wplc_chat_msgs ENGINE="+engine)
			want := func(what string, highest, next int64) wpdb.Edge {
				t.Helper()
				e, err := table.Edge(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if e.Max != highest || e.Next != next || e.Created == "" {
					t.Errorf("%s: %+v", what, e)
				}
				return e
			}
			want("empty", 0, 1)
			for range 5 {
				say(t, root, 1, "x")
			}
			before := want("five rows", 5, 6)
			mustExec(t, root, "DELETE FROM wp_wplc_chat_msgs WHERE id = 5")
			if e := want("the last row deleted", 4, 6); e.Created != before.Created {
				t.Error("a deletion looks like a new table")
			}
			mustExec(t, root, "TRUNCATE wp_wplc_chat_msgs")
			want("truncated", 0, 1)
			t.Logf("CREATE_TIME before %s", before.Created)
		})
	}
}

func TestTableCannotTellWhatIsInFlight(t *testing.T) {
	t.Run("with MyISAM", func(t *testing.T) {
		table, root, _ := tabled(t, server)
		mustExec(t, root, "ALTER TABLE wp_wplc_chat_msgs ENGINE=MyISAM")
		say(t, root, 1, "x")
		wantInFlight(t, table, []int64{1, 2}, []int64{1}, false)
	})
	t.Run("where several servers deal out ids", func(t *testing.T) {
		srv, err := mariadbtest.Start("--auto-increment-increment=3", "--auto-increment-offset=2")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		table, root, _ := tabled(t, srv)
		if a, b := say(t, root, 1, "x"), say(t, root, 1, "x"); a != 2 || b != 5 {
			t.Fatalf("ids %d and %d", a, b)
		}
		wantInFlight(t, table, []int64{1, 3, 4}, nil, false)
		wantRead(t, table, 0, []int64{1, 3, 4}, []int64{2, 5})
	})
}

// Every query of every tick must be a few steps in the primary key, however long
// the table and the lists are.
func TestTableQueriesUseThePrimaryKey(t *testing.T) {
	table, root, name := tabled(t, server)
	mustExec(t, root, "INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)"+
		" SELECT 1 + seq % 50, 'x', 'hello', '2026-11-22', 0, 2, '', '', 0, 0 FROM seq_1_to_100000")
	mustExec(t, root, "ANALYZE TABLE wp_wplc_chat_msgs")
	var open []int64
	for id := int64(95000); len(open) < 1600; id += 3 {
		open = append(open, id)
	}
	ctx := t.Context()
	for what, query := range map[string]func() error{
		"read":                 func() error { _, err := table.Read(ctx, 99990, nil, 500); return err },
		"read with few ids":    func() error { _, err := table.Read(ctx, 99990, open[:3], 500); return err },
		"read with many ids":   func() error { _, err := table.Read(ctx, 99990, open, 500); return err },
		"replay":               func() error { _, _, err := table.Find(ctx, []string{"7"}, 99000, 99990, nil, 128); return err },
		"replay with ids":      func() error { _, _, err := table.Find(ctx, nil, 99000, 99990, open[:1024], 4096); return err },
		"look for uncommitted": func() error { _, _, err := table.InFlight(ctx, open[:800]); return err },
		"present":              func() error { _, err := table.Present(ctx, 99744, 100000); return err },
		"edge":                 func() error { _, err := table.Edge(ctx); return err },
	} {
		t.Run(what, func(t *testing.T) {
			before := rowsRead(t, root, name)
			if err := query(); err != nil {
				t.Fatal(err)
			}
			if n := rowsRead(t, root, name) - before; n > 5000 {
				t.Errorf("%d rows of 100,000 were read", n)
			}
		})
	}
}

// rowsRead is how many rows and index entries the server has stepped over.
func rowsRead(t *testing.T, root *sql.DB, _ string) int {
	t.Helper()
	rows, err := root.QueryContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Handler_read%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sum := 0
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

func TestTableSurvivesKill(t *testing.T) {
	srv, err := mariadbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	table, root, _ := tabled(t, srv)
	say(t, root, 1, "one")
	lost := begin(t, root)
	say(t, lost, 1, "lost")
	say(t, root, 1, "three")
	wantRead(t, table, 0, nil, []int64{1, 3})
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Read(t.Context(), 0, nil, 10); wpdb.Classify(err) != wpdb.Gone {
		t.Errorf("a killed server: %v", err)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRead(t, table, 1, []int64{2}, []int64{3})
	wantInFlight(t, table, []int64{2}, nil, true)
	if e, err := table.Edge(t.Context()); err != nil || e.Max != 3 || e.Next != 4 {
		t.Errorf("%+v, %v", e, err)
	}
}
