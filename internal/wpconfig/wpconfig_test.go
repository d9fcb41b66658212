package wpconfig

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// site builds a file system below /srv/site; an absolute name stands for itself.
func site(texts map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range texts {
		if !strings.HasPrefix(name, "/") {
			name = path.Join("/srv/site", name)
		}
		fsys[name[1:]] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func mustLoad(t *testing.T, texts map[string]string, opt Options) *Config {
	t.Helper()
	opt.FS = site(texts)
	c, err := Load("/srv/site/wp-config.php", opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGoldenPHP compares with what PHP 8.2 printed for the same files: the JSON
// beside each is json_encode(get_defined_constants(true)['user']).
func TestGoldenPHP(t *testing.T) {
	files, err := filepath.Glob("testdata/php82/*.php")
	if err != nil || len(files) != 10 {
		t.Fatalf("found %d golden files, want 10: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			golden, err := os.ReadFile(strings.TrimSuffix(file, ".php") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var want, got map[string]any
			if err := json.Unmarshal(golden, &want); err != nil {
				t.Fatal(err)
			}
			c, err := Load(file, Options{Request: map[string]string{}})
			if err != nil {
				t.Fatal(err)
			}
			ours, err := json.Marshal(c.Constants)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(ours, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("constants (-PHP +Go):\n%s", diff)
			}
			if len(c.Unresolved) > 0 {
				t.Errorf("unresolved: %v", c.Unresolved)
			}
		})
	}
}

// TestPaths: an unknown condition does no harm where every way a request can take agrees.
func TestPaths(t *testing.T) {
	tests := []struct {
		name, src string
		want      map[string]any
	}{
		{"the file ends at wp-settings.php", `define('A',1); require_once(ABSPATH . 'wp-settings.php'); define('B',2);`, map[string]any{"A": int64(1)}},
		{"a branch that dies is not taken", `if (!isset($_SERVER['HTTP_HOST'])) { die('no'); } else { define('A','a'); } $_GET['x'] or exit; define('B','b');`, map[string]any{"A": "a", "B": "b"}},
		{"branches agree", `if ($_SERVER['HTTPS'] === 'on') { define('A','same'); } else { define('A','same'); }`, map[string]any{"A": "same"}},
		{"both ways of a ternary agree", `define('A', f() ? 'x' : 'x');`, map[string]any{"A": "x"}},
		{"cases agree", `switch (f()) { case 1: define('A','x'); break; default: define('A','x'); }`, map[string]any{"A": "x"}},
		{"both ways reach wp-settings.php", `if (f()) { define('A','x'); require 'wp-settings.php'; } define('A','x'); require 'wp-settings.php';`, map[string]any{"A": "x"}},
		{"a certain repetition settles a possible definition", `if ($_SERVER['HTTPS']) define('A','x'); define('A','x');`, map[string]any{"A": "x"}},
		{"an unknown loop that changes nothing", `$n = 'x'; while (f()) { $i = 1; if ($i) break; continue; } define('A', $n);`, map[string]any{"A": "x"}},
		{"short open tags", "?> <? define('A', 1); ?> <?xml version='1.0'?> <?= define('B', 2) ?>", map[string]any{"A": int64(1), "B": int64(2)}},
		{"a goto label", `define('A', 1); here: define('B', 2);`, map[string]any{"A": int64(1), "B": int64(2)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, map[string]string{"wp-config.php": "<?php " + tt.src}, Options{})
			if diff := cmp.Diff(tt.want, c.Constants); diff != "" {
				t.Errorf("constants (-want +got):\n%s", diff)
			}
			if len(c.Unresolved) > 0 {
				t.Errorf("unresolved: %v", c.Unresolved)
			}
		})
	}
}

// TestReportsWhatOnlyPHPKnows: nothing is guessed, and the report tells what to do.
func TestReportsWhatOnlyPHPKnows(t *testing.T) {
	tests := []struct {
		name, src string
		want      string // "name: setting: a part of why", one a line
	}{
		{
			"a host-dependent branch", "if ($_SERVER['HTTP_HOST'] === 'staging.test') {\n define('DB_NAME','staging');\n} else {\n define('DB_NAME','live');\n}",
			"DB_NAME: database.name: wp-config.php:1: HTTP_HOST is only known during a request",
		},
		{"a site URL from the request", "define('WP_SITEURL', 'https://' . $_SERVER['HTTP_HOST']);", "WP_SITEURL: wordpress.url: HTTP_HOST"},
		{"a missing environment variable", "define('DB_USER', getenv('APP_USER'));", "DB_USER: database.user: the environment variable APP_USER is not set for Holdline"},
		{"a missing part of a text", "define('DB_HOST', getenv('H') . ':3306');", "DB_HOST: database.address: H is not set"},
		{"a secret fetched by a function", "define('DB_PASSWORD', fetch_secret('db'));", "DB_PASSWORD: database.password_file: fetch_secret() is not run by Holdline"},
		{"a prefix from a function", "$table_prefix = pick();", "$table_prefix: database.table_prefix: pick()"},
		{"a prefix on some paths", "if (pick()) { $table_prefix = 'x_'; }", "$table_prefix: database.table_prefix: pick()"},
		{"a prefix that WordPress refuses", "$table_prefix = 'wp-';", "$table_prefix: database.table_prefix: letters, digits and underscores"},
		{"a salt from a command", "define('AUTH_KEY', shell_exec('uuid'));", "AUTH_KEY: give Holdline the environment that PHP has: shell_exec()"},
		{"an own function that defines", "function setup() { define('DB_NAME', 'x'); }\nsetup();", "DB_NAME: database.name: wp-config.php:2: the function setup() may set it"},
		{"an own function that sets the prefix", "$table_prefix = 'wp_'; function p() { global $table_prefix; $table_prefix = 'x_'; } p();", "$table_prefix: database.table_prefix: p() may set it"},
		{"a variable changed by reference", "$db = 'x'; preg_match('/(y)/', 'y', $db); define('DB_NAME', $db);", "DB_NAME: database.name: preg_match() may change it"},
		{"a variable that is never set", "define('DB_NAME', $dbname);", "DB_NAME: database.name: $dbname is never set"},
		{"an undefined constant", "define('DB_NAME', PREFIX . 'x');", "DB_NAME: database.name: the constant PREFIX is not defined"},
		{"syntax that is not followed", "define('DB_NAME', match(true) { default => 'x' });", "DB_NAME: database.name: a match expression"},
		{"code that is not read", "$f = &$g; $x = [...$y, define('DB_NAME', 'n')];", "DB_NAME: database.name: cannot read"},
		{"a loop of unknown length", "while (more()) { define('DB_NAME', 'n'); }", "DB_NAME: database.name: rounds of this loop"},
		{"a return on some paths", "if (early()) return;\ndefine('DB_NAME', 'n');", "DB_NAME: database.name: early()"},
		{"a break on some paths", "foreach ([1,2] as $i) { if (f()) break; define('DB_' . 'NAME', 'n'); }", "DB_NAME: database.name: f()"},
		{"an unknown switch", "switch (f()) { case 1: define('DB_NAME','a'); break; default: define('DB_NAME','b'); }", "DB_NAME: database.name: f()"},
		{"both sides of a ternary", "define('DB_NAME', f() ? 'a' : 'b');", "DB_NAME: database.name: f()"},
		{"a definition behind an unknown or", "f() or define('DB_NAME', 'a');", "DB_NAME: database.name: f()"},
		{"two ends with two values", "if (f()) { define('DB_NAME','x'); require 'wp-settings.php'; } define('DB_NAME','y'); require 'wp-settings.php';", "DB_NAME: database.name: f()"},
		{"a goto", "goto end; define('DB_NAME', 'a'); end:", "DB_NAME: database.name: goto"},
		{"a return in code that is not read", "if (f(...$x)) { return; } define('DB_NAME', 'a');", "DB_NAME: database.name: may leave the file"},
		{"a property", "$o = new Secrets; $o->name = 'x'; define('DB_NAME', $o->name);", "DB_NAME: database.name: an object"},
		{"an element with an unknown key", "$a = ['n' => 'x']; $a[f()] = 'y'; define('DB_NAME', $a['n']);", "DB_NAME: database.name: f()"},
		{"globals with an unknown key", "$table_prefix = 'x'; $GLOBALS[f()] = 'y';", "$table_prefix: database.table_prefix: f()"},
		{"a missing element", "$a = []; define('DB_NAME', $a['n']);", "DB_NAME: database.name: no element n"},
		{"a float in a text", "define('DB_NAME', 'v' . 1.50);", "DB_NAME: database.name: no text"},
		{"a variable on some paths", "if (f()) $n = 'x'; define('DB_NAME', $n);", "DB_NAME: database.name: f()"},
		{"extracted variables", "$table_prefix = 'x'; extract(f());", "$table_prefix: database.table_prefix: extract()"},
		{"a removed part", "$a = ['n' => 'x']; unset($a['n']); define('DB_NAME', $a['n']);", "DB_NAME: database.name: is removed"},
		{"the version of PHP", "define('DB_NAME', PHP_VERSION);", "DB_NAME: database.name: depends on the PHP"},
		{"a name Holdline does not need", "define('WP_DEBUG', f());", "WP_DEBUG: : f()"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, map[string]string{"wp-config.php": "<?php " + tt.src}, Options{})
			if len(c.Unresolved) != 1 {
				t.Fatalf("unresolved %v, want one; constants %v", c.Unresolved, c.Constants)
			}
			want := strings.SplitN(tt.want, ": ", 3)
			u := c.Unresolved[0]
			if u.Name != want[0] || !strings.HasPrefix(u.Setting, want[1]) || !strings.Contains(u.Why, want[2]) {
				t.Errorf("got %+v, want %q", u, want)
			}
			if _, ok := c.Constants[u.Name]; ok || c.TablePrefixSet {
				t.Errorf("a value was guessed: %v, %q", c.Constants, c.TablePrefix)
			}
		})
	}
}

func TestUnresolvedSentence(t *testing.T) {
	tests := []struct {
		in   Unresolved
		want string
	}{
		{Unresolved{"DB_NAME", "x:1: y", "database.name"}, "DB_NAME could not be read: x:1: y; set database.name"},
		{Unresolved{"AUTH_KEY", "x:1: y", "write it down"}, "AUTH_KEY could not be read: x:1: y; write it down"},
		{Unresolved{"WP_DEBUG", "x:1: y", ""}, "WP_DEBUG could not be read: x:1: y"},
	}
	for _, tt := range tests {
		if got := tt.in.String(); got != tt.want {
			t.Errorf("String() = %q, want %q", got, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c := mustLoad(t, map[string]string{"wp-config.php": `<?php
define('A', $_ENV['ONE']); define('B', getenv('TWO') ?: 'two'); define('C', env('NUM')); define('D', env('YES')); define('E', env('Q'));
putenv('SET=here'); define('F', getenv('SET') . ($_SERVER['SET'] ?? '')); $_ENV['OWN']='not seen'; $_SERVER['OWN']='own'; define('G', $_SERVER['OWN']); define('H', getenv_docker('EMPTY', 'x'));
define('I', $_SERVER['HTTP_HOST'] ?? 'none');`}, Options{
		LookupEnv: env(map[string]string{"ONE": "1st", "NUM": "42", "YES": "TRUE", "Q": `"q"`, "EMPTY": ""}),
		Request:   map[string]string{"HTTP_HOST": "e.test"},
	})
	want := map[string]any{"A": "1st", "B": "two", "C": int64(42), "D": true, "E": "q", "F": "here", "G": "own", "H": "", "I": "e.test"}
	if diff := cmp.Diff(want, c.Constants); diff != "" {
		t.Errorf("constants (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"SET", "TWO"}, c.EnvMissing); diff != "" {
		t.Errorf("EnvMissing (-want +got):\n%s", diff)
	}
}

func TestDockerSecretThatCannotBeRead(t *testing.T) {
	c := mustLoad(t, map[string]string{"wp-config.php": `<?php define('DB_PASSWORD', getenv_docker('PW', 'example password'));`},
		Options{LookupEnv: env(map[string]string{"PW_FILE": "/run/secrets/pw"})})
	if why, ok := c.Why("DB_PASSWORD"); !ok || !strings.Contains(why, "cannot read the file") {
		t.Errorf("Why = %q, %v; constants %v", why, ok, c.Constants)
	}
}

func TestHelpers(t *testing.T) {
	c := mustLoad(t, map[string]string{"wp-config.php": `<?php define('S','0'); define('N', 2080); define('T', true); define('Z', null);
define('AUTH_KEY','a'); define('SECRET_KEY', 7); define('NONCE_SALT', secret()); define('SUNRISE', secret());`}, Options{})
	if s, ok := c.String("N"); s != "2080" || !ok {
		t.Errorf("String(N) = %q, %v", s, ok)
	}
	if s, ok := c.String("NONCE_SALT"); ok {
		t.Errorf("String of an unknown constant = %q", s)
	}
	if n, ok := c.Int("N"); n != 2080 || !ok {
		t.Errorf("Int(N) = %d, %v", n, ok)
	}
	if _, ok := c.Int("NOPE"); ok {
		t.Error("Int of an undefined constant is ok")
	}
	if c.Bool("S") || !c.Bool("T") || c.Bool("Z") || c.Bool("NOPE") {
		t.Error("Bool does not follow PHP's truth")
	}
	if diff := cmp.Diff(map[string]string{"AUTH_KEY": "a", "SECRET_KEY": "7"}, c.SaltConstants()); diff != "" {
		t.Errorf("SaltConstants (-want +got):\n%s", diff)
	}
	if _, known := c.Constants["SUNRISE"]; known || !c.Defined("SUNRISE") || !c.Multisite() {
		t.Error("SUNRISE is defined with an unknown value, which makes a multisite")
	}
}

func TestMultisite(t *testing.T) {
	tests := map[string]bool{
		"": false, "define('MULTISITE', true);": true, "define('MULTISITE', false); define('SUBDOMAIN_INSTALL', true);": false,
		"define('SUBDOMAIN_INSTALL', false);": true, "define('VHOST', 'no');": true, "define('WP_ALLOW_MULTISITE', true);": false,
	}
	for src, want := range tests {
		c := mustLoad(t, map[string]string{"wp-config.php": "<?php " + src}, Options{})
		if got := c.Multisite(); got != want {
			t.Errorf("%s Multisite() = %v, want %v", src, got, want)
		}
	}
}
