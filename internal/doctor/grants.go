package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"holdline/wpdb"
)

// checkRights tells what the database user may not do and should, and what it may
// do and should not.
func checkRights(ctx context.Context, e *exam) []Finding {
	var found []Finding
	if len(e.missing) > 0 {
		found = append(found, fault(fmt.Sprintf("the database user %s may not read %s (or it is not there)", e.server.account, strings.Join(e.missing, ", ")),
			"Give it what Holdline reads and no more, as the database's administrator.", e.grants(e.server.account)...))
	}
	more, err := excess(ctx, e.db.Shared())
	if err != nil {
		return append(found, lost(err))
	}
	if len(more) > 0 {
		found = append(found, e.tooMuch(more))
	}
	return orOK(found, e.server.account+" may read what Holdline reads, and write nothing")
}

// tooMuch is a user that may do more than read the site's database.
func (e *exam) tooMuch(more []string) Finding {
	text := fmt.Sprintf("the database user %s may do more than Holdline needs: %s", e.server.account, strings.Join(more, "; "))
	wordPress, _ := e.WordPress.String("DB_USER")
	if e.Config.Origins()["database.user"] == "wp-config" || wordPress == e.Config.Database.User {
		return warn("Holdline uses WordPress's own database user: "+text,
			"Make a user of Holdline's own, as the database's administrator, and name it in database.user and database.password_file.", e.newUser()...)
	}
	revoke := "REVOKE ALL PRIVILEGES, GRANT OPTION FROM " + quoteAccount(e.server.account) + ";"
	return warn(text, "Take it away, as the database's administrator; Holdline itself never writes, but whoever gets at its password could.",
		append([]string{revoke}, e.grants(e.server.account)...)...)
}

// grants are the statements that give an account what Holdline needs.
func (e *exam) grants(account string) []string {
	prefix := e.Config.Database.TablePrefix
	var tables []string
	for _, name := range chatTables {
		tables = append(tables, prefix+name)
	}
	if e.WordPress.Multisite() {
		tables = append(tables, prefix+"blogs", prefix+"sitemeta")
	}
	list := wpdb.MinimalGrants(prefix, e.Config.Database.Name, account, tables)
	if e.WordPress.Multisite() { // wpdb asks there who is marked as spam or deleted
		for i, grant := range list {
			list[i] = strings.Replace(grant, "SELECT (ID, user_login", "SELECT (spam, deleted, ID, user_login", 1)
		}
	}
	for i := range list {
		list[i] += ";"
	}
	return list
}

// newUser are the statements that make a user of Holdline's own, whom the server
// knows by the same host as the one in use.
func (e *exam) newUser() []string {
	_, host, _ := strings.Cut(e.server.account, "@")
	if host == "" {
		host = "%"
	}
	account := "holdline@" + host
	return append([]string{"CREATE USER " + quoteAccount(account) + " IDENTIFIED BY '…';"}, e.grants(account)...)
}

// grantee is the current account as information_schema writes it.
const grantee = `CONCAT('''', LEFT(CURRENT_USER(), LENGTH(CURRENT_USER()) - LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1),
	'''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')`

// excess lists the account's rights beyond SELECT on the site's database. What it
// has by way of a role is not among them.
func excess(ctx context.Context, q wpdb.Querier) ([]string, error) {
	var more []string
	for _, level := range []struct{ on, query string }{
		{"everything", "SELECT PRIVILEGE_TYPE, '*.*', 1 FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = " + grantee},
		{"", "SELECT PRIVILEGE_TYPE, CONCAT(TABLE_SCHEMA, '.*'), DATABASE() NOT LIKE TABLE_SCHEMA FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = " + grantee},
		{"", "SELECT PRIVILEGE_TYPE, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), TABLE_SCHEMA <> DATABASE() FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = " + grantee},
		{"", "SELECT PRIVILEGE_TYPE, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), TABLE_SCHEMA <> DATABASE() FROM information_schema.COLUMN_PRIVILEGES WHERE GRANTEE = " + grantee},
	} {
		rows, err := texts(ctx, q, level.query)
		if err != nil {
			return nil, err
		}
		more = append(more, summary(rows)...)
	}
	return more, nil
}

// dangerous rights are told first, because few are shown.
var dangerous = []string{"FILE", "SUPER", "ALL PRIVILEGES", "PROCESS", "CREATE USER", "GRANT OPTION", "DROP", "DELETE", "INSERT", "UPDATE"}

const mostShown = 8

// summary makes a phrase of each place: "INSERT, UPDATE on wordpress.*". A row is
// a right, its place, and whether the place is outside the site's database.
func summary(rows [][]string) []string {
	byPlace := make(map[string][]string)
	var places []string
	for _, row := range rows {
		right, place, outside := row[0], row[1], row[2] == "1"
		if right == "USAGE" || right == "SELECT" && !outside {
			continue
		}
		if byPlace[place] == nil {
			places = append(places, place)
		}
		if !slices.Contains(byPlace[place], right) {
			byPlace[place] = append(byPlace[place], right)
		}
	}
	var list []string
	for _, place := range places {
		rights := byPlace[place]
		slices.SortStableFunc(rights, func(a, b string) int { return rank(a) - rank(b) })
		more := ""
		if n := len(rights) - mostShown; n > 0 {
			rights, more = rights[:mostShown], fmt.Sprintf(" and %d more", n)
		}
		list = append(list, strings.Join(rights, ", ")+more+" on "+place)
	}
	return list
}

func rank(right string) int {
	if i := slices.Index(dangerous, right); i >= 0 {
		return i
	}
	return len(dangerous)
}
