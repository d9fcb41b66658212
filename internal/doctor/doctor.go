// Package doctor examines a Holdline's surroundings, from wp-config.php to what
// browsers get, and tells for everything that is wrong what to do about it.
//
// It only reads: no check changes a row, a file that stays, or what the companion
// plugin remembers. It works whether Holdline runs or not, and it never tells a
// password, salt, secret or cookie.
package doctor

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"holdline/config"
	"holdline/internal/wpconfig"
	"holdline/wpdb"
)

// Options are what is examined.
type Options struct {
	// Config is the configuration, completed by wp-config.php.
	Config config.Config
	// WordPress is what wp-config.php says, nil where it cannot be read, and
	// WordPressErr what is wrong with it.
	WordPress    *wpconfig.Config
	WordPressErr error
	// Cookie is a browser's WordPress login cookie as name=value, to be verified as
	// the gateway does; empty for none.
	Cookie string
	// URL is where browsers reach Holdline, with the base path; empty: the site's
	// own address.
	URL string
	// Quick leaves out what takes longer than a few seconds: whether connections
	// on which nobody speaks are held.
	Quick bool

	// Now is the clock that calls to the site are signed by; nil is the system's.
	Now func() time.Time
	// Env looks up an environment variable; nil is the process's.
	Env func(name string) (string, bool)
	// Root is the machine's root folder, where its limits are read; nil is the
	// system's.
	Root fs.FS
}

// Status is how grave a finding is.
type Status uint8

// Statuses. Skipped means that nothing is known, and the text says why.
const (
	OK Status = iota
	Skipped
	Warning
	Fault
)

var statusNames = [...]string{OK: "ok", Skipped: "skipped", Warning: "warning", Fault: "fault"}

// String is the status in a word, which is also what JSON has.
func (s Status) String() string { return statusNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a check found out.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Text is one sentence: what is there, or what is wrong.
	Text string `json:"text"`
	// Fix is one sentence that says what to do; empty where nothing is wrong.
	Fix string `json:"fix,omitempty"`
	// Commands are what to type, such as SQL statements, a line each.
	Commands []string `json:"commands,omitempty"`
}

func ok(text string) []Finding     { return []Finding{{Status: OK, Text: text}} }
func skipped(why string) []Finding { return []Finding{{Status: Skipped, Text: why}} }
func warn(text, fix string, commands ...string) Finding {
	return Finding{Status: Warning, Text: text, Fix: fix, Commands: commands}
}

func fault(text, fix string, commands ...string) Finding {
	return Finding{Status: Fault, Text: text, Fix: fix, Commands: commands}
}

// orOK is for a check whose findings are only the troubles.
func orOK(troubles []Finding, text string) []Finding {
	if len(troubles) > 0 {
		return troubles
	}
	return ok(text)
}

// Check is one examination. What it learns for others it leaves in the exam;
// those others name it in after or needs, and so begin when it has ended.
type Check struct {
	Name  string
	after []string      // these come first, whatever they find
	needs []string      // these come first, and a fault or skip of theirs is a skip here
	limit time.Duration // for run, whose context ends then
	run   func(ctx context.Context, e *exam) []Finding
}

// exam is one run of all checks. A field is written by the one check it is named
// for and read by the checks that come after that.
type exam struct {
	Options
	db       *wpdb.DB      // by database
	server   server        // by database
	missing  []string      // by tables: names of what the user may not read
	prefixed bool          // by tables: the tables' prefix is right
	site     *wpdb.Site    // by site
	upstream bool          // by upstream: PHP answers, or was not asked
	running  bool          // by holdline
	maxFiles int           // by holdline: what the running process may open; 0: unknown
	front    front         // by front
	beat     time.Duration // by front: the heartbeat of the Holdline there
}

func checks() []Check {
	return []Check{
		{Name: "configuration", run: checkConfiguration},
		{Name: "wp-config", run: checkWordPress},
		{Name: "database", limit: 4 * time.Second, run: checkDatabase},
		{Name: "clocks", needs: []string{"database"}, run: checkClocks},
		{Name: "tables", needs: []string{"database"}, run: checkTables},
		{Name: "rights", needs: []string{"database"}, after: []string{"tables"}, run: checkRights},
		{Name: "site", needs: []string{"tables", "rights"}, run: checkSite},
		{Name: "chat plugin", needs: []string{"site"}, run: checkPlugin},
		{Name: "salts", after: []string{"site"}, run: checkSalts},
		{Name: "login cookie", needs: []string{"site", "salts"}, run: checkCookie},
		{Name: "upstream", after: []string{"site"}, limit: 4 * time.Second, run: checkUpstream},
		{Name: "companion", after: []string{"upstream"}, limit: 4 * time.Second, run: checkCompanion},
		{Name: "holdline", run: checkRunning},
		{Name: "certificate", run: checkCertificate},
		{Name: "public address", after: []string{"site", "holdline"}, limit: 4 * time.Second, run: checkFront},
		{Name: "long poll", needs: []string{"public address"}, limit: 35 * time.Second, run: checkPoll},
		{Name: "event stream", needs: []string{"public address"}, limit: 35 * time.Second, run: checkStream},
		{Name: "WebSocket", needs: []string{"public address"}, limit: 35 * time.Second, run: checkSocket},
		{Name: "descriptors", after: []string{"holdline"}, run: checkDescriptors},
		{Name: "memory", after: []string{"holdline"}, run: checkMemory},
		{Name: "folders", run: checkFolders},
	}
}

// Time limits: of a check that names none, and of everything.
const (
	usualLimit = 3 * time.Second
	quickTotal = 9 * time.Second
	wholeTotal = 60 * time.Second
)

// Run makes all checks, those that do not need each other at the same time, and
// returns what they found in the order of the checks.
func Run(ctx context.Context, opt Options) []Finding {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Env == nil {
		opt.Env = os.LookupEnv
	}
	if opt.Root == nil {
		opt.Root = os.DirFS("/")
	}
	if opt.WordPress == nil {
		opt.WordPress = &wpconfig.Config{}
	}
	total := wholeTotal
	if opt.Quick {
		total = quickTotal
	}
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	e := &exam{Options: opt}
	defer e.close()
	return e.all(ctx, checks())
}

// all runs each check in a goroutine of its own that waits for those before it.
func (e *exam) all(ctx context.Context, list []Check) []Finding {
	type outcome struct {
		done  chan struct{}
		found []Finding
	}
	outcomes := make(map[string]*outcome)
	for _, c := range list {
		outcomes[c.Name] = &outcome{done: make(chan struct{})}
	}
	for _, c := range list {
		go func() {
			o := outcomes[c.Name]
			defer close(o.done)
			for _, name := range append(c.after, c.needs...) {
				<-outcomes[name].done
			}
			for _, name := range c.needs {
				if failed(outcomes[name].found) {
					o.found = skipped("this needs “" + name + "”, see there")
					return
				}
			}
			limit := c.limit
			if limit == 0 {
				limit = usualLimit
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			o.found = c.run(ctx, e)
		}()
	}
	var found []Finding
	for _, c := range list {
		<-outcomes[c.Name].done
		for _, f := range outcomes[c.Name].found {
			f.Check = c.Name
			found = append(found, f)
		}
	}
	return found
}

// failed tells that others cannot build on a check.
func failed(found []Finding) bool {
	for _, f := range found {
		if f.Status == Fault || f.Status == Skipped {
			return true
		}
	}
	return false
}

func (e *exam) close() {
	if e.site != nil {
		e.site.Close()
	}
	if e.db != nil {
		_ = e.db.Close() // it only read
	}
}

// quiet takes the log of what is examined: the findings say it all.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
