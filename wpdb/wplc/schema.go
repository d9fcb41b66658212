package wplc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdline/wpdb"
)

// Longest stored text and blob that is asked for, in characters. An encrypted
// text takes two hex digits for a byte, so even that of a body of maxBody fits.
const (
	maxStored = 131072
	maxOther  = 65536
)

// detectTables finds the version by the columns and fixes the SELECT lists.
func (s *Source) detectTables(ctx context.Context) error {
	msgs, err := s.tableColumns(ctx, s.Table())
	if err != nil {
		return err
	}
	sessions, err := s.tableColumns(ctx, s.sessionTable())
	if err != nil {
		return err
	}
	need := []string{"id", "chat_sess_id", "msg", "timestamp", "status", "originates"}
	needSession := []string{"id", "timestamp", "name", "status"}
	// The upgrade from 5.x renames `from` (wp-live-chat-support.php:3528).
	if slices.Contains(msgs, "from") && !slices.Contains(msgs, "msgfrom") {
		s.facts.Version = 5
		need = append(need, "from")
	} else {
		// Without afrom and ato a private talk between agents could not be told
		// from a chat, so they are not optional.
		s.facts.Version = 8
		need = append(need, "msgfrom", "other", "rel", "afrom", "ato")
		needSession = append(needSession, "agent_id")
	}
	if err := s.require(s.Table(), msgs, need); err != nil {
		return err
	}
	if err := s.require(s.sessionTable(), sessions, needSession); err != nil {
		return err
	}
	s.facts.Pro = slices.Contains(sessions, "department_id")
	s.text.strips = stripsOf(s.facts.Version)
	s.columns = messageColumns(s.facts.Version)
	s.sessionColumns, s.stateColumns = sessionColumns(sessions)
	s.missing = s.require(s.sessionTable(), sessions, []string{"id", "timestamp", "name", "email", "ip", "status", "session", "url", "other"})
	for _, optional := range []string{"email", "url"} {
		if !slices.Contains(sessions, optional) {
			s.note(fmt.Sprintf("the database user may not read %s.%s: the agents' list goes without it",
				s.sessionTable(), optional))
		}
	}
	return nil
}

// tableColumns lists the columns that the database user may read. It works with
// grants on single columns; both conditions are equalities because only then
// MySQL opens one table instead of all of the server.
func (s *Source) tableColumns(ctx context.Context, table string) ([]string, error) {
	query := "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?"
	var columns []string
	err := eachRow(ctx, s.site, query, []any{table}, func(scan func(...any) error) error {
		columns = append(columns, "")
		return scan(&columns[len(columns)-1])
	})
	if err != nil {
		return nil, fmt.Errorf("list the columns of %s: %w", table, err)
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("%w: there is no table %s that the database user may read", ErrNotInstalled, table)
	}
	return columns, nil
}

// require says which columns are missing and how to let the user read them.
func (s *Source) require(table string, have, need []string) error {
	var missing []string
	for _, name := range need {
		if !slices.Contains(have, name) {
			missing = append(missing, quote(name))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("table %[1]s has no columns %[2]s that the database user may read: "+
		"GRANT SELECT (%[2]s) ON %[3]s to it, or update the plugin if it is older than 8.0",
		table, strings.Join(missing, ", "), quote(table))
}

// messageColumns is the list that record.fields takes; what 5.x does not have is
// filled with constants.
func messageColumns(version int) string {
	if version == 5 {
		return "`id`, `chat_sess_id`, `from`, `msg`, `timestamp`, `status`, `originates`, '', '', 0, 0"
	}
	return fmt.Sprintf("`id`, `chat_sess_id`, `msgfrom`, LEFT(`msg`, %d), `timestamp`, `status`, `originates`,"+
		" LEFT(`other`, %d), `rel`, `afrom`, `ato`", maxStored, maxOther)
}

// sessionColumns is the list that session.fields takes. Only what the list of
// open chats shows is read, and texts only of sessions that it shows: on a busy
// site most sessions are visitors who just browse. state are the first three.
func sessionColumns(have []string) (all, state string) {
	number := func(name string) string {
		if slices.Contains(have, name) {
			return quote(name)
		}
		return "0"
	}
	shown := func(name string) string {
		if slices.Contains(have, name) {
			return fmt.Sprintf("IF(`status` IN (%s), LEFT(%s, %d), '')", listedStatuses, quote(name), maxListText)
		}
		return "''"
	}
	state = "`id`, `status`, " + number("agent_id")
	return strings.Join([]string{
		state, number("department_id"), "`timestamp`", shown("name"), shown("email"), shown("url"),
	}, ", "), state
}

// quote makes an identifier of a name; names with a backtick do not occur.
func quote(name string) string { return "`" + name + "`" }

// eachRow hands every row of a query to row, which scans it. Errors are as they
// came: the caller knows what was being read.
func eachRow(ctx context.Context, q wpdb.Querier, query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
