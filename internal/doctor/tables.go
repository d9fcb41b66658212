package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdline/wpdb"
	"holdline/wpdb/wplc"
)

// chatTables are the tables of the chat plugins, without the prefix. A plugin is
// one line here.
var chatTables = []string{"wplc_chat_msgs", "wplc_chat_sessions"}

// checkTables looks whether the tables are there, and if not, where they might be.
// A user without rights on a table is told the same as of a table that is not
// there, so what cannot be told apart is left to the check of rights.
func checkTables(ctx context.Context, e *exam) []Finding {
	q, prefix := e.db.Shared(), e.Config.Database.TablePrefix
	all, err := mayReadAll(ctx, q, prefix)
	if err != nil {
		return []Finding{lost(err)}
	}
	prefixes, err := prefixesOf(ctx, q)
	if err != nil {
		return []Finding{lost(err)}
	}
	e.prefixed = slices.Contains(prefixes, prefix)
	if !e.prefixed && len(prefixes) > 0 {
		return []Finding{fault(fmt.Sprintf("there is no WordPress with the table prefix %q in the database %s; there is one with %s",
			prefix, e.Config.Database.Name, quotedList(prefixes)),
			"Set database.table_prefix to that prefix, or wordpress.config to the wp-config.php of the right site.")}
	}
	if !e.prefixed && all {
		return []Finding{fault(fmt.Sprintf("the database %s has no tables of a WordPress: there is no %soptions", e.Config.Database.Name, prefix),
			"Correct database.name and database.table_prefix: DB_NAME and $table_prefix in the site's wp-config.php say them.")}
	}
	return e.eachTable(ctx, q, all)
}

// eachTable looks at the tables one by one, and notes what the user may not read.
func (e *exam) eachTable(ctx context.Context, q wpdb.Querier, all bool) []Finding {
	var found []Finding
	prefix := e.Config.Database.TablePrefix
	for _, t := range e.coreTables() {
		readable, err := readableColumns(ctx, q, prefix+t.Name)
		if err != nil {
			return []Finding{lost(err)}
		}
		if len(readable) == 0 && all {
			found = append(found, fault(fmt.Sprintf("the table %s%s is not there", prefix, t.Name),
				"Restore it from a backup, or correct database.name and database.table_prefix."))
			continue
		}
		e.note(prefix+t.Name, t.Columns, readable)
	}
	var told []string
	for _, name := range chatTables {
		facts, err := texts(ctx, q, "SELECT ENGINE, TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?", prefix+name)
		if err != nil {
			return []Finding{lost(err)}
		}
		switch {
		case len(facts) == 0 && all:
			found = append(found, fault(fmt.Sprintf("the chat plugin's table %s%s is not there", prefix, name),
				"Install and activate WP Live Chat Support; if it is active, deactivate and activate it again, which makes its tables."))
		case len(facts) == 0:
			e.missing = append(e.missing, prefix+name)
		default:
			found = append(found, aboutTable(prefix+name, facts[0])...)
			told = append(told, fmt.Sprintf("%s%s (%s, %s)", prefix, name, facts[0][0], facts[0][1]))
		}
	}
	return orOK(found, strings.Join(append([]string{fmt.Sprintf("WordPress with the prefix %q", prefix)}, told...), ", "))
}

// coreTables are the tables of WordPress that are read of this site. A network's
// also tell which blogs and users there are.
func (e *exam) coreTables() []wpdb.CoreTable {
	tables := wpdb.CoreTables()
	if !e.WordPress.Multisite() {
		return tables
	}
	return append(tables, wpdb.CoreTable{Name: "users", Columns: []string{"spam", "deleted"}},
		wpdb.CoreTable{Name: "blogs", Columns: []string{"blog_id", "site_id"}},
		wpdb.CoreTable{Name: "sitemeta", Columns: []string{"meta_id", "site_id", "meta_key", "meta_value"}})
}

// note keeps which of the columns are not readable.
func (e *exam) note(table string, columns, readable []string) {
	if len(readable) == 0 {
		e.missing = append(e.missing, table)
		return
	}
	for _, c := range columns {
		if !slices.Contains(readable, strings.ToLower(c)) {
			e.missing = append(e.missing, table+"."+c)
		}
	}
}

// aboutTable says what engine and charset mean for a chat.
func aboutTable(name string, facts []string) (found []Finding) {
	if engine := facts[0]; engine != "" && engine != "InnoDB" {
		found = append(found, warn(fmt.Sprintf("%s is a table of the engine %s, which cannot tell whether a skipped row is still to come, and locks the whole table for each write", name, engine),
			"Make it an InnoDB table, as the database's administrator, after a backup.", fmt.Sprintf("ALTER TABLE `%s` ENGINE=InnoDB;", name)))
	}
	if strings.HasPrefix(facts[1], "latin1") {
		found = append(found, warn(name+" is a latin1 table, in which many letters and all emoji are lost",
			"Convert it to utf8mb4, as the database's administrator, after a backup; leave it if DB_CHARSET in wp-config.php is latin1."))
	}
	return found
}

// noTable is a name that no plugin gives to a table.
const noTable = "holdline_doctor_looks_for_this"

// mayReadAll tells whether the user may read every table of the database: the
// server then says of a table that is not there that it is not there, and
// otherwise that it is forbidden. This also counts rights by way of roles.
func mayReadAll(ctx context.Context, q wpdb.Querier, prefix string) (bool, error) {
	_, err := texts(ctx, q, "SELECT 1 FROM `"+strings.ReplaceAll(prefix, "`", "")+noTable+"`")
	switch wpdb.Classify(err) {
	case wpdb.NoTable:
		return true, nil
	case wpdb.Denied:
		return false, nil
	}
	return false, err
}

// prefixesOf lists the prefixes of the WordPress sites in the database, as far as
// the user may see them: where there is both an options and a users table.
func prefixesOf(ctx context.Context, q wpdb.Querier) ([]string, error) {
	rows, err := texts(ctx, q, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"+
		" AND (TABLE_NAME LIKE '%options' OR TABLE_NAME LIKE '%usermeta') ORDER BY TABLE_NAME")
	if err != nil {
		return nil, err
	}
	var names, prefixes []string
	for _, row := range rows {
		names = append(names, row[0])
	}
	for _, name := range names {
		prefix, isOptions := strings.CutSuffix(name, "options")
		if isOptions && slices.Contains(names, prefix+"usermeta") {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, nil
}

// readableColumns lists the columns that the user may SELECT, in lower case.
// information_schema also shows those on which it has other rights.
func readableColumns(ctx context.Context, q wpdb.Querier, table string) ([]string, error) {
	rows, err := texts(ctx, q, "SELECT LOWER(COLUMN_NAME) FROM information_schema.COLUMNS"+
		" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND PRIVILEGES LIKE '%select%'", table)
	var columns []string
	for _, row := range rows {
		columns = append(columns, row[0])
	}
	return columns, err
}

func quotedList(names []string) string {
	var list []string
	for _, name := range names[:min(len(names), 10)] {
		list = append(list, fmt.Sprintf("%q", name))
	}
	return strings.Join(list, ", ")
}

// lost is a question that the database did not answer though it answered others.
func lost(err error) Finding {
	return fault(fmt.Sprintf("the database did not answer a question (%v)", rootCause(err)), capital(wpdb.Classify(err).Advice())+".")
}

// checkSite reads what the gateway reads at its start.
func checkSite(ctx context.Context, e *exam) []Finding {
	site, err := wpdb.OpenSite(ctx, e.db, wpdb.SiteOptions{
		Prefix: e.Config.Database.TablePrefix, Constants: e.WordPress.Texts(), URL: e.Config.WordPress.URL, Logger: quiet(),
	})
	if err != nil {
		return []Finding{lost(err)}
	}
	e.site = site
	if site.Home() == "" {
		return []Finding{warn("the site does not say its own address (option siteurl is empty)", "Set wordpress.url.")}
	}
	kind := "the site"
	if site.Multisite() {
		kind = "the network's site"
	}
	return ok(fmt.Sprintf("%s is %s, its time zone %s", kind, site.Home(), site.Location()))
}

// checkPlugin looks for the chat plugins as the gateway does.
func checkPlugin(ctx context.Context, e *exam) []Finding {
	src, err := wplc.Detect(ctx, e.site)
	if errors.Is(err, wplc.ErrNotInstalled) {
		return []Finding{fault("there are no tables of a chat plugin that Holdline knows (WP Live Chat Support)",
			"Install and activate the plugin, or correct database.table_prefix.")}
	}
	if err != nil {
		what, fix, _ := strings.Cut(strings.TrimPrefix(err.Error(), "wplc: "), ": ")
		return []Finding{fault(what, capital(fix)+".")}
	}
	var found []Finding
	facts := src.Facts()
	for _, note := range facts.Notes {
		what, fix, _ := strings.Cut(note, "; ")
		found = append(found, warn(what, capital(fix)))
	}
	version := facts.Plugin
	if version == "" {
		version = fmt.Sprintf("%d.x by its tables", facts.Version)
	}
	if facts.Pro {
		version += ", with Pro"
	}
	return orOK(found, "WP Live Chat Support "+version)
}
