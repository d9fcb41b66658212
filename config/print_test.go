package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const hidden = "correct-horse-battery-staple-0123456789"

func printed(t *testing.T, cfg Config) string {
	t.Helper()
	var b strings.Builder
	if err := cfg.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPrint(t *testing.T) {
	path := write(t, "holdline.yaml", "hold: 10s\ntail: {gap_window: 120s}\ndatabase: {password: "+hidden+"}\n")
	cfg := load(t,
		[]string{"--config", path, "--sources", "wplc,better_messages", "--auth-secret", hidden},
		[]string{"HOLDLINE_LIMITS_BODY=3072"})
	cfg.SetFromWordPress("database.name", "my site: #1")
	got := strings.ReplaceAll(printed(t, cfg), path, "/etc/holdline.yaml")
	want := `listen: 127.0.0.1:8787                     # default
admin_listen: 127.0.0.1:8788               # default
admin_hosts: []                            # default
base_path: /holdline/v1                    # default
tls:
  cert_file: ""                            # default
  key_file: ""                             # default
  acme_domains: []                         # default
  acme_email: ""                           # default
  acme_directory: ""                       # default
  acme_ca_file: ""                         # default
wordpress:
  config: ""                               # default
  url: ""                                  # default
  upstream: ""                             # default
database:
  address: ""                              # default
  name: "my site: #1"                      # wp-config
  user: ""                                 # default
  password: "[redacted]"                   # file /etc/holdline.yaml
  password_file: ""                        # default
  table_prefix: wp_                        # default
  tls: "off"                               # default
  max_connections: 2                       # default
sources: [wplc, better_messages]           # flag --sources
tail:
  interval: 50ms                           # default
  idle_interval: 1s                        # default
  gap_window: 2m                           # file /etc/holdline.yaml
  batch: 500                               # default
auth:
  secret: "[redacted]"                     # flag --auth-secret
  secret_file: ""                          # default
  allowed_origins: []                      # default
  recheck: 10s                             # default
loops:
  wplc:
    answer: auto                           # default
    visitors: adopt                        # default
hold: 10s                                  # file /etc/holdline.yaml
heartbeat: 15s                             # default
limits:
  connections: 50000                       # default
  per_address: 200                         # default
  per_user: 50                             # default
  open: 4096                               # default
  open_per_address: 256                    # default
  channels: 50                             # default
  body: 3KiB                               # env HOLDLINE_LIMITS_BODY
  queue_events: 256                        # default
  queue_bytes: 256KiB                      # default
  header: 16KiB                            # default
  message: 16KiB                           # default
  sends: 10                                # default
  signal: 16KiB                            # default
trusted_proxies: [127.0.0.0/8, "::1/128"]  # default
log:
  level: info                              # default
  format: text                             # default
state_dir: ""                              # default
spool:
  dir: ""                                  # default
  sync: always                             # default
  max_bytes: 256MiB                        # default
pid_file: ""                               # default
drain: 20s                                 # default
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is printed is a configuration file with the same effect, whatever the texts in it are.
func TestPrintedConfigLoadsAgain(t *testing.T) {
	for _, name := range []string{
		"wordpress", "off", "NULL", "12", "0x1f", "1:30", " lead", "a: b", "a #b", "- x", "it's \"quoted\"", "tab\tand\nline\r\x1b\x7f",
		"\u0085\u2028é…\U0001F600", "~", "*a", "&a", "{", "[redacted]", "%", "@x", "`x", "trailing:", "2026-11-22", "\ufeff",
	} {
		cfg := load(t, []string{"--database-name", name, "--sources", "a,b", "--database-user=" + name}, nil)
		text := printed(t, cfg)
		again := load(t, []string{"--config", write(t, "c.yaml", text)}, nil)
		if diff := cmp.Diff(cfg, again, compare); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
		var generic struct{ Database struct{ Name string } }
		if err := yaml.Unmarshal([]byte(text), &generic); err != nil || generic.Database.Name != name {
			t.Errorf("%q: another reader gets %q, %v", name, generic.Database.Name, err)
		}
	}
}

func TestPrintKeepsStrangePathsInTheComment(t *testing.T) {
	cfg := load(t, nil, nil)
	cfg.setOrigin("hold", "file /a\nlisten: evil:1")
	if text := printed(t, cfg); strings.Contains(text, "\nlisten: evil") {
		t.Errorf("the origin became a line:\n%s", text)
	}
}

func TestPrintReportsTheWriter(t *testing.T) {
	if err := load(t, nil, nil).Print(brokenPipe{}); err == nil {
		t.Error("no error")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }

// Whoever prints, logs or encodes a Config, or something that holds one, must not show a secret.
func TestSecretsNeverShow(t *testing.T) {
	cfg := load(t, nil, []string{"HOLDLINE_DATABASE_PASSWORD=" + hidden, "HOLDLINE_AUTH_SECRET=" + hidden})
	if cfg.Database.Password.Reveal() != hidden || cfg.Auth.Secret.Reveal() != hidden {
		t.Fatal("the secrets were not read")
	}
	shown := make(map[string]string)
	private := struct{ cfg Config }{cfg} // fmt cannot call methods on what it finds here
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%08.3f"} {
		for name, v := range map[string]any{
			"config": cfg, "pointer": &cfg, "private": private, "secret": cfg.Auth.Secret,
			"secret pointer": &cfg.Auth.Secret, "slice": []Secret{cfg.Auth.Secret}, "map": map[string]Secret{"a": cfg.Auth.Secret},
		} {
			shown[verb+" "+name] = fmt.Sprintf(verb, v)
		}
	}
	asJSON, err := json.Marshal(map[string]any{"cfg": cfg, "secret": cfg.Auth.Secret, "keys": map[Secret]int{cfg.Auth.Secret: 1}})
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logs, nil), slog.NewJSONHandler(&logs, nil)} {
		slog.New(h).Info("start", "cfg", cfg, "ptr", &cfg, "secret", cfg.Auth.Secret, "private", private)
	}
	shown["json"], shown["yaml"], shown["slog"], shown["print"] = string(asJSON), string(asYAML), logs.String(), printed(t, cfg)
	for how, text := range shown {
		if strings.Contains(text, hidden) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
		if !strings.Contains(text, redacted) && !strings.Contains(how, "private") && !strings.Contains(how, "%p") {
			t.Errorf("%s does not say that there is a secret: %s", how, text)
		}
	}
}

func TestSecret(t *testing.T) {
	var empty Secret
	if got := fmt.Sprintf("%v%+v%#v%s", empty, empty, empty, empty.GoString()); got != "" {
		t.Errorf("an empty secret prints %q", got)
	}
	if !empty.Empty() || !NewSecret("").Empty() || empty.Reveal() != "" || NewSecret("x").Empty() {
		t.Error("Empty is wrong")
	}
	if got := NewSecret("x").GoString(); got != redacted {
		t.Errorf("GoString gives %q", got)
	}
	if !NewSecret("x").Equal(NewSecret("x")) || NewSecret("x").Equal(NewSecret("y")) || NewSecret("x").Equal(empty) || !empty.Equal(NewSecret("")) {
		t.Error("Equal is wrong")
	}
}

func TestSetFromWordPress(t *testing.T) {
	cfg := load(t, []string{"--database-user", "holdline", "--database-password="}, nil)
	before := cfg
	cfg.SetFromWordPress("database.address", "localhost:3306")
	cfg.SetFromWordPress("database.user", "root")
	cfg.SetFromWordPress("database.password", hidden)
	cfg.SetFromWordPress("database.table_prefix", "")
	cfg.SetFromWordPress("wordpress.url", "https://example.com")
	cfg.SetFromWordPress("wordpress.url", "https://later.example.com")

	if d := cfg.Database; d.Address != "localhost:3306" || d.User != "holdline" || !d.Password.Empty() || cfg.WordPress.URL != "https://example.com" {
		t.Errorf("got %+v %+v", d, cfg.WordPress)
	}
	want := map[string]string{
		"database.address": "wp-config", "database.user": "flag --database-user", "database.password": "flag --database-password",
		"database.table_prefix": "default", "wordpress.url": "wp-config",
	}
	if cfg.Database.TablePrefix != "wp_" {
		t.Errorf("the default prefix became %q", cfg.Database.TablePrefix)
	}
	origins := cfg.Origins()
	for key, origin := range want {
		if origins[key] != origin {
			t.Errorf("origin of %s is %q, want %q", key, origins[key], origin)
		}
	}
	if before.Origins()["database.address"] != "default" {
		t.Error("an earlier copy changed")
	}
	origins["hold"] = "mine"
	if cfg.Origins()["hold"] != "default" {
		t.Error("Origins hands out its own map")
	}

	// A Config made by hand has no origins yet.
	byHand := Config{Database: Database{Name: "mine", Password: NewSecret("mine")}}
	byHand.SetFromWordPress("database.password", hidden)
	byHand.SetFromWordPress("database.name", "theirs")
	byHand.SetFromWordPress("database.user", "theirs")
	if d := byHand.Database; d.Password.Reveal() != "mine" || d.Name != "mine" || d.User != "theirs" {
		t.Errorf("got %+v", d)
	}
	cfg = load(t, nil, nil)
	cfg.SetFromWordPress("database.password", hidden)
	if got := cfg.Database.Password.Reveal(); got != hidden || strings.Contains(printed(t, cfg), hidden) {
		t.Errorf("password is %q", got)
	}

	defer func() {
		if recover() == nil {
			t.Error("a key that wp-config.php knows nothing about passes")
		}
	}()
	cfg.SetFromWordPress("hold", "1s")
}
