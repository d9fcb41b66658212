package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// key32 is as long as auth.secret must be.
const key32 = "0123456789abcdef0123456789ABCDEF"

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, args, env []string) Config {
	t.Helper()
	cfg, err := Load(args, env)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func defaults() Config {
	return Config{
		Listen: "127.0.0.1:8787", AdminListen: "127.0.0.1:8788", BasePath: "/holdline/v1",
		TLS:        TLS{ACMEDomains: []string{}},
		Database:   Database{TablePrefix: "wp_", TLS: "off", MaxConnections: 2},
		Sources:    []string{},
		Tail:       Tail{Interval: 50 * time.Millisecond, IdleInterval: time.Second, GapWindow: time.Minute, Batch: 500},
		Auth:       Auth{AllowedOrigins: []string{}, Recheck: 10 * time.Second},
		Loops:      Loops{WPLC: WPLC{Answer: "auto", Visitors: "adopt"}},
		Hold:       25 * time.Second,
		Heartbeat:  15 * time.Second,
		AdminHosts: []string{},
		Limits: Limits{
			Connections: 50000, PerAddress: 200, PerUser: 50, Open: 4096, OpenPerAddr: 256, Channels: 50,
			Body: MiB, QueueEvents: 256, QueueBytes: 256 * KiB, Header: 16 * KiB,
			Message: 16 * KiB, Sends: 10, Signal: 16 * KiB,
		},
		Spool:          Spool{Sync: "always", MaxBytes: 256 * MiB},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Log:            Log{Level: "info", Format: "text"},
		Drain:          20 * time.Second,
	}
}

var compare = cmp.Options{
	cmpopts.IgnoreUnexported(Config{}),
	cmpopts.IgnoreFields(Config{}, "Args"),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestLoadDefaults(t *testing.T) {
	cfg := load(t, nil, nil)
	if diff := cmp.Diff(defaults(), cfg, compare); diff != "" {
		t.Error(diff)
	}
	for key, origin := range cfg.Origins() {
		if origin != "default" {
			t.Errorf("origin of %s is %q", key, origin)
		}
	}
}

// Every layer sets what the layers above it leave alone, for every kind of value.
func TestLoadLayers(t *testing.T) {
	path := write(t, "holdline.yaml", `
listen: file:1
admin_listen: file:2
base_path: /file
database: {name: 0123, user: yes, max_connections: 3}
sources: [a, b]
tail: {interval: 1ms}
tail.batch: 7
limits:
  body: 2MiB
  queue_bytes: 4096
log:
  # every line of the group is commented out
hold:
`)
	env := []string{
		"PATH=/bin", "HOLDLINE_CONFIG=" + path,
		"HOLDLINE_ADMIN_LISTEN=env:2", "HOLDLINE_BASE_PATH=/env", "HOLDLINE_TRUSTED_PROXIES=10.1.2.3/8, ::ffff:192.0.2.1",
		"HOLDLINE_DATABASE_NAME=", "HOLDLINE_LIMITS_QUEUE_BYTES=8KiB",
	}
	args := []string{"--base-path=/flag", "--sources", "c,d", "--sources=e", "--tail-idle-interval", "1m", "--print-config"}
	cfg := load(t, args, env)

	want := defaults()
	want.Listen, want.AdminListen, want.BasePath = "file:1", "env:2", "/flag"
	want.Database.User, want.Database.MaxConnections = "yes", 3
	want.Sources = []string{"c", "d", "e"}
	want.Tail.Interval, want.Tail.IdleInterval, want.Tail.Batch = time.Millisecond, time.Minute, 7
	want.Limits.Body, want.Limits.QueueBytes = 2*MiB, 8*KiB
	want.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
	want.PrintConfig = true
	if diff := cmp.Diff(want, cfg, compare); diff != "" {
		t.Error(diff)
	}

	origins := cfg.Origins()
	for key, want := range map[string]string{
		"listen": "file " + path, "admin_listen": "env HOLDLINE_ADMIN_LISTEN", "base_path": "flag --base-path",
		"sources": "flag --sources", "database.name": "env HOLDLINE_DATABASE_NAME", "tail.batch": "file " + path,
		"tail.gap_window": "default", "log.level": "default", "hold": "default",
	} {
		if origins[key] != want {
			t.Errorf("origin of %s is %q, want %q", key, origins[key], want)
		}
	}
}

func TestLoadFileIsTextAsWritten(t *testing.T) {
	path := write(t, "c.yaml", "database: {name: 0123, user: 1e3, table_prefix: 0x10, tls: off}\nstate_dir: off\n")
	cfg := load(t, []string{"--config", path}, nil)
	if got := cfg.Database; got.Name != "0123" || got.User != "1e3" || got.TablePrefix != "0x10" || got.TLS != "off" || cfg.StateDir != StateOff {
		t.Errorf("got %+v", got)
	}
}

func TestLoadFlagBeatsVariableForTheFile(t *testing.T) {
	byFlag, byEnv := write(t, "flag.yaml", "base_path: /flag"), write(t, "env.yaml", "base_path: /env")
	env := []string{"HOLDLINE_CONFIG=" + byEnv}
	if got := load(t, []string{"--config", byFlag}, env).BasePath; got != "/flag" {
		t.Errorf("got %s", got)
	}
	if got := load(t, []string{"--config="}, env).BasePath; got != "/holdline/v1" {
		t.Errorf("got %s, want no file read", got)
	}
}

func TestLoadEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "~", "{}", "tail:\nlimits:\n"} {
		cfg := load(t, []string{"--config", write(t, "c.yaml", text)}, nil)
		if diff := cmp.Diff(defaults(), cfg, compare); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestLoadSecrets(t *testing.T) {
	password, key := write(t, "password", " p w \r\n\n"), write(t, "key", key32+"\n")
	cfg := load(t, []string{"--auth-secret-file", key}, []string{"HOLDLINE_DATABASE_PASSWORD_FILE=" + password})
	if got := cfg.Database.Password.Reveal(); got != " p w " {
		t.Errorf("password is %q", got)
	}
	if got := cfg.Auth.Secret.Reveal(); got != key32 {
		t.Errorf("secret is %q", got)
	}
	origins := cfg.Origins()
	if origins["database.password"] != "file "+password || origins["database.password_file"] != "env HOLDLINE_DATABASE_PASSWORD_FILE" {
		t.Errorf("origins are %q and %q", origins["database.password"], origins["database.password_file"])
	}

	// An empty variable takes the file's setting back, which makes room for the plain one.
	path := write(t, "c.yaml", "auth: {secret_file: "+key+"}")
	cfg = load(t, []string{"--config", path}, []string{"HOLDLINE_AUTH_SECRET_FILE=", "HOLDLINE_AUTH_SECRET=" + strings.Repeat("x", 32)})
	if got := cfg.Auth.Secret.Reveal(); got != strings.Repeat("x", 32) {
		t.Errorf("secret is %q", got)
	}
}

func TestLoadWithFlagsAndArguments(t *testing.T) {
	var follow bool
	var count int
	extra := func(fs *pflag.FlagSet) {
		fs.BoolVarP(&follow, "follow", "f", false, "go on")
		fs.IntVarP(&count, "count", "n", 0, "how many")
	}
	cfg, err := LoadWith([]string{"wplc/1", "-f", "-n", "5", "--hold", "3s", "wplc/2", "--", "--x"}, nil, extra)
	if err != nil {
		t.Fatal(err)
	}
	if !follow || count != 5 || cfg.Hold != 3*time.Second {
		t.Errorf("follow %v, count %d, hold %v", follow, count, cfg.Hold)
	}
	if diff := cmp.Diff([]string{"wplc/1", "wplc/2", "--x"}, cfg.Args); diff != "" {
		t.Error(diff)
	}
}

func TestLoadHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		if _, err := Load([]string{"--hold", "1s", arg}, nil); !errors.Is(err, pflag.ErrHelp) {
			t.Errorf("%s gives %v", arg, err)
		}
	}
	var b strings.Builder
	if err := Help(&b, func(fs *pflag.FlagSet) { fs.Bool("follow", false, "go on") }); err != nil {
		t.Fatal(err)
	}
	want := []string{"--config file", "--print-config", "--follow", "(default 25s)", "--log-level debug|info|warn|error"}
	for _, s := range table() {
		want = append(want, "--"+s.flag()+" "+s.rule.kind, s.help)
	}
	for _, w := range want {
		if !strings.Contains(b.String(), w) {
			t.Errorf("help does not have %q", w)
		}
	}
}

// TestTableAndStructAgree fails when a field is added without its setting, or the other way round.
func TestTableAndStructAgree(t *testing.T) {
	sample, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	flags := newFlags(nil)
	fields := fieldKeys(reflect.TypeFor[Config](), "")
	settings := make(map[string]bool)
	for _, s := range table() {
		settings[s.key] = true
		if !fields[s.key] {
			t.Errorf("setting %s has no field", s.key)
		}
		if s.help == "" || s.rule.want == "" {
			t.Errorf("setting %s has no help", s.key)
		}
		if _, err := s.rule.parse(s.def); err != nil {
			t.Errorf("default of %s %v", s.key, err)
		}
		if f := flags.Lookup(s.flag()); f == nil || f.Usage != s.help || f.DefValue != s.def {
			t.Errorf("flag of %s is %+v", s.key, f)
		}
		name := s.key[strings.LastIndexByte(s.key, '.')+1:]
		if !strings.Contains(string(sample), " "+name+": ") && !strings.Contains(string(sample), "\n"+name+": ") {
			t.Errorf("setting %s has no line in %s", s.key, samplePath)
		}
	}
	for key := range fields {
		if !settings[key] {
			t.Errorf("field of %s has no setting", key)
		}
	}
}

// fieldKeys lists the keys of all fields but those tagged "-".
func fieldKeys(t reflect.Type, prefix string) map[string]bool {
	keys := make(map[string]bool)
	for i := range t.NumField() {
		f := t.Field(i)
		key := prefix + f.Tag.Get("mapstructure")
		switch {
		case !f.IsExported() || key == "-":
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]():
			for k := range fieldKeys(f.Type, key+".") {
				keys[k] = true
			}
		default:
			keys[key] = true
		}
	}
	return keys
}

// Each setting must reach its own field from its variable and from its flag: a copied line in the table would not.
func TestEverySettingReachesItsField(t *testing.T) {
	for _, s := range table() {
		value := s.sample
		if value == "" {
			value = another(t, s)
		}
		if strings.HasSuffix(s.key, "_file") {
			value = write(t, "secret", key32)
		}
		parsed, err := s.rule.parse(value)
		if err != nil {
			t.Fatalf("%s: %v", s.key, err)
		}
		want := yamlText(parsed)
		fromEnv := load(t, company(s), []string{s.env() + "=" + value})
		fromFlag := load(t, append(company(s), "--"+s.flag(), value), nil)
		for _, cfg := range []Config{fromEnv, fromFlag} {
			if got := yamlText(cfg.field(s.key).Interface()); got != want {
				t.Errorf("%s is %s (%s), want %s", s.key, got, cfg.Origins()[s.key], want)
			}
		}
	}
}

// company are the flags of what a setting cannot stand without.
func company(s setting) []string {
	switch s.key {
	case "tls.cert_file":
		return []string{"--tls-key-file=/key.pem"}
	case "tls.key_file":
		return []string{"--tls-cert-file=/cert.pem"}
	case "tls.acme_email", "tls.acme_directory", "tls.acme_ca_file":
		return []string{"--tls-acme-domains=example.com"}
	}
	return nil
}

// another returns a valid value that is not the default.
func another(t *testing.T, s setting) string {
	t.Helper()
	for _, v := range []string{"127.0.0.1:9999", "/other", "777ms", "3s", "77", "3KiB", "10.0.0.0/8", "on", "native", "strict", "debug", "json", "interval", "8MiB"} {
		if _, err := s.rule.parse(v); err == nil && v != s.def {
			return v
		}
	}
	t.Fatalf("no other value for %s", s.key)
	return ""
}
