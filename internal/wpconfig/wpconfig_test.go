package wpconfig

import (
	"path"
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

// TestEvaluates checks values that PHP 8.2 printed for the same source.
func TestEvaluates(t *testing.T) {
	tests := []struct {
		name string
		src  string
		want map[string]any
	}{
		{
			"escapes keep what they do not know", `define("A","\x4\x414\8\400\u{1F600}x\u0041\X41\{b}"); $x='v'; define('B',"\{$x} {$x}s $x[0] ${x} \"q\"");`,
			map[string]any{"A": "\x04A4\\8\x00😀x\\u0041A\\{b}", "B": `\{v} vs v v "q"`},
		},
		{
			"heredoc loses its indentation", "$x=['k'=>'v'];\ndefine('A', <<<\"EOT\"\n    a \\\"q\\\" {$x['k']} $x[k]\n      b\\tc\n    EOT . 'tail');\ndefine('B', <<<'E'\n  raw\\n $x\n   two\n  E);define('C', <<<E\n\nE);",
			map[string]any{"A": "a \\\"q\\\" v v\n  b\tctail", "B": "raw\\n $x\n two", "C": ""},
		},
		{
			"operators bind as in PHP", `define('A', 1 + 2 . 'x' . 3 * 4); define('B', !false && true || false); $a = false or true; define('F',$a); define('E', 7 % 3 | 8); define('H', -1 + 2 . '');`,
			map[string]any{"A": "3x12", "B": true, "F": false, "E": int64(9), "H": "1"},
		},
		{
			"loose comparison", `define('K','a'=='0');define('L',0=='a');define('M','1'=='01');define('N',null=='');define('Q','10'=='1e1');define('R',100=='1e2');`,
			map[string]any{"K": false, "L": false, "M": true, "N": true, "Q": true, "R": true},
		},
		{
			"number forms", `define('A',0x1F);define('B',017);define('C',0b11);define('D',1_000);define('E',1.5);define('F',9223372036854775807);define('J',0o17);`,
			map[string]any{"A": int64(31), "B": int64(15), "C": int64(3), "D": int64(1000), "E": 1.5, "F": int64(9223372036854775807), "J": int64(15)},
		},
		{
			"arrays are copied", `$a=['x','k'=>'v',5=>'five','six']; define('A',$a[0].$a['k'].$a[5].$a[6]); $a['n']['m']='deep'; $b=$a; $b['k']='changed'; define('B',$a['k'].$b['k'].$a['n']['m']); list($p,$q)=['1','2']; define('D',$p.$q);`,
			map[string]any{"A": "xvfivesix", "B": "vchangeddeep", "D": "12"},
		},
		{
			"switch falls through", `$e='prod'; switch($e){ case 'dev': define('A','dev'); break; case 'prod': define('A','prod'); case 'x': define('B','fall'); break; default: define('C','no'); }`,
			map[string]any{"A": "prod", "B": "fall"},
		},
		{
			"loops over a known list", `foreach (['a','b','c','d'] as $i) { if ($i==='b') continue; if ($i==='d') break; define('L'.$i, $i); }`,
			map[string]any{"La": "a", "Lc": "c"},
		},
		{
			"alternative syntax", `if (0): define('D','1'); elseif (1): define('D','2'); else: define('D','3'); endif;`,
			map[string]any{"D": "2"},
		},
		{
			"assignments in expressions", `$i=0; ++$i; $j=$i++; define('F',"$i$j"); $s = $t = 'same'; define('G',$s.$t); $u ??= 'dflt'; define('H',$u); !($x = '') && define('I','i');`,
			map[string]any{"F": "21", "G": "samesame", "H": "dflt", "I": "i"},
		},
		{
			"functions that compute", `define('A', dirname('/a/b/c/')); define('B', dirname('/a/../b')); define('C', dirname('/a/b/c',2)); define('G', substr('hello',1,3).substr('hello',-2).substr('hello',1,-1)); define('O', parse_url('mysql://u:p%40@h:33/db?x=1')['pass']); define('Q', preg_replace('/:.*/','','h:80')); define('T', dirname('x').dirname('/x').dirname('/')); define('W', md5('x').sha1('y'));`,
			map[string]any{"A": "/a/b", "B": "/a/..", "C": "/a", "G": "ellloell", "O": "p%40", "Q": "h", "T": ".//", "W": "9dd4e461268c8034f5c8564e155c67a6" + "95cb0bfd2977c761298d9624e4b4d4c72a39974a"},
		},
		{
			"classes and functions only declare", `abstract class K { const DB_NAME='no'; function define($x,$y){ define('BAD','1'); } } function f($a) { define('BAD2',$a); } define('A', \strtolower('ABC')); const C = 'c' . A, D = C;`,
			map[string]any{"A": "abc", "C": "cabc", "D": "cabc"},
		},
		{
			"text outside PHP", "?> define('X','1');\n<?php if (true): ?> text <?php define('C','3'); endif; // c ?> <?php define('D', '4'); # x ?><?PHP define('E','?>'); /* ?> */ define('F', 6)",
			map[string]any{"C": "3", "D": "4", "E": "?>", "F": int64(6)},
		},
		{
			"carriage returns end comments", "//define('X',2)\rdefine('B','a\r\nb');\r#c\rdefine('C',1);",
			map[string]any{"B": "a\r\nb", "C": int64(1)},
		},
		{"return ends the file", `define('A',1); return; define('B',2);`, map[string]any{"A": int64(1)}},
		{"wp-settings.php ends the configuration", `define('A',1); require_once(ABSPATH . 'wp-settings.php'); define('B',2);`, map[string]any{"A": int64(1)}},
		{
			"a branch that dies is not taken", `if (!isset($_SERVER['HTTP_HOST'])) { die('no'); } else { define('A','a'); } $_GET['x'] or exit; define('B','b');`,
			map[string]any{"A": "a", "B": "b"},
		},
		{"branches that agree", `if ($_SERVER['HTTPS'] === 'on') { define('A','same'); } else { define('A','same'); }`, map[string]any{"A": "same"}},
		{"a certain repetition settles a possible definition", `if ($_SERVER['HTTPS']) define('A','x'); define('A','x');`, map[string]any{"A": "x"}},
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
putenv('SET=here'); define('F', getenv('SET')); $_SERVER['OWN']='own'; define('G', $_SERVER['OWN']); define('H', getenv_docker('EMPTY', 'x'));
define('I', $_SERVER['HTTP_HOST'] ?? 'none');`}, Options{
		LookupEnv: env(map[string]string{"ONE": "1st", "NUM": "42", "YES": "TRUE", "Q": `"q"`, "EMPTY": ""}),
		Request:   map[string]string{"HTTP_HOST": "e.test"},
	})
	want := map[string]any{"A": "1st", "B": "two", "C": int64(42), "D": true, "E": "q", "F": "here", "G": "own", "H": "", "I": "e.test"}
	if diff := cmp.Diff(want, c.Constants); diff != "" {
		t.Errorf("constants (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"TWO"}, c.EnvMissing); diff != "" {
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
