package wpconfig

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHugeInput gives each limit something that would otherwise cost time or memory.
func TestHugeInput(t *testing.T) {
	var branches strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&branches, "if (f()) { define('A%d', 1); }", i)
	}
	tests := []struct {
		name, src string
		fails     bool // else the parser copes
	}{
		{"nested parentheses", "define('A', " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + ");", true},
		{"nested braces", strings.Repeat("{", 100_000), true},
		{"nested arrays", "$a = " + strings.Repeat("[", 100_000) + ";", true},
		{"unary chain", "$a = " + strings.Repeat("!", 100_000) + "1;", true},
		{"long sum", "$a = 1" + strings.Repeat("+1", 90_000) + ";", true},
		{"unclosed alternatives", strings.Repeat("if (1): ", 100), true},
		{"unclosed alternatives with rubbish between", strings.Repeat("if (1): x; elseif (?) : ", 100), false},
		{"too many tokens", strings.Repeat(";", maxTokens+1), true},
		{"interpolation in interpolation", strings.Repeat(`"{$a[`, 1000), true},
		{"many interpolations", `$x = "` + strings.Repeat("$a", 400_000) + `";`, true},
		{"doubling text", "$a = 'x';" + strings.Repeat("$a .= $a;", 1000), false},
		{"unknown branches", branches.String(), true},
		{"returning branches", strings.Repeat("$a++; if (f()) return;", 3000), false},
		{"growing reasons", strings.Repeat("$x = define($x, 1);", 20_000), false},
		{"loops in loops", "$l = [1,2,3,4,5,6,7,8,9,10];" + strings.Repeat("foreach ($l as $v) ", 100) + "$n = 1;", true},
		{"eval in eval", "$c = 'eval($c);'; eval($c);", false},
		{"a long list", "$l = explode(',', '" + strings.Repeat(",", 200_000) + "');" + strings.Repeat("$l[] = 1;", 10_000), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("/wp-config.php", []byte("<?php "+tt.src), Options{FS: fstest.MapFS{}})
			if (err != nil) != tt.fails {
				t.Errorf("error %v, want one: %v", err, tt.fails)
			}
		})
	}
}

func TestFileTooLarge(t *testing.T) {
	big := make([]byte, maxFileSize+1)
	if _, err := Parse("/wp-config.php", big, Options{FS: fstest.MapFS{}}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	for name, src := range map[string]string{
		"open single quote": "<?php define('A", "open double quote": `<?php define("A`, "open heredoc": "<?php $a = <<<X\ny", "open brace": "<?php if (1) {",
		"open interpolation": `<?php $a = "{$a`, "heredoc without label": "<?php $a = <<<\n", "bad code point": `<?php $a = "\u{zz}";`, "shell command": "<?php $a = `ls`;",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("/srv/wp-config.php", []byte(src), Options{FS: fstest.MapFS{}})
			if err == nil || errors.Is(err, errTooComplex) || !strings.Contains(err.Error(), "/srv/wp-config.php: line ") {
				t.Errorf("error %v, want one that names file and line", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	all := loadVectors(f)
	for _, v := range all.WPConfig {
		for _, text := range v.Files {
			f.Add(text, "A=b")
		}
	}
	f.Add(dockerConfig, "A='b'\nexport C=\"${A}\\n\" # d")
	f.Add("<?php Dotenv\\Dotenv::createMutable(__DIR__)->load(); include 'inc.php'; switch (f()) { case 1: break; default: return; }", "A=${A}${B}")
	f.Add("<?php foreach ($a as $k => list($x)) { if (g()) continue; try { throw $e; } catch (E $e) { eval('define(\"A\",1);'); } }", "=")
	f.Add("<?php $a[b()]['c'][] = <<<\"E\"\n  {$x->y['z']} $q[0] ${v}\n  E; unset($a['b']); fn() => 1; match(1) { default => 2 };", "A")
	f.Fuzz(func(t *testing.T, src, dotenv string) {
		fsys := fstest.MapFS{
			"srv/site/.env":    {Data: []byte(dotenv)},
			"srv/site/inc.php": {Data: []byte(src)},
		}
		c, err := Parse("/srv/site/wp-config.php", []byte(src), Options{FS: fsys})
		if err != nil {
			return
		}
		for name := range c.Constants {
			if why, ok := c.Why(name); ok {
				t.Errorf("%s has a value and is unresolved: %s", name, why)
			}
		}
		if strings.ContainsFunc(c.TablePrefix, notInPrefix) {
			t.Errorf("table prefix %q", c.TablePrefix)
		}
		c.Multisite()
		c.SaltConstants()
	})
}

func FuzzParseDBHost(f *testing.F) {
	for _, v := range loadVectors(f).DBHost {
		f.Add(v.Raw)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, ok := ParseDBHost(s)
		if !ok {
			return
		}
		if len(host.Candidates()) == 0 || host.Port < 0 {
			t.Errorf("%q gives %+v without candidates", s, host)
		}
	})
}
