package wpconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIncludesThatCannotBeFollowed(t *testing.T) {
	chain := map[string]string{"wp-config.php": "<?php require __DIR__.'/0.php'; defined('DB_NAME') || define('DB_NAME','guess');"}
	for i := range maxIncludeDepth + 2 {
		chain[fmt.Sprintf("%d.php", i)] = fmt.Sprintf("<?php require __DIR__.'/%d.php';", i+1)
	}
	tests := []struct {
		name  string
		files map[string]string
		why   string
	}{
		{"required but missing", map[string]string{"wp-config.php": "<?php require 'gone.php'; defined('DB_NAME') || define('DB_NAME','guess');"}, "gone.php"},
		{"path from a function", map[string]string{"wp-config.php": "<?php require where() . '/x.php'; defined('DB_NAME') || define('DB_NAME','guess');"}, "whose path is only known"},
		{"outside the roots", map[string]string{"wp-config.php": "<?php require '/etc/x.php'; defined('DB_NAME') || define('DB_NAME','guess');", "/etc/x.php": "<?php define('DB_NAME','outside');"}, "outside the folders"},
		{"outside by dots", map[string]string{"wp-config.php": "<?php require __DIR__.'/../../etc/x.php'; defined('DB_NAME') || define('DB_NAME','guess');", "/etc/x.php": "<?php define('DB_NAME','outside');"}, "outside the folders"},
		{"a cycle", map[string]string{"wp-config.php": "<?php require 'a.php'; defined('DB_NAME') || define('DB_NAME','guess');", "a.php": "<?php require 'b.php';", "b.php": "<?php require 'a.php';"}, "includes itself"},
		{"too deep", chain, "levels deep"},
		{"not PHP", map[string]string{"wp-config.php": "<?php require 'a.php'; defined('DB_NAME') || define('DB_NAME','guess');", "a.php": "<?php if (1) { define('A', 'b"}, "never closed"},
		{"too large", map[string]string{"wp-config.php": "<?php require 'a.php'; defined('DB_NAME') || define('DB_NAME','guess');", "a.php": strings.Repeat(" ", maxFileSize+1)}, "larger than"},
		{"eval of the unknown", map[string]string{"wp-config.php": "<?php eval(code()); defined('DB_NAME') || define('DB_NAME','guess');"}, "eval()"},
		{"a name that changes in a loop", map[string]string{"wp-config.php": "<?php $n = 'FIRST'; while (f()) { define($n, 1); $n = 'DB_NAME'; } defined('DB_NAME') || define('DB_NAME','guess');"}, "rounds of this loop"},
		{"a computed name", map[string]string{"wp-config.php": "<?php foreach (all() as $k => $v) define($k, $v); defined('DB_NAME') || define('DB_NAME','guess');"}, "all()"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.files, Options{})
			if why, ok := c.Why("*"); !ok || !strings.Contains(why, tt.why) {
				t.Errorf("Why(*) = %q, %v", why, ok)
			}
			for _, name := range []string{"DB_NAME", "DB_PASSWORD", "$table_prefix", "NONCE_SALT"} {
				if _, ok := c.Why(name); !ok {
					t.Errorf("%s is not reported though it may be set out of sight; constants %v", name, c.Constants)
				}
			}
		})
	}
}

func TestIncludesThatAreFollowed(t *testing.T) {
	c := mustLoad(t, map[string]string{
		"wp-config.php": `<?php
if (!(@include __DIR__ . '/local.php')) define('LOCAL', 'no');
$db = require 'conf/db.php';
require_once 'conf/once.php'; require_once __DIR__ . '/conf/../conf/once.php';
define('DB_NAME', $db['name']);
define('SECRET', trim(file_get_contents('../secret.txt')));
require dirname(__DIR__) . '/vendor/autoload.php';
require $unknown . '/wp-settings.php';
define('AFTER', 1);`,
		"conf/db.php":   "<?php return ['name' => 'from-' . basename(__FILE__)];",
		"conf/once.php": "<?php $n = ($n ?? 0) + 1; define('N' . $n, __DIR__);",
		"../secret.txt": "s3cret\n",
	}, Options{Roots: []string{"/srv"}})
	want := map[string]any{"LOCAL": "no", "DB_NAME": "from-db.php", "N1": "/srv/site/conf", "SECRET": "s3cret"}
	if diff := cmp.Diff(want, c.Constants); diff != "" {
		t.Errorf("constants (-want +got):\n%s", diff)
	}
	if len(c.Unresolved) > 0 {
		t.Errorf("unresolved: %v", c.Unresolved)
	}
	wantFiles := []string{"/srv/site/wp-config.php", "/srv/site/local.php", "/srv/site/conf/db.php", "/srv/site/conf/once.php", "/srv/secret.txt"}
	if diff := cmp.Diff(wantFiles, c.Files); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}
}

func TestIncludeOnceAfterAPossibleInclude(t *testing.T) {
	c := mustLoad(t, map[string]string{
		"wp-config.php": "<?php if (f()) require_once 'db.php'; require_once 'db.php';",
		"db.php":        "<?php define('DB_NAME', 'certain');",
	}, Options{})
	if name, _ := c.String("DB_NAME"); name != "certain" {
		t.Errorf("DB_NAME %q, unresolved %v", name, c.Unresolved)
	}
}

func TestAbsPathComesFromWPLoad(t *testing.T) {
	files := map[string]string{
		"wp-config.php": "<?php defined('ABSPATH') || define('ABSPATH', '/own/'); require_once ABSPATH . 'wp-settings.php';",
	}
	if got, _ := mustLoad(t, files, Options{}).String("ABSPATH"); got != "/own/" {
		t.Errorf("without wp-load.php: %q", got)
	}
	if got, _ := mustLoad(t, files, Options{AbsPath: "/given/"}).String("ABSPATH"); got != "/given/" {
		t.Errorf("with an option: %q", got)
	}
	files["wp-load.php"] = ""
	if got, _ := mustLoad(t, files, Options{}).String("ABSPATH"); got != "/srv/site/" {
		t.Errorf("beside wp-load.php: %q", got)
	}
}

func TestBedrock(t *testing.T) {
	files := map[string]string{
		"/srv/b/web/wp-config.php": "<?php\nrequire_once dirname(__DIR__) . '/vendor/autoload.php';\nrequire_once dirname(__DIR__) . '/config/application.php';\nrequire_once ABSPATH . 'wp-settings.php';\n",
		"/srv/b/config/application.php": `<?php
use Roots\WPConfig\Config;
use function Env\env;
Env\Env::$options = 31;
$root = dirname(__DIR__);
$names = file_exists($root . '/.env.local') ? ['.env', '.env.local'] : ['.env'];
$store = Dotenv\Repository\RepositoryBuilder::createWithNoAdapters()->addAdapter(Dotenv\Repository\Adapter\PutenvAdapter::class)->immutable()->make();
$dotenv = Dotenv\Dotenv::create($store, $root, $names, false);
$dotenv->load();
$dotenv->required(['WP_HOME']);
define('WP_ENV', env('WP_ENV') ?: 'production');
Config::define('WP_HOME', env('WP_HOME'));
Config::define('DIR', $root . Config::get('WP_HOME'));
if (env('DB_SSL')) { Config::define('MYSQL_CLIENT_FLAGS', MYSQLI_CLIENT_SSL); }
Config::define('DB_NAME', env('DB_NAME'));
Config::define('DB_PASSWORD', env('DB_PASSWORD'));
Config::define('DB_HOST', env('DB_HOST') ?: 'localhost');
$table_prefix = env('DB_PREFIX') ?: 'wp_';
if (env('DATABASE_URL')) {
	$dsn = (object) parse_url(env('DATABASE_URL'));
	Config::define('DB_NAME', substr($dsn->path, 1));
	Config::define('DB_PASSWORD', isset($dsn->pass) ? $dsn->pass : null);
	Config::define('DB_HOST', isset($dsn->port) ? "{$dsn->host}:{$dsn->port}" : $dsn->host);
}
Config::define('AUTH_KEY', env('AUTH_KEY'));
$more = __DIR__ . '/environments/' . WP_ENV . '.php';
if (file_exists($more)) { require_once $more; }
Config::apply();
if (!defined('ABSPATH')) { define('ABSPATH', $root . '/web/wp/'); }
`,
		"/srv/b/config/environments/staging.php": "<?php use Roots\\WPConfig\\Config; Config::define('DIR', 'staging');",
		"/srv/b/.env":                            "# comment\nWP_ENV=staging\nexport DB_NAME='raw ${X}'\nDB_PASSWORD=\"a\\\"b \\$c\n${WP_ENV}\" # why\nDB_SSL=true\nWP_HOME=https://e.test\nAUTH_KEY=0123\nDB_HOST=db\n",
		"/srv/b/.env.local":                      "DB_HOST=local:3307\r\nDB_PREFIX=bad_\r\n",
	}
	tests := []struct {
		name   string
		env    map[string]string
		want   map[string]any
		prefix string
	}{
		{"files, the local one last, the real environment first", map[string]string{"DB_PREFIX": "real_"}, map[string]any{
			"WP_ENV": "staging", "WP_HOME": "https://e.test", "DIR": "staging", "MYSQL_CLIENT_FLAGS": int64(2048), "DB_NAME": "raw ${X}",
			"DB_PASSWORD": "a\"b $c\nstaging", "DB_HOST": "local:3307", "AUTH_KEY": int64(123), "ABSPATH": "/srv/b/web/wp/",
		}, "real_"},
		{"DATABASE_URL beats the rest", map[string]string{"DATABASE_URL": "mysql://u:p%40w@h:3308/name", "WP_ENV": "x", "DB_SSL": "false"}, map[string]any{
			"WP_ENV": "x", "WP_HOME": "https://e.test", "DIR": "/srv/bhttps://e.test", "DB_NAME": "name", "DB_PASSWORD": "p%40w",
			"DB_HOST": "h:3308", "AUTH_KEY": int64(123), "ABSPATH": "/srv/b/web/wp/",
		}, "bad_"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load("/srv/b/web/wp-config.php", Options{FS: site(files), LookupEnv: env(tt.env)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Constants); diff != "" {
				t.Errorf("constants (-want +got):\n%s", diff)
			}
			if c.TablePrefix != tt.prefix || len(c.Unresolved) > 0 {
				t.Errorf("prefix %q, unresolved %v", c.TablePrefix, c.Unresolved)
			}
		})
	}
}

func TestDotenvThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{
		"open quote": "A='x", "open double quote": "A=\"x\\", "text after the value": "A=x y", "bad name": "A-B=x", "unknown escape": `A="\q"`,
		"growing without end": "A=0123456789abcdef" + strings.Repeat("\nA=${A}${A}", 40),
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, map[string]string{".env": text, "wp-config.php": "<?php Dotenv\\Dotenv::createImmutable(__DIR__)->load(); define('DB_HOST', env('DB_HOST') ?: 'guess');"}, Options{})
			if why, ok := c.Why("DB_HOST"); !ok || !strings.Contains(why, "cannot read /srv/site/.env: line ") {
				t.Errorf("Why = %q, %v; constants %v", why, ok, c.Constants)
			}
		})
	}
}

func TestDebianPicksTheFileByHost(t *testing.T) {
	// The statements of Debian's /usr/share/wordpress/wp-config.php that decide.
	files := map[string]string{
		"/usr/share/wordpress/wp-load.php": "",
		"/usr/share/wordpress/wp-config.php": `<?php
$server = preg_replace('/:.*/', "", $_SERVER['HTTP_HOST']);
$server = preg_replace("/[^a-zA-Z0-9.\-]/", "", $server);
$own = isset($_SERVER['WORDPRESS_CONFIG']) && preg_match("/^[a-zA-Z0-9-]+$/", $_SERVER['WORDPRESS_CONFIG'])
	? '/etc/wordpress/config-' . $_SERVER['WORDPRESS_CONFIG'] . '.php' : '/etc/wordpress/config-' . strtolower($server) . '.php';
$main = '/etc/wordpress/config-' . strtolower(preg_replace("/^[^.]*\./", "", $server)) . '.php';
if (file_exists($own)) { require_once($own); }
elseif (file_exists($main)) { require_once($main); }
elseif (file_exists("/etc/wordpress/config-default.php")) { require_once("/etc/wordpress/config-default.php"); }
else { header("HTTP/1.0 404 Not Found"); exit(1); }
if (!defined('DB_NAME')) define('DB_NAME', 'wordpress');
if (!isset($table_prefix)) { $table_prefix = 'wp_'; }
require_once(ABSPATH . 'wp-settings.php');`,
		"/etc/wordpress/config-default.php":      "<?php define('DB_NAME', 'default');",
		"/etc/wordpress/config-example.com.php":  "<?php $table_prefix = 'main_';",
		"/etc/wordpress/config-a.other.test.php": "<?php define('DB_NAME', 'other');",
		"/etc/wordpress/config-chosen.php":       "<?php define('DB_NAME', 'chosen');",
	}
	for host, want := range map[string]string{
		"A.other.test:8080": "other wp_", "blog.example.com": "wordpress main_", "x.test": "default wp_", "": "default wp_",
	} {
		c, err := Load("/usr/share/wordpress/wp-config.php", Options{FS: site(files), Request: map[string]string{"HTTP_HOST": host}})
		if err != nil {
			t.Fatal(err)
		}
		name, _ := c.String("DB_NAME")
		if got := name + " " + c.TablePrefix; got != want {
			t.Errorf("host %q: %q, want %q; unresolved %v", host, got, want, c.Unresolved)
		}
	}
	c, err := Load("/usr/share/wordpress/wp-config.php", Options{FS: site(files), LookupEnv: env(map[string]string{"WORDPRESS_CONFIG": "chosen"})})
	if name, _ := c.String("DB_NAME"); err != nil || name != "chosen" {
		t.Errorf("WORDPRESS_CONFIG: DB_NAME %q, %v, unresolved %v", name, err, c.Unresolved)
	}
	if c, err = Load("/usr/share/wordpress/wp-config.php", Options{FS: site(files)}); err != nil {
		t.Fatal(err)
	}
	if why, ok := c.Why("DB_NAME"); !ok || !strings.Contains(why, "HTTP_HOST") {
		t.Errorf("without a request: Why = %q, %v; constants %v", why, ok, c.Constants)
	}
}

func TestLoadFromDisk(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return full
	}
	real := write("release/wp-config.php", "<?php require __DIR__ . '/db.php';")
	write("release/db.php", "<?php define('DB_NAME', 'disk');")
	link := filepath.Join(dir, "www", "wp-config.php")
	if err := os.Mkdir(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	c, err := Load(link, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := c.String("DB_NAME"); name != "disk" {
		t.Errorf("__DIR__ does not follow the link: %v %v", c.Constants, c.Unresolved)
	}
	if !slices.Contains(c.Files, link) {
		t.Errorf("Files %v lack the link, whose change matters", c.Files)
	}
	if _, err := Load(filepath.Join(dir, "none.php"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	wp := filepath.Join(dir, "public")
	if err := os.Mkdir(wp, 0o755); err != nil {
		t.Fatal(err)
	}
	touch := func(name string) string {
		t.Helper()
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if _, err := Find(wp); err == nil || !strings.Contains(err.Error(), "set wordpress.config") {
		t.Errorf("nothing to find: %v", err)
	}
	above := touch(filepath.Join(dir, "wp-config.php"))
	if got, err := Find(wp); err != nil || got != above {
		t.Errorf("Find = %q, %v, want the parent's", got, err)
	}
	touch(filepath.Join(dir, "wp-settings.php"))
	if _, err := Find(wp); err == nil || !strings.Contains(err.Error(), "another WordPress") {
		t.Errorf("the parent is another installation: %v", err)
	}
	own := touch(filepath.Join(wp, "wp-config.php"))
	if got, err := Find(wp); err != nil || got != own {
		t.Errorf("Find = %q, %v, want its own", got, err)
	}
}
