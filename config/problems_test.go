package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// problems loads what must not load.
func problems(t *testing.T, args, env []string) []string {
	t.Helper()
	cfg, err := Load(args, env)
	var p *Problems
	if !errors.As(err, &p) {
		t.Fatalf("error is %v", err)
	}
	if diff := cmp.Diff(Config{}, cfg, compare); diff != "" {
		t.Errorf("a configuration comes with the error: %s", diff)
	}
	for _, s := range p.List {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("Error() lacks %q", s)
		}
	}
	return p.List
}

func TestValueProblems(t *testing.T) {
	const durationUnits = "a duration with its unit (ms, s, m, h) from "
	const originWant = "write scheme://host[:port] without a path, such as https://example.com."
	const upstreamWant = "write http://host:port, https://host or unix:/path."
	for _, tc := range []struct{ env, want string }{
		{"HOLD=25", `hold = "25" (env HOLDLINE_HOLD) has no unit; write ` + durationUnits + `1ms to 55s.`},
		{"HOLD=0", `hold = "0" (env HOLDLINE_HOLD) has no unit; write ` + durationUnits + `1ms to 55s.`},
		{"HOLD=0s", `hold = "0s" (env HOLDLINE_HOLD) is too small; write ` + durationUnits + `1ms to 55s.`},
		{"HOLD=55001ms", `hold = "55001ms" (env HOLDLINE_HOLD) is too large; write ` + durationUnits + `1ms to 55s.`},
		{"HOLD=fast", `hold = "fast" (env HOLDLINE_HOLD) is not a duration; write ` + durationUnits + `1ms to 55s.`},
		{"HOLD=", `hold = "" (env HOLDLINE_HOLD) is not a duration; write ` + durationUnits + `1ms to 55s.`},
		{"HEARTBEAT=999ms", ``},
		{"HEARTBEAT=61s", ``},
		{"TAIL_INTERVAL=0.5ms", ``},
		{"TAIL_INTERVAL=11s", ``},
		{"TAIL_GAP_WINDOW=999ms", ``},
		{"TAIL_GAP_WINDOW=61m", `tail.gap_window = "61m" (env HOLDLINE_TAIL_GAP_WINDOW) is too large; write ` + durationUnits + `1s to 1h.`},
		{"TAIL_BATCH=0", `tail.batch = "0" (env HOLDLINE_TAIL_BATCH) is too small; write a whole number from 1 to 10000.`},
		{"TAIL_BATCH=10001", ``},
		{"TAIL_BATCH=99999999999999999999", `tail.batch = "99999999999999999999" (env HOLDLINE_TAIL_BATCH) is too large; write a whole number from 1 to 10000.`},
		{"TAIL_BATCH=1.5", `tail.batch = "1.5" (env HOLDLINE_TAIL_BATCH) is not a whole number; write a whole number from 1 to 10000.`},
		{"DATABASE_MAX_CONNECTIONS=101", ``},
		{"LIMITS_BODY=1MB", `limits.body = "1MB" (env HOLDLINE_LIMITS_BODY) is not a size; write a size from 1KiB to 1GiB, such as 65536, 64KiB or 1MiB.`},
		{"LIMITS_BODY=1", `limits.body = "1" (env HOLDLINE_LIMITS_BODY) is too small; write a size from 1KiB to 1GiB, such as 65536, 64KiB or 1MiB.`},
		{"LIMITS_BODY=-1KiB", ``},
		{"LISTEN=8787", `listen = "8787" (env HOLDLINE_LISTEN) is not host:port; write host:port, such as 127.0.0.1:8787, or unix:/path.`},
		{"LISTEN=:65536", `listen = ":65536" (env HOLDLINE_LISTEN) has no port number from 0 to 65535; write host:port, such as 127.0.0.1:8787, or unix:/path.`},
		{"LISTEN=unix:run/x", `listen = "unix:run/x" (env HOLDLINE_LISTEN) has no absolute path; write host:port, such as 127.0.0.1:8787, or unix:/path.`},
		{"LISTEN=http://a:80", ``},
		{"BASE_PATH=holdline", ``},
		{"BASE_PATH=/holdline/", `base_path = "/holdline/" (env HOLDLINE_BASE_PATH) is not such a path; write a path that starts with / and does not end with it, such as /holdline/v1.`},
		{"BASE_PATH=/", ``},
		{"BASE_PATH=/a/../b", ``},
		{"BASE_PATH=/.hidden", ``},
		{"BASE_PATH=/:id/*", ``},
		{"WORDPRESS_URL=example.com", ``},
		{"WORDPRESS_UPSTREAM=ftp://x", `wordpress.upstream = "ftp://x" (env HOLDLINE_WORDPRESS_UPSTREAM) does not start with http:// or https://; ` + upstreamWant},
		{"WORDPRESS_UPSTREAM=http://x/php", `wordpress.upstream = "http://x/php" (env HOLDLINE_WORDPRESS_UPSTREAM) has a path; ` + upstreamWant},
		{"WORDPRESS_UPSTREAM=http://me:pw@x", `wordpress.upstream = "…@x" (env HOLDLINE_WORDPRESS_UPSTREAM) has a user name in it; ` + upstreamWant},
		{"WORDPRESS_UPSTREAM=http://x:99999", `wordpress.upstream = "http://x:99999" (env HOLDLINE_WORDPRESS_UPSTREAM) has no port number from 1 to 65535; ` + upstreamWant},
		{"WORDPRESS_UPSTREAM=http:x", ``},
		{"DATABASE_ADDRESS=root:pw@tcp(db:3306)/x", `database.address = "…@tcp(db:3306)/x" (env HOLDLINE_DATABASE_ADDRESS) is not host:port; write host:port, such as 127.0.0.1:3306, or the path of a socket, such as /run/mysqld/mysqld.sock.`},
		{"DATABASE_ADDRESS=:3306", ``},
		{"DATABASE_TABLE_PREFIX=wp-", ``},
		{"STATE_DIR=state", `state_dir = "state" (env HOLDLINE_STATE_DIR) has no absolute path; write the absolute path of a folder, such as /var/lib/holdline, or off.`},
		{"SPOOL_DIR=spool", `spool.dir = "spool" (env HOLDLINE_SPOOL_DIR) has no absolute path; write the absolute path of a folder, such as /var/spool/holdline.`},
		{"SPOOL_SYNC=sometimes", `spool.sync = "sometimes" (env HOLDLINE_SPOOL_SYNC) is not a known word; write always, interval or never.`},
		{"SPOOL_MAX_BYTES=1MiB", `spool.max_bytes = "1MiB" (env HOLDLINE_SPOOL_MAX_BYTES) is too small; write a size from 4MiB to 1024GiB, such as 65536, 64KiB or 1MiB.`},
		{"LIMITS_MESSAGE=65537", `limits.message = "65537" (env HOLDLINE_LIMITS_MESSAGE) is too large; write a size from 256 to 64KiB, such as 65536, 64KiB or 1MiB.`},
		{"LIMITS_SENDS=0", `limits.sends = "0" (env HOLDLINE_LIMITS_SENDS) is too small; write a whole number from 1 to 1000.`},
		{"LIMITS_SIGNAL=255", ``},
		{"DATABASE_TLS=yes", `database.tls = "yes" (env HOLDLINE_DATABASE_TLS) is neither a known word nor a file that can be read; write off, on, skip-verify or the path of a CA certificate file that exists.`},
		{"DATABASE_TLS=/", ``},
		{"TLS_CERT_FILE=/c.pem", `tls.cert_file (env HOLDLINE_TLS_CERT_FILE) is set and tls.key_file is not; write the path of the certificate's private key there.`},
		{"TLS_KEY_FILE=/k.pem", `tls.key_file (env HOLDLINE_TLS_KEY_FILE) is set and tls.cert_file is not; write the path of the key's certificate there.`},
		{"TLS_ACME_DOMAINS=a.example.com,b", `tls.acme_domains = "a.example.com,b" (env HOLDLINE_TLS_ACME_DOMAINS) has the item "b" that is not a host name; write host names in ASCII without a port, such as chat.example.com.`},
		{"TLS_ACME_DOMAINS=192.0.2.1", ``},
		{"TLS_ACME_DOMAINS=*.example.com", ``},
		{"TLS_ACME_DOMAINS=example.com:443", ``},
		{"TLS_ACME_EMAIL=admin@example.com", `tls.acme_email (env HOLDLINE_TLS_ACME_EMAIL) is set and tls.acme_domains is not; remove it, or write the names to get a certificate for.`},
		{"TLS_ACME_EMAIL=Admin <admin@example.com>", `tls.acme_email = "…@example.com>" (env HOLDLINE_TLS_ACME_EMAIL) is not a mail address; write an address, such as admin@example.com.`},
		{"TLS_ACME_DIRECTORY=http://ca.example.com/dir", `tls.acme_directory = "http://ca.example.com/dir" (env HOLDLINE_TLS_ACME_DIRECTORY) does not start with https://; write the https:// address of an ACME directory.`},
		{"TLS_ACME_CA_FILE=/ca.pem", ``},
		{"SOURCES=wplc,Bad Name,../x", `sources = "wplc,Bad Name,../x" (env HOLDLINE_SOURCES) has the item "Bad Name" that is not a name, and has the item "../x" that is not a name; write names of lower-case letters, digits and _, such as wplc.`},
		{"AUTH_ALLOWED_ORIGINS=https://a.com/x", `auth.allowed_origins = "https://a.com/x" (env HOLDLINE_AUTH_ALLOWED_ORIGINS) has the item "https://a.com/x" that has a path; ` + originWant},
		{"AUTH_ALLOWED_ORIGINS=https://A.com:443", `auth.allowed_origins = "https://A.com:443" (env HOLDLINE_AUTH_ALLOWED_ORIGINS) has the item "https://A.com:443" that browsers send as https://a.com; ` + originWant},
		{"AUTH_ALLOWED_ORIGINS=https://a.com/", ``},
		{"AUTH_ALLOWED_ORIGINS=*", ``},
		{"AUTH_ALLOWED_ORIGINS=null", ``},
		{"AUTH_SECRET=short-and-private", "auth.secret (env HOLDLINE_AUTH_SECRET) is shorter than 32 bytes; write at least 32 random bytes, such as `openssl rand -hex 32` prints."},
		{"TRUSTED_PROXIES=10.0.0.0/33", ``},
		{"TRUSTED_PROXIES=fe80::1%eth0", ``},
		{"LOOPS_WPLC_ANSWER=php", `loops.wplc.answer = "php" (env HOLDLINE_LOOPS_WPLC_ANSWER) is not a known word; write auto, native or relay.`},
		{"LOOPS_WPLC_VISITORS=all", ``},
		{"LOG_LEVEL=INFO", ``},
		{"LOG_FORMAT=xml", ``},
		{"DRAIN=11m", ``},
		{"TAIL_INTERVAL=2s", `tail.interval = 2s (env HOLDLINE_TAIL_INTERVAL) is longer than tail.idle_interval = 1s (default); write a shorter interval or a longer idle_interval.`},
		{"LISTEN=127.0.0.1:8788", `listen (env HOLDLINE_LISTEN) and admin_listen (default) are both "127.0.0.1:8788"; write another port or path for one of them.`},
	} {
		t.Run(tc.env, func(t *testing.T) {
			got := problems(t, nil, []string{"HOLDLINE_" + tc.env})
			if len(got) != 1 {
				t.Fatalf("got %d problems: %q", len(got), got)
			}
			name, _, _ := strings.Cut(tc.env, "=")
			if !strings.Contains(got[0], "env HOLDLINE_"+name+")") {
				t.Errorf("%s does not say where", got[0])
			}
			if tc.want != "" && got[0] != tc.want {
				t.Errorf("got  %s\nwant %s", got[0], tc.want)
			}
		})
	}
}

func TestValuesAtTheBounds(t *testing.T) {
	ca := write(t, "ca.pem", "x")
	for _, env := range []string{
		"HOLD=1ms", "HOLD=55s", "HEARTBEAT=1s", "HEARTBEAT=60s", "TAIL_INTERVAL=1ms", "TAIL_INTERVAL=1s", "TAIL_GAP_WINDOW=1s",
		"TAIL_GAP_WINDOW=1h", "TAIL_BATCH=1", "TAIL_BATCH=10000", "DATABASE_MAX_CONNECTIONS=1", "DATABASE_MAX_CONNECTIONS=100",
		"LIMITS_BODY=1024", "LIMITS_BODY=1GiB", "LISTEN=:8787", "LISTEN=[::1]:0", "LISTEN=unix:/run/holdline.sock",
		"BASE_PATH=/a/b.c", "WORDPRESS_URL=https://example.com/blog", "WORDPRESS_UPSTREAM=unix:/run/php.sock",
		"WORDPRESS_UPSTREAM=https://[::1]:8443", "DATABASE_ADDRESS=/run/mysqld/mysqld.sock", "DATABASE_TLS=skip-verify",
		"DATABASE_TLS=" + ca, "SOURCES=", "AUTH_ALLOWED_ORIGINS=http://a.com:8080,https://[::1]", "TRUSTED_PROXIES=", "DRAIN=0s",
	} {
		if _, err := Load(nil, []string{"HOLDLINE_" + env}); err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestTLSProblems(t *testing.T) {
	const domains = "HOLDLINE_TLS_ACME_DOMAINS=Chat.example.com"
	for _, tc := range []struct {
		name string
		env  []string
		want string
	}{
		{
			"files and ACME",
			[]string{domains, "HOLDLINE_TLS_CERT_FILE=/c.pem", "HOLDLINE_TLS_KEY_FILE=/k.pem"},
			"tls.acme_domains (env HOLDLINE_TLS_ACME_DOMAINS) and certificate files are both set; keep one of them.",
		},
		{
			"nowhere to keep certificates",
			[]string{domains, "HOLDLINE_STATE_DIR=off"},
			`tls.acme_domains (env HOLDLINE_TLS_ACME_DOMAINS) needs a folder for the certificates, and state_dir = "off" (env HOLDLINE_STATE_DIR) has none; ` +
				"write the path of a folder there, or leave it empty.",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := problems(t, nil, tc.env); len(got) != 1 || got[0] != tc.want {
				t.Errorf("got  %q\nwant %s", got, tc.want)
			}
		})
	}
	cfg := load(t, nil, []string{domains, "HOLDLINE_TLS_ACME_EMAIL=admin@example.com"})
	if diff := cmp.Diff([]string{"chat.example.com"}, cfg.TLS.ACMEDomains); diff != "" || !cfg.TLS.On() {
		t.Errorf("on: %v, domains: %s", cfg.TLS.On(), diff)
	}
}

func TestAllProblemsAreListedAtOnce(t *testing.T) {
	path := write(t, "c.yaml", `# line 1
hold: 25
tial:
  interval: 1s
Listen: 0.0.0.0:80
limits:
  per_addres: 5
  body: [1, 2]
  channels: {max: 1}
tail: 5s
sources: [{name: wplc}]
heartbeat: *x
log: {level: info, level: debug}
? [a]
: b
`)
	// The alias has no anchor, which is a syntax error of its own: see TestFileProblems.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = write(t, "c.yaml", strings.Replace(string(text), "heartbeat: *x", "drain: &x 1s\nheartbeat: *x", 1))
	got := problems(t,
		[]string{"--config", path, "--databse-password", "hunter2", "--hodl=hunter2", "-x", "--log-format", "xml", "--"},
		[]string{"HOLDLINE_LIMIT_BODY=hunter2", "HOLDLINE_NOTHING_LIKE_IT=hunter2", "HOLDLINE_TAIL_BATCH=no"})
	want := []string{
		"flag --databse-password is unknown; did you mean --database-password?",
		"flag --hodl is unknown; did you mean --hold?",
		"flag -x is unknown.",
		"file " + path + `, line 3 has the unknown key "tial"; did you mean tail?`,
		"file " + path + `, line 5 has the unknown key "Listen"; did you mean listen?`,
		"file " + path + `, line 7 has the unknown key "limits.per_addres"; did you mean limits.per_address?`,
		"file " + path + ", line 8 has more than one plain value for limits.body; write a size from 1KiB to 1GiB, such as 65536, 64KiB or 1MiB.",
		"file " + path + ", line 9 has more than one plain value for limits.channels; write a whole number from 1 to 10000.",
		"file " + path + ", line 10 has a value for tail, which is a group of settings; write them indented below it.",
		"file " + path + ", line 11 has an item of sources that is no plain text; write names of lower-case letters, digits and _, such as wplc.",
		"file " + path + ", line 13 has more than one plain value for heartbeat; write a duration with its unit (ms, s, m, h) from 1s to 1m.",
		"file " + path + ", line 14 has log.level twice; keep one.",
		"file " + path + `, line 15 has the unknown key "".`,
		"env HOLDLINE_LIMIT_BODY is no setting; did you mean HOLDLINE_LIMITS_BODY?",
		"env HOLDLINE_NOTHING_LIKE_IT is no setting.",
		`tail.batch = "no" (env HOLDLINE_TAIL_BATCH) is not a whole number; write a whole number from 1 to 10000.`,
		`hold = "25" (file ` + path + `, line 2) has no unit; write a duration with its unit (ms, s, m, h) from 1ms to 55s.`,
		`log.format = "xml" (flag --log-format) is not a known word; write text or json.`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommandLineProblems(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"no value", []string{"--hold"}, "the command line is wrong: flag needs an argument: --hold."},
		{"bad switch", []string{"--print-config=maybe"}, "the command line is wrong: invalid argument"},
		{"argument", []string{"now"}, `the command line has "now", which belongs to no flag; remove it.`},
		{"dash and equals", []string{"-=x"}, "flag - is unknown"},
		{"value that looks like a flag", []string{"--database-name", "--x", "y"}, `the command line has "y"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := problems(t, tc.args, nil); len(got) != 1 || !strings.HasPrefix(got[0], tc.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestFileProblems(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "cannot be read: no such file or directory; write the path of a YAML file that can be read."},
		{"folder", dir, "cannot be read: is a directory; write"},
		{"too large", write(t, "c", strings.Repeat("#", maxFile+1)), "is larger than 1MiB; write"},
		{"syntax", write(t, "c", "listen: [\n"), " is not YAML: "},
		{"tab", write(t, "c", "tail:\n\tbatch: 1\n"), "is not YAML: "},
		{"alias of nothing", write(t, "c", "hold: *x\n"), "is not YAML: unknown anchor"},
		{"second document", write(t, "c", "hold: 1s\n---\nhold: 2s\n"), "has a second document"},
		{"list", write(t, "c", "- listen\n"), "is no list of settings"},
		{"text", write(t, "c", "listen\n"), "is no list of settings"},
		{"binary", write(t, "c", "\x00\x01\xff"), "is not YAML: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := problems(t, []string{"--config", tc.path}, nil); len(got) != 1 || !strings.Contains(got[0], tc.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSecretFileProblems(t *testing.T) {
	good := write(t, "key", key32)
	for _, tc := range []struct {
		name string
		env  []string
		want string
	}{
		{
			"both",
			[]string{"HOLDLINE_AUTH_SECRET=" + key32, "HOLDLINE_AUTH_SECRET_FILE=" + good},
			"auth.secret (env HOLDLINE_AUTH_SECRET) and auth.secret_file (env HOLDLINE_AUTH_SECRET_FILE) are both set; keep one of them.",
		},
		{
			"missing",
			[]string{"HOLDLINE_DATABASE_PASSWORD_FILE=/none/x"},
			`database.password_file = "/none/x" (env HOLDLINE_DATABASE_PASSWORD_FILE) cannot be read: no such file or directory; write the path of a file with the secret in it.`,
		},
		{"empty", []string{"HOLDLINE_DATABASE_PASSWORD_FILE=" + write(t, "p", "\r\n")}, "is empty; write the path"},
		{"too large", []string{"HOLDLINE_DATABASE_PASSWORD_FILE=" + write(t, "p", strings.Repeat("x", maxSecretFile+1))}, "is larger than 64KiB; write the path"},
		{"too short", []string{"HOLDLINE_AUTH_SECRET_FILE=" + write(t, "k", "short")}, "is shorter than 32 bytes; write at least"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := problems(t, nil, tc.env)
			if len(got) != 1 || !strings.Contains(got[0], tc.want) || strings.Contains(got[0], key32) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestProblemNamesTheLayerThatWon(t *testing.T) {
	path := write(t, "c.yaml", "hold: 1s\n")
	got := problems(t, []string{"--config", path}, []string{"HOLDLINE_HOLD=2"})
	if len(got) != 1 || !strings.HasPrefix(got[0], `hold = "2" (env HOLDLINE_HOLD) has no unit`) {
		t.Errorf("got %q", got)
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 61 * time.Second: "1m1s",
		10 * time.Minute: "10m", 1500 * time.Microsecond: "1.5ms",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}
