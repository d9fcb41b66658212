package wpdb

import (
	"fmt"
	"strings"
)

// coreGrants are the columns of WordPress's own tables that this package reads.
var coreGrants = []struct{ table, columns string }{
	{"options", "option_name, option_value"},
	{"users", "ID, user_login, user_pass, user_nicename, display_name"},
	{"usermeta", "umeta_id, user_id, meta_key, meta_value"},
}

// CoreTable is a table of WordPress and what this package reads of it.
type CoreTable struct {
	Name    string // without the prefix
	Columns []string
}

// CoreTables are the tables that this package reads on a single site.
func CoreTables() []CoreTable {
	var tables []CoreTable
	for _, g := range coreGrants {
		tables = append(tables, CoreTable{g.table, strings.Split(g.columns, ", ")})
	}
	return tables
}

// MinimalGrants returns the statements, without semicolons, that give a user
// the rights Holdline needs on a single site and no others: some columns of
// WordPress's tables and the whole of tables, the full names of the chat
// plugins' own. user is user@host, or a name alone for one on this machine.
func MinimalGrants(prefix, database, user string, tables []string) []string {
	name, host, remote := strings.Cut(user, "@")
	if !remote {
		host = "localhost"
	}
	account := quoteText(name) + "@" + quoteText(host)
	var grants []string
	for _, g := range coreGrants {
		grants = append(grants, fmt.Sprintf("GRANT SELECT (%s) ON %s.%s TO %s", g.columns, quoteAny(database), quoteAny(prefix+g.table), account))
	}
	for _, table := range tables {
		grants = append(grants, fmt.Sprintf("GRANT SELECT ON %s.%s TO %s", quoteAny(database), quoteAny(table), account))
	}
	return grants
}

// quoteAny quotes a name that may hold anything. In a grant on one table,
// unlike one on a whole database, _ and % are no wildcards.
func quoteAny(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteText(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}
