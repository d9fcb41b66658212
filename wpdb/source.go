package wpdb

import (
	"context"
	"database/sql"

	"holdline/internal/chat"
)

// Querier is the read-only database as plugin folders see it: *DB of this
// package, which bounds connections and time.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Row is one decoded row of a source's table.
type Row struct {
	ID int64
	// Event is what the row tells; its Mark and Cursor are filled in later.
	Event chat.Event
	// Silent rows are read past: they say nothing to anybody.
	Silent bool
}

// Source is one chat plugin's message table as the tail reads it. A plugin
// folder implements it; all methods but Decode are pure. Decode is called from
// the tail and from replays at the same time.
type Source interface {
	// Name is the first part of the source's channels: "wplc".
	Name() string
	// Table is the full name of the tailed table. Its primary key is the
	// AUTO_INCREMENT column `id`.
	Table() string
	// Columns is the SELECT list, `id` first.
	Columns() string
	// Decode reads one row in the order of Columns. An error means that the row
	// cannot be understood at all: it is counted and read past, never retried.
	Decode(scan func(dest ...any) error) (Row, error)
	// Filter restricts a read to channels (their names without the source):
	// a condition on the table's columns and its arguments. The condition "FALSE"
	// is for channels that no row of the table can belong to.
	Filter(names []string) (where string, args []any)
}

// Statuser is a Source that also has state to tell: the status of a chat, a
// list of open chats. It is asked once per tick, from one goroutine.
type Statuser interface {
	// Status makes at most one query and returns the events of those watched
	// channels (names without the source) whose state is new or has changed
	// since it was last returned. What is not watched any more is forgotten.
	Status(ctx context.Context, q Querier, watched []string) ([]chat.Event, error)
}
