package doctor_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/doctor"
	"holdline/wpdb"
)

var update = flag.Bool("update", false, "write the golden transcript")

// ailment is one thing that is wrong with a set-up, and what must be said of it.
type ailment struct {
	name    string
	examine func(s *stage) []doctor.Finding
	check   string // that tells
	status  doctor.Status
	text    string // parts of what it says
	fix     string
	command string
}

func examine(s *stage, change func(o *doctor.Options), args ...string) []doctor.Finding {
	s.t.Helper()
	o := s.options(args...)
	if change != nil {
		change(&o)
	}
	return doctor.Run(s.t.Context(), o)
}

// as examines with a database user of the given rights.
func as(user string, grants ...string) func(s *stage) []doctor.Finding {
	return func(s *stage) []doctor.Finding {
		for i := range grants {
			grants[i] = strings.ReplaceAll(grants[i], "DB", s.database) + " TO '" + user + "'@'localhost'"
		}
		s.grant(user, grants...)
		return examine(s, nil, "--database-user="+user)
	}
}

func with(args ...string) func(s *stage) []doctor.Finding {
	return func(s *stage) []doctor.Finding { return examine(s, nil, args...) }
}

func through(door string) func(s *stage) []doctor.Finding {
	return func(s *stage) []doctor.Finding {
		return examine(s, func(o *doctor.Options) { o.URL = "http://" + s.doors[door] + "/holdline/v1" })
	}
}

func ailments() []ailment {
	return []ailment{
		{
			"wrong password", with("--database-password=guess"),
			"database", doctor.Fault, "refuses holdline@localhost: the password is wrong", "Correct database.password", "ALTER USER 'holdline'@'localhost'",
		},
		{
			"missing grant", as("few", "GRANT SELECT ON DB.wp_options", "GRANT SELECT (ID, user_login) ON DB.wp_users", "GRANT SELECT ON DB.wp_wplc_chat_msgs"),
			"rights", doctor.Fault, "few@localhost may not read wp_users.user_pass, wp_users.user_nicename, wp_users.display_name, wp_usermeta, wp_wplc_chat_sessions",
			"Give it what Holdline reads", "GRANT SELECT (umeta_id, user_id, meta_key, meta_value) ON",
		},
		{
			"too many grants", as("many", "GRANT SELECT, INSERT, UPDATE, DELETE ON DB.*", "GRANT FILE, PROCESS ON *.*"),
			"rights", doctor.Warning, "FILE, PROCESS on *.*; DELETE, INSERT, UPDATE on", "Take it away", "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'many'@'localhost';",
		},
		{
			"missing table", func(s *stage) []doctor.Finding {
				s.exec("RENAME TABLE wp_wplc_chat_msgs TO hidden")
				defer s.exec("RENAME TABLE hidden TO wp_wplc_chat_msgs")
				return as("reader", "GRANT SELECT ON DB.*")(s)
			},
			"tables", doctor.Fault, "the chat plugin's table wp_wplc_chat_msgs is not there", "Install and activate WP Live Chat Support", "",
		},
		{
			"wrong prefix", with("--database-table-prefix=blog_"),
			"tables", doctor.Fault, `no WordPress with the table prefix "blog_"`, "Set database.table_prefix", "",
		},
		{
			"wrong salts", func(s *stage) []doctor.Finding {
				cookie := s.login("another phrase")
				return examine(s, func(o *doctor.Options) { o.Cookie = cookie })
			},
			"login cookie", doctor.Fault, "not signed with the keys and salts", "Set wordpress.config to the wp-config.php that PHP itself reads", "",
		},
		{
			"buffering nginx", through("buffering"),
			"event stream", doctor.Fault, "a proxy gathers the stream", "`proxy_buffering off;`", "",
		},
		{
			"missing upgrade", through("no upgrade"),
			"WebSocket", doctor.Fault, "does not pass the upgrade on; Holdline was asked", "proxy_set_header Upgrade $http_upgrade", "",
		},
		{
			"wrong secret", with("--auth-secret=" + strings.Repeat("another ", 5)),
			"companion", doctor.Fault, "another secret than auth.secret (flag --auth-secret)", "Set HOLDLINE_SECRET", "",
		},
		{
			"upstream down", with("--wordpress-upstream=http://127.0.0.1:1"),
			"upstream", doctor.Fault, "wordpress.upstream (http://127.0.0.1:1) cannot be reached", "Start PHP's web server", "",
		},
		{
			"low ulimit", func(s *stage) []doctor.Finding {
				var before unix.Rlimit
				if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
					s.t.Fatal(err)
				}
				if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 300, Max: before.Max}); err != nil {
					s.t.Fatal(err)
				}
				defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
				return examine(s, nil)
			},
			"descriptors", doctor.Fault, "may open 300 files, which is room for 44 connections", "LimitNOFILE=65536", "",
		},
		{
			"clock skew", func(s *stage) []doctor.Finding {
				return examine(s, func(o *doctor.Options) {
					o.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
				})
			},
			"companion", doctor.Fault, "the site's clock is 10m0s behind this machine's", "NTP", "",
		},
	}
}

// TestTwelveBrokenSetUps: each names the fault and the fix, and nothing else is
// called faulty that is not.
func TestTwelveBrokenSetUps(t *testing.T) {
	s := newStage(t)
	if found := examine(s, nil); doctor.Count(found, doctor.Fault)+doctor.Count(found, doctor.Warning) > 0 {
		t.Fatal(transcript(t, found))
	}
	var golden strings.Builder
	for _, a := range ailments() {
		t.Run(a.name, func(t *testing.T) {
			began := time.Now()
			found := a.examine(s)
			took := time.Since(began)
			t.Log(took)
			text := transcript(t, found)
			if strings.Contains(text, password) || strings.Contains(text, "secret phrase") || strings.Contains(text, "token-of-a-browser") {
				t.Errorf("a secret is shown:\n%s", text)
			}
			matched := false
			for _, f := range found {
				if f.Check == a.check && f.Status == a.status && strings.Contains(f.Text, a.text) {
					matched = strings.Contains(f.Fix, a.fix) && strings.Contains(strings.Join(f.Commands, "\n"), a.command)
				} else if f.Status == doctor.Fault {
					t.Errorf("%s is blamed too: %s", f.Check, f.Text)
				}
			}
			if !matched {
				t.Errorf("want %s: %q, %q, %q; got\n%s", a.check, a.text, a.fix, a.command, text)
			}
			fmt.Fprintf(&golden, "=== %s ===\n\n%s\n", a.name, s.stable(text))
		})
	}
	path := filepath.Join("testdata", "twelve.txt")
	if *update {
		if err := os.WriteFile(path, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), golden.String()); diff != "" {
		t.Errorf("the transcript has changed (go test -update writes it):\n%s", diff)
	}
}

func transcript(t *testing.T, found []doctor.Finding) string {
	t.Helper()
	var b bytes.Buffer
	if err := doctor.WriteText(&b, found, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOtherWaysToBeWrong(t *testing.T) {
	s := newStage(t)
	cookie := s.login("secret phrase")
	for _, a := range []ailment{
		{
			"genuine cookie", func(s *stage) []doctor.Finding {
				return examine(s, func(o *doctor.Options) { o.Cookie = cookie })
			},
			"login cookie", doctor.OK, "it is the login of anna (user 7)", "", "",
		},
		{
			"cookie of another site", func(s *stage) []doctor.Finding {
				return examine(s, func(o *doctor.Options) { o.Cookie = "wordpress_logged_in_0123=" + cookie[53:] })
			},
			"login cookie", doctor.Fault, "none of that name was given (but wordpress_logged_in_0123)", "Copy the cookie of that name", "",
		},
		{
			"proxy that does not say who asks", through("silent"),
			"public address", doctor.Fault, "no X-Forwarded-For", "$proxy_add_x_forwarded_for", "",
		},
		{
			"web server without a rule", through("lost"),
			"public address", doctor.Fault, "something else than Holdline answers", "holdline snippet nginx", "",
		},
		{
			"no database server", with("--database-address=/nowhere.sock"),
			"database", doctor.Fault, "no database server answers at /nowhere.sock", "Start the server", "",
		},
		{
			"no database of that name", with("--database-name=elsewhere", "--database-user=root", "--database-password="),
			"database", doctor.Fault, "no database elsewhere", "Correct database.name", "",
		},
		{
			"user without any right", as("nothing"),
			"database", doctor.Fault, "nothing@localhost has no right on the database", "Give it what Holdline reads", "GRANT SELECT (option_name, option_value)",
		},
		{
			"WordPress's own user", as("wordpress", "GRANT ALL PRIVILEGES ON DB.*"),
			"rights", doctor.Warning, "WordPress's own database user", "Make a user of Holdline's own", "CREATE USER 'holdline'@'localhost'",
		},
		{
			"network without its tables' rights", func(s *stage) []doctor.Finding {
				text, err := os.ReadFile(s.conf)
				if err != nil {
					s.t.Fatal(err)
				}
				path := filepath.Join(s.dir, "network.php")
				if err := os.WriteFile(path, append(text, "define('MULTISITE', true);\n"...), 0o600); err != nil {
					s.t.Fatal(err)
				}
				return examine(s, nil, "--wordpress-config="+path)
			},
			"rights", doctor.Fault, "wp_users.spam, wp_users.deleted, wp_blogs, wp_sitemeta", "Give it", "GRANT SELECT (spam, deleted, ID, user_login",
		},
		{
			"wrong password in wp-config.php", func(s *stage) []doctor.Finding {
				cfg, err := config.Load([]string{"--wordpress-config=" + s.conf, "--admin-listen=127.0.0.1:1"}, nil)
				if err != nil {
					s.t.Fatal(err)
				}
				wp, err := gateway.ReadWordPress(&cfg)
				return doctor.Run(s.t.Context(), doctor.Options{Config: cfg, WordPress: wp, WordPressErr: err, Quick: true})
			},
			"database", doctor.Fault, "refuses wordpress@localhost", "Set wordpress.config to the wp-config.php that PHP itself reads", "",
		},
		{
			"Holdline does not run", func(s *stage) []doctor.Finding {
				return examine(s, func(o *doctor.Options) { o.URL = "http://127.0.0.1:1/holdline/v1" }, "--admin-listen=127.0.0.1:1")
			},
			"public address", doctor.Skipped, "Holdline does not run here", "", "",
		},
		{
			"folder that cannot be made", with("--state-dir=/proc/nowhere"),
			"folders", doctor.Fault, "no folder for state", "install -d -m 700", "",
		},
		{
			"wp-config.php that is not there", with("--wordpress-config=/nowhere/wp-config.php"),
			"wp-config", doctor.Fault, "wp-config.php cannot be read", "Set wordpress.config", "",
		},
	} {
		t.Run(a.name, func(t *testing.T) {
			found := a.examine(s)
			for _, f := range found {
				if f.Check == a.check && f.Status == a.status && strings.Contains(f.Text, a.text) &&
					strings.Contains(f.Fix, a.fix) && strings.Contains(strings.Join(f.Commands, "\n"), a.command) {
					return
				}
			}
			t.Error(transcript(t, found))
		})
	}
}

// TestShortReadTimeouts: nginx cuts what says nothing for two seconds, and the
// heartbeat comes after four.
func TestShortReadTimeouts(t *testing.T) {
	s := newStage(t)
	found := examine(s, func(o *doctor.Options) { o.Quick, o.URL = false, "http://"+s.doors["impatient"]+"/holdline/v1" })
	for check, status := range map[string]doctor.Status{"long poll": doctor.Warning, "event stream": doctor.Fault, "WebSocket": doctor.Fault} {
		matched := false
		for _, f := range found {
			matched = matched || f.Check == check && f.Status == status && strings.Contains(f.Text, "cut after") && strings.Contains(f.Fix, "proxy_read_timeout 75s")
		}
		if !matched {
			t.Errorf("%s is not said to be cut:\n%s", check, transcript(t, found))
		}
	}
}

// TestPrintedGrantsAreEnough: who does what the doctor says has no fault any more.
func TestPrintedGrantsAreEnough(t *testing.T) {
	s := newStage(t)
	s.grant("nobody", "GRANT INSERT ON `"+s.database+"`.wp_options TO 'nobody'@'localhost'")
	commands := []string{}
	for round := range 2 {
		found := examine(s, nil, "--database-user=nobody")
		if round == 1 {
			if n := doctor.Count(found, doctor.Fault) + doctor.Count(found, doctor.Warning); n > 0 {
				t.Error(transcript(t, found))
			}
			return
		}
		for _, f := range found {
			if f.Check == "rights" && f.Status == doctor.Warning {
				commands = f.Commands
			}
			if f.Check == "rights" && f.Status == doctor.Fault && !strings.Contains(f.Text, "may not read wp_options,") {
				t.Errorf("who may write may not read: %s", f.Text)
			}
		}
		if len(commands) != 1+len(wpdb.CoreTables())+2 {
			t.Fatalf("the commands are %q:\n%s", commands, transcript(t, found))
		}
		for _, c := range commands {
			s.exec(c)
		}
	}
}
