package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"holdline/config"
)

// Problems are the findings about a configuration that cannot be used, beside
// which nothing else is examined.
func Problems(p *config.Problems) []Finding {
	var found []Finding
	for _, sentence := range p.List {
		what, fix := sentence, "Correct it; `holdline serve --help` lists all settings."
		if i := strings.LastIndex(sentence, "; "); i >= 0 {
			what, fix = sentence[:i]+".", capital(sentence[i+2:])
		}
		f := fault(what, fix)
		f.Check = "configuration"
		found = append(found, f)
	}
	return found
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// checkConfiguration has little to say of a configuration that was read: where it
// comes from, and what is dangerous though it is valid.
func checkConfiguration(_ context.Context, e *exam) []Finding {
	from := make(map[string]int)
	for _, origin := range e.Config.Origins() {
		kind, rest, _ := strings.Cut(origin, " ")
		switch kind {
		case "file":
			from[rest]++
		case "env":
			from["the environment"]++
		case "flag":
			from["the command line"]++
		}
	}
	var parts []string
	for _, place := range slices.Sorted(maps.Keys(from)) {
		parts = append(parts, fmt.Sprintf("%d from %s", from[place], place))
	}
	if parts == nil {
		parts = []string{"all defaults"}
	}
	if e.Config.Auth.Secret.Empty() {
		return []Finding{warn("there is no secret, so tokens, visitor cookies and the companion plugin are refused",
			"Set auth.secret_file to a file with what `openssl rand -hex 32` prints, and HOLDLINE_SECRET in wp-config.php to the same.")}
	}
	return ok("settings: " + strings.Join(parts, ", "))
}

// checkWordPress tells what wp-config.php gives.
func checkWordPress(_ context.Context, e *exam) []Finding {
	path := e.Config.WordPress.Config
	if e.WordPressErr != nil {
		var found []Finding
		for line := range strings.SplitSeq(e.WordPressErr.Error(), "\n") {
			what, fix, _ := strings.Cut(line, ": ")
			if what == "wordpress.config" {
				what, fix = "wp-config.php cannot be read: "+fix,
					"Set wordpress.config to the path of the site's wp-config.php, and let the user that Holdline runs as read it."
			}
			found = append(found, fault(what, capital(fix)))
		}
		return found
	}
	if path == "" {
		return skipped("wordpress.config is not set: all that is needed comes from Holdline's own settings")
	}
	prefix := e.Config.Database.TablePrefix
	text := fmt.Sprintf("%s, tables %s*", path, prefix)
	var found []Finding
	if missing := e.WordPress.EnvMissing; len(missing) > 0 {
		found = append(found, warn("wp-config.php asks for environment variables that are not set here: "+strings.Join(missing, ", "),
			"Give them to Holdline as PHP has them, if the site depends on them."))
	}
	if said := e.WordPress.TablePrefix; e.WordPress.TablePrefixSet && said != prefix {
		found = append(found, warn(fmt.Sprintf("wp-config.php says that tables begin with %q, but database.table_prefix is %q", said, prefix),
			"Remove database.table_prefix, unless Holdline is to serve another site than this wp-config.php."))
	}
	return orOK(found, text)
}
