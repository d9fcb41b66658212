package wpdb

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// Edge is where a table ends just now.
type Edge struct {
	Max  int64 // highest id there is; 0 for an empty table
	Next int64 // AUTO_INCREMENT: the id that comes next; 0 when the server does not say
	// Created changes when the table is made anew, which ALTER TABLE does too,
	// and TRUNCATE not everywhere: not with InnoDB on MariaDB.
	Created string
}

// Rows of a table as the tail reads them. *Table is the one on MySQL; tests and
// the demo without a database have one in memory.
type Rows interface {
	// Read returns committed rows with an id after the given one and those of
	// ids that exist, ascending, at most limit.
	Read(ctx context.Context, after int64, ids []int64, limit int) ([]Row, error)
	// Find is Read for a replay: up to and with upTo, on the named channels (nil
	// for all), away from the tail's own connection. cut is the last id looked at
	// when the limit was reached, else 0.
	Find(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) (rows []Row, cut int64, err error)
	// Present returns which ids in (after, upTo] exist.
	Present(ctx context.Context, after, upTo int64) ([]int64, error)
	// Edge tells where the table ends.
	Edge(ctx context.Context) (Edge, error)
	// InFlight returns which of ids are inserted, committed or not. conclusive
	// is false where the table's engine or topology cannot tell, so that an id
	// left out may come all the same.
	InFlight(ctx context.Context, ids []int64) (found []int64, conclusive bool, err error)
}

// Table reads one Source's table. The tail's queries go over the connection set
// apart for it, replays over the shared ones. It is safe for concurrent use.
type Table struct {
	db         *DB
	src        Source
	unreadable atomic.Int64
	conclusive atomic.Int32 // 0 not asked yet, 1 yes, 2 no
}

// NewTable returns the table of a source. It does not query.
func NewTable(db *DB, src Source) *Table { return &Table{db: db, src: src} }

// Unreadable counts the rows that the source could not decode and that were
// read past.
func (t *Table) Unreadable() int64 { return t.unreadable.Load() }

// Read implements Rows with one query: two ranges of the primary key.
func (t *Table) Read(ctx context.Context, after int64, ids []int64, limit int) ([]Row, error) {
	query := fmt.Sprintf("SELECT %s FROM `%s` WHERE id > %d%s ORDER BY id LIMIT %d",
		t.src.Columns(), t.src.Table(), after, orIDs(ids), limit)
	return t.query(ctx, t.db, query)
}

// Find implements Rows.
func (t *Table) Find(ctx context.Context, names []string, after, upTo int64, ids []int64, limit int) ([]Row, int64, error) {
	where, args := "TRUE", []any(nil)
	if names != nil {
		where, args = t.src.Filter(names)
	}
	query := fmt.Sprintf("SELECT %s FROM `%s` WHERE (id > %d AND id <= %d%s) AND (%s) ORDER BY id LIMIT %d",
		t.src.Columns(), t.src.Table(), after, upTo, orIDs(ids), where, limit)
	rows, err := t.query(ctx, t.db.Shared(), query, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("look up old rows: %w", err)
	}
	if len(rows) == limit {
		return rows, rows[limit-1].ID, nil
	}
	return rows, 0, nil
}

func (t *Table) query(ctx context.Context, q Querier, query string, args ...any) ([]Row, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Row
	for rows.Next() {
		row, err := t.src.Decode(rows.Scan)
		if err != nil {
			// A row that nobody can read must not stop those behind it. Its id
			// is still known, or it would be taken for a gap.
			t.unreadable.Add(1)
			row = Row{Silent: true}
			if row.ID, err = firstColumn(rows); err != nil {
				return nil, fmt.Errorf("read a row's id: %w", err)
			}
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return out, nil
}

// firstColumn scans the id alone, whatever the other columns hold.
func firstColumn(rows *sql.Rows) (id int64, err error) {
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	dest := make([]any, len(columns))
	for i := range dest {
		dest[i] = new(sql.RawBytes)
	}
	dest[0] = &id
	return id, rows.Scan(dest...)
}

// Present implements Rows.
func (t *Table) Present(ctx context.Context, after, upTo int64) ([]int64, error) {
	return t.ids(ctx, t.db, fmt.Sprintf("SELECT id FROM `%s` WHERE id > %d AND id <= %d ORDER BY id", t.src.Table(), after, upTo))
}

func (t *Table) ids(ctx context.Context, q Querier, query string) ([]int64, error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return scanIDs(rows)
}

func scanIDs(rows *sql.Rows) ([]int64, error) {
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read an id: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Edge implements Rows. MAX of a primary key is read without touching rows;
// information_schema shows AUTO_INCREMENT and CREATE_TIME to whoever may SELECT.
func (t *Table) Edge(ctx context.Context) (Edge, error) {
	rows, err := t.db.QueryContext(ctx, fmt.Sprintf("SELECT (SELECT MAX(id) FROM `%[1]s`), AUTO_INCREMENT, CREATE_TIME"+
		" FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '%[1]s'", t.src.Table()))
	if err != nil {
		return Edge{}, fmt.Errorf("find the table's end: %w", err)
	}
	defer rows.Close()
	var e Edge
	if rows.Next() {
		var highest, next sql.NullInt64
		var created sql.NullString
		if err := rows.Scan(&highest, &next, &created); err != nil {
			return Edge{}, fmt.Errorf("find the table's end: %w", err)
		}
		e = Edge{Max: highest.Int64, Next: next.Int64, Created: created.String}
	}
	return e, rows.Err()
}

// InFlight implements Rows: a READ UNCOMMITTED look at the ids, never at what
// the rows hold. InnoDB shows a row from the moment of its INSERT, so an id that
// is not there was rolled back, unless ids are dealt out to several writers
// (auto_increment_increment, as Galera sets it) and the engine is another.
func (t *Table) InFlight(ctx context.Context, ids []int64) ([]int64, bool, error) {
	conn, err := t.db.sql.Conn(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("look for uncommitted rows: %w", err)
	}
	defer conn.Close()
	if t.conclusive.Load() == 0 {
		if err := t.askConclusive(ctx, conn); err != nil {
			return nil, false, fmt.Errorf("look for uncommitted rows: %w", err)
		}
	}
	if _, err := conn.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"); err != nil {
		return nil, false, fmt.Errorf("look for uncommitted rows: %w", err)
	}
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT id FROM `%s` WHERE %s", t.src.Table(), inIDs(ids)))
	if err != nil {
		return nil, false, fmt.Errorf("look for uncommitted rows: %w", err)
	}
	found, err := scanIDs(rows)
	return found, t.conclusive.Load() == 1, err
}

func (t *Table) askConclusive(ctx context.Context, conn *sql.Conn) error {
	var engine string
	var step int
	err := conn.QueryRowContext(ctx, "SELECT COALESCE(ENGINE, ''), @@auto_increment_increment FROM information_schema.TABLES"+
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", t.src.Table()).Scan(&engine, &step)
	if err != nil {
		return err
	}
	t.conclusive.Store(2)
	if strings.EqualFold(engine, "InnoDB") && step == 1 {
		t.conclusive.Store(1)
	}
	return nil
}

func orIDs(ids []int64) string {
	if len(ids) == 0 {
		return ""
	}
	return " OR " + inIDs(ids)
}

// inIDs is the condition that the id is one of ids, which are not none. MariaDB
// makes a join of a list of 1000 and more (in_predicate_conversion_threshold), but
// not inside an OR; alone, it is given no more than askAtOnce.
func inIDs(ids []int64) string {
	b := []byte("id IN (")
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, ')'))
}
