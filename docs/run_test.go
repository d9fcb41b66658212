//go:build linux

package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"holdline/docs/protocol"
	"holdline/e2e/backstage"
)

// runners know what to do with a block of a language.
var runners = map[string]func(s *stage, b *block){
	"sh":     (*stage).runSh,
	"sql":    (*stage).runSQL,
	"yaml":   (*stage).runYAML,
	"json":   (*stage).runJSON,
	"html":   (*stage).runHTML,
	"js":     (*stage).runJS,
	"php":    (*stage).runPHP,
	"cron":   (*stage).runCron,
	"nginx":  (*stage).runNginx,
	"apache": (*stage).runApache,
	"go":     func(*stage, *block) {}, // TestPluginExampleIsLive
	"text":   func(*stage, *block) {}, // drawings and what programs print
}

// Every block of every page does what the page says, in the page's order.
func TestEverySnippetRuns(t *testing.T) {
	total := 0
	for _, page := range pages(t) {
		list := blocks(t, page)
		for _, b := range list {
			if !b.has("no-run") {
				total++
			}
		}
		if len(list) == 0 {
			continue
		}
		t.Run(page, func(t *testing.T) {
			s := newStage(t)
			for _, b := range list {
				run := runners[b.lang]
				switch {
				case run == nil:
					t.Errorf("%v: nobody knows what to do with a block of %q", b, b.lang)
				case b.has("no-run"):
					if b.attrs["reason"] == "" {
						t.Errorf("%v is not run, and does not say why", b)
					}
				default:
					run(s, b)
				}
			}
		})
	}
	if total < 30 {
		t.Errorf("only %d blocks were run", total)
	}
}

// What is not run is little, and known.
func TestWhatIsNotRun(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.has("no-run") {
				n++
				t.Logf("%v is not run: %s", b, b.attrs["reason"])
			}
			for _, target := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(b.text, -1) {
				if out, err := exec.Command("make", "-n", "-C", "..", target[1]).CombinedOutput(); err != nil {
					t.Errorf("%v: %v: %s", b, err, out)
				}
			}
		}
	}
	if n > 12 {
		t.Errorf("%d blocks are not run, that are too many to believe", n)
	}
}

// runSh runs commands; a block with the word background is one that goes on.
func (s *stage) runSh(b *block) {
	s.Helper()
	if b.has("background") {
		s.serveHoldline(b.text)
		return
	}
	text := b.text
	if code := b.attrs["exits"]; code != "" { // on the stage, which has no PHP
		text = "code=0; (" + text + "\n) || code=$?; test $code = " + code
	}
	if path, ok := b.attrs["successor"]; ok {
		s.replaces(b, path)
		return
	}
	out := s.sh(b.String(), text)
	if want := b.attrs["prints"]; !strings.Contains(out, want) {
		s.Errorf("%v prints no %q: %s", b, want, out)
	}
}

// replaces runs commands after which another process serves.
func (s *stage) replaces(b *block, pidFile string) {
	s.Helper()
	before := s.pid(pidFile)
	s.sh(b.String(), b.text)
	backstage.Eventually(s, "the successor serves", time.Minute, func() bool { return s.pid(pidFile) != before })
	backstage.AwaitReady(s, s.admin)
	backstage.Eventually(s, "the predecessor has left", time.Minute, func() bool { return syscall.Kill(before, 0) != nil })
}

// pid is the number in a file.
func (s *stage) pid(file string) int {
	s.Helper()
	path := s.words.Replace(file)
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.home, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.Fatal(err)
	}
	return pid
}

func (s *stage) runSQL(b *block) { s.sql("wordpress", b.text) }

// runYAML writes a configuration to where its first line says, and has Holdline
// read it.
func (s *stage) runYAML(b *block) {
	s.Helper()
	if b.has("prometheus") {
		if err := yaml.Unmarshal([]byte(b.text), &struct{}{}); err != nil {
			s.Errorf("%v: %v", b, err)
		}
		return
	}
	first, _, _ := strings.Cut(b.text, "\n")
	name := strings.Fields(strings.TrimLeft(first, "# "))[0]
	name = strings.TrimRight(name, ";:,")
	path := s.words.Replace(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.home, path)
	}
	if err := os.WriteFile(path, []byte(s.words.Replace(b.text)), 0o644); err != nil {
		s.Fatal(err)
	}
	s.sh(b.String(), "holdline serve --print-config --config "+name+" > /dev/null")
}

// runJSON holds JSON against a schema of the protocol: the whole block, or each of
// its lines.
func (s *stage) runJSON(b *block) {
	s.Helper()
	schemas, err := protocol.Load()
	if err != nil {
		s.Fatal(err)
	}
	texts := []string{b.text}
	if !json.Valid([]byte(b.text)) {
		texts = strings.Split(strings.TrimSpace(b.text), "\n")
	}
	for _, text := range texts {
		if err := schemas.Check(b.attrs["schema"], []byte(text)); err != nil {
			s.Errorf("%v: %s: %v", b, text, err)
		}
	}
}

// around is a page that tells the test what happens on it. The functions are those
// that the snippets leave to their readers.
const around = `<!doctype html><meta charset="utf-8"><title>docs</title><div id="log"></div>
<script>
const tell = (...what) => fetch("/report", {method: "POST", body: JSON.stringify(what), keepalive: true});
addEventListener("error", e => tell("error", e.message));
addEventListener("unhandledrejection", e => tell("error", String(e.reason)));
console.log = (...what) => tell("log", ...what);
for (const name of ["show", "settle", "remove", "tick", "dots", "list", "note"])
  if (name !== "remove") window[name] = (...what) => tell(name, ...what);
window.remove = (...what) => tell("remove", ...what);
</script>
`

// runHTML opens a page with the block in Chromium and sees a row come to it.
func (s *stage) runHTML(b *block) {
	s.Helper()
	s.open(b, around+b.text)
}

// runJS does the same for a script, on a page with the client.
func (s *stage) runJS(b *block) {
	s.Helper()
	before := ""
	if strings.Contains(b.text, "$.") {
		before = `<script src="/jquery.js"></script><script>window.$ = jQuery</script><script src="/holdline/v1/jquery.holdline.js"></script>`
	}
	s.open(b, around+before+`<script src="/holdline/v1/client.js"></script><script>`+b.text+`</script>`)
}

func (s *stage) open(b *block, page string) {
	s.Helper()
	s.Run(fmt.Sprint("line ", b.line), func(t *testing.T) {
		outer := s.T
		s.T = t
		defer func() { s.T = outer }()
		if exec.Command("curl", "-sf", "http://"+s.admin+"/readyz").Run() != nil {
			s.serveHoldline("holdline serve --wordpress-config /var/www/html/wp-config.php")
		}
		s.mu.Lock()
		s.page, s.reports = page, nil
		s.mu.Unlock()
		backstage.Start(t, exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
			"--no-first-run", "--disable-background-networking", "--user-data-dir="+t.TempDir(), s.front+"/"))
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%v: the page said %q", b, s.reports)
			}
		})
		row := fmt.Sprintf("row for %v", b)
		backstage.Eventually(t, "the page hears of a row", 3*time.Minute, func() bool {
			s.say(row)
			time.Sleep(200 * time.Millisecond) // the browser has its turn
			return s.reported(row)
		})
		if s.reported(`["error"`) {
			t.Errorf("%v: the page says %q", b, s.reports)
		}
	})
}

// runPHP has PHP read a file.
func (s *stage) runPHP(b *block) {
	s.Helper()
	path := filepath.Join(s.dir, "block.php")
	if err := os.WriteFile(path, []byte("<?php\n"+b.text), 0o644); err != nil {
		s.Fatal(err)
	}
	s.sh(b.String(), "php -l "+path)
}

var cronLine = regexp.MustCompile(`^(?:@reboot|(?:[\d*/,-]+ ){4}[\d*/,-]+) (.+)$`)

// runCron does what cron does with a line that keeps Holdline running: at first, when
// it runs, and when it was killed.
func (s *stage) runCron(b *block) {
	s.Helper()
	s.endHoldline()
	m := cronLine.FindStringSubmatch(strings.TrimSpace(b.text))
	if m == nil {
		s.Fatalf("%v: cron does not understand %q", b, b.text)
	}
	for _, when := range []string{"at first", "while it runs", "after a crash"} {
		if when == "after a crash" {
			pid := s.pid("holdline.pid")
			backstage.Eventually(s, "it is dead", time.Minute, func() bool { return syscall.Kill(pid, syscall.SIGKILL) != nil })
		}
		// cron gives little: sh, HOME and a short PATH.
		cmd := exec.Command("/bin/sh", "-c", s.words.Replace(m[1]))
		cmd.Dir = s.home
		for _, v := range s.env {
			if strings.HasPrefix(v, "HOLDLINE_") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "HOME="+s.home, "PATH=/usr/bin:/bin", "SHELL=/bin/sh")
		backstage.Start(s, cmd)
		backstage.AwaitReady(s, s.admin)
	}
	running := 0
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.Fatal(err)
	}
	for _, line := range lines {
		text, _ := os.ReadFile(line) // it may have ended
		if strings.HasPrefix(string(text), s.home+"/bin/holdline\x00serve") {
			running++
		}
	}
	if running != 1 {
		s.Errorf("%v: %d of them run", b, running)
	}
}

// runNginx puts a block into the site's server block, and has nginx read it all.
func (s *stage) runNginx(b *block) {
	s.Helper()
	conf := filepath.Join(s.dir, "nginx.conf")
	text := fmt.Sprintf(`pid %[1]s/nginx.pid; error_log stderr; events {}
		http { include %[1]s/etc/nginx/conf.d/*.conf; access_log off;
		server { listen 127.0.0.1:%[2]s; root %[1]s/var/www/html;
		%[3]s
		} }`, s.dir, port(backstage.FreeAddress(s)), s.words.Replace(b.text))
	s.put("etc/nginx/fastcgi_params", "fastcgi_param REQUEST_METHOD $request_method;\n")
	s.put("fastcgi_params", "fastcgi_param REQUEST_METHOD $request_method;\n")
	s.put("nginx.conf", text)
	s.sh(b.String(), "nginx -t -p "+s.dir+" -c "+conf)
}

// runApache puts a block where it says, and has Apache read it all.
func (s *stage) runApache(b *block) {
	s.Helper()
	var modules strings.Builder
	for _, name := range strings.Fields("mpm_event authz_core proxy proxy_http proxy_fcgi proxy_balancer lbmethod_byrequests slotmem_shm headers remoteip setenvif env rewrite alias") {
		fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
	}
	address := backstage.FreeAddress(s)
	s.put("apache.conf", fmt.Sprintf(`%[3]s
IncludeOptional %[1]s/etc/apache2/conf-available/*.conf
ServerName example.com
PidFile %[1]s/apache.pid
Listen %[2]s
ErrorLog /dev/stderr
<VirtualHost %[2]s>
DocumentRoot %[1]s/var/www/html
%[4]s
</VirtualHost>`, s.dir, address, modules.String(), s.words.Replace(b.text)))
	s.sh(b.String(), "apache2 -t -f "+filepath.Join(s.dir, "apache.conf"))
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
