package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"
	"testing/fstest"
)

// rule is what `holdline snippet` prints for a stage.
func (s *stage) rule(kind string) string {
	s.t.Helper()
	code, rule, stderr := holdline("snippet", kind, "--listen", s.address, "--php", s.php, "--root", s.dir,
		"--wordpress-url", "http://example.com", "--wordpress-upstream", "http://"+s.inner)
	if code != 0 {
		s.t.Fatal(stderr)
	}
	return rule
}

// write puts files into the stage's folder.
func (s *stage) write(files fstest.MapFS) {
	s.t.Helper()
	if err := os.CopyFS(s.dir, files); err != nil {
		s.t.Fatal(err)
	}
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o644} }

// check runs a web server's own test of its configuration.
func (s *stage) check(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(webServer(name), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// nginx starts nginx with the rule in the places that it names.
func nginx(t *testing.T, socket bool) *stage {
	t.Helper()
	s := newStage(t, socket)
	http, server, ok := strings.Cut(s.rule("nginx"), "# --- In the site's server block")
	if !ok {
		t.Fatal("the rule has no second part")
	}
	params, err := os.ReadFile("/etc/nginx/fastcgi_params")
	if err != nil {
		t.Fatal(err)
	}
	root := ""
	if os.Getuid() == 0 {
		root = "user root;"
	}
	s.write(fstest.MapFS{
		"fastcgi_params": text(string(params)), "http.conf": text(http), "server.conf": text("#" + server),
		"nginx.conf": text(root + `
daemon off; pid nginx.pid; error_log stderr notice;
events {}
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	client_max_body_size 8m;
	include http.conf;
	server {
		listen ` + s.public + `;
		server_name example.com;
		root ` + s.dir + `;
		error_page 500 502 503 504 /50x.html;
		include server.conf;
	}
}`),
	})
	s.check("nginx", "-t", "-p", s.dir, "-c", "nginx.conf", "-e", "stderr")
	s.start("start worker process ", "nginx", "-p", s.dir, "-c", "nginx.conf", "-e", "stderr")
	return s
}

func apache(t *testing.T, socket bool) *stage   { return startApache(t, "apache", socket) }
func htaccess(t *testing.T, socket bool) *stage { return startApache(t, "htaccess", socket) }

// startApache starts Apache: with the rule in its configuration, or as .htaccess.
func startApache(t *testing.T, kind string, socket bool) *stage {
	t.Helper()
	s := newStage(t, socket)
	rule := s.rule(kind)
	handler := `<FilesMatch "\.php$">
	SetHandler "proxy:fcgi://` + s.php + `"
</FilesMatch>
`
	inner, site := "", ""
	files := fstest.MapFS{"wp-admin/admin-ajax.php": text(""), "wp-content/mu-plugins/holdline.php": text("")}
	if kind == "htaccess" {
		files[".htaccess"] = text(rule)
		inner = "Listen " + s.inner + "\n" + apacheHost(s.inner, s.dir, handler)
	} else {
		var ok bool
		if inner, site, ok = strings.Cut(rule, "# --- 2."); !ok {
			t.Fatal("the rule has no second part")
		}
	}
	files["httpd.conf"] = text(apacheModules() + `
ServerName example.com
PidFile ` + s.dir + `/apache.pid
DefaultRuntimeDir ` + s.dir + `
ErrorLog /dev/stderr
LogLevel notice
Listen ` + s.public + "\n" + inner + `
` + apacheHost(s.public, s.dir, handler+"#"+site))
	s.write(files)
	s.check("apachectl", "-t", "-f", s.dir+"/httpd.conf")
	s.start("resuming normal operations", "apache2", "-D", "FOREGROUND", "-f", s.dir+"/httpd.conf")
	return s
}

// apacheHost is a WordPress site's virtual host.
func apacheHost(address, dir, more string) string {
	return fmt.Sprintf(`<VirtualHost %s>
DocumentRoot %q
<Directory %q>
	AllowOverride All
	Require all granted
</Directory>
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
%s
</VirtualHost>
`, address, dir, dir, more)
}

// apacheModules loads what the rules name, and what any Apache has.
func apacheModules() string {
	var b strings.Builder
	for _, name := range strings.Fields(`mpm_event authz_core dir setenvif rewrite headers env remoteip slotmem_shm
		proxy proxy_http proxy_fcgi proxy_wstunnel proxy_balancer lbmethod_byrequests`) {
		fmt.Fprintf(&b, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
	}
	if _, err := user.Lookup("nobody"); err == nil && os.Getuid() == 0 {
		b.WriteString("User nobody\nGroup #65534\n")
	}
	return b.String()
}

const (
	poll    = "action=wplc_call_to_server_visitor&cid=41&msg=%C3%A9"
	message = "action=wplc_user_send_msg&cid=41&msg=hi"
	byPHP   = "PHP POST example.com from 192.0.2.9 https false: "
)

// fronts are the web servers that rules are tested with.
var fronts = map[string]func(t *testing.T, socket bool) *stage{"nginx": nginx, "apache": apache, "htaccess": htaccess}

func TestProxyRules(t *testing.T) {
	for name, start := range fronts {
		for _, socket := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " to a socket"}[socket], func(t *testing.T) {
				s := start(t, socket)
				s.expect("a message", s.post(message), answer{200, byPHP + message, "holdline", 1})
				s.expectStreams()
				s.expect("a poll when Holdline dies", s.postAndKill(poll), answer{200, byPHP + poll, "", 1})
				big := "action=upload&data=" + strings.Repeat("0123456789", 300_000)
				for _, form := range []string{poll, message, big} {
					s.expect("a request when it is dead", s.post(form), answer{200, byPHP + short(form), "", 1})
				}
				s = start(t, socket)
				s.expect("PHP's own 503", s.post("action=maintenance"), answer{503, byPHP + "action=maintenance", "holdline", 1})
			})
		}
	}
}

func TestInnerDoor(t *testing.T) {
	for name, start := range fronts {
		t.Run(name, func(t *testing.T) {
			s := start(t, false)
			forwarded := http.Header{"X-Holdline-Forwarded": {"1"}, "X-Forwarded-Proto": {"https"}}
			if name != "htaccess" { // there, the inner door is the site's own affair
				https := strings.Replace(byPHP, "false", "true", 1)
				s.expect("inside", s.send(s.inner, message, forwarded), answer{200, https + message, "", 1})
			}
			if name != "apache" { // there, the inner door alone leads to PHP
				s.expect("outside", s.send(s.public, message, forwarded), answer{200, byPHP + message, "", 1})
			}
		})
	}
}

func TestNginxAsksNothingTwice(t *testing.T) {
	s := nginx(t, false)
	s.expect("a request that Holdline gives back", s.post("action=refused&x=1"), answer{200, byPHP + "action=refused&x=1", "", 1})
	if a := s.postAndKill("action=held_message&msg=hi"); a.status != 502 || a.ran != 0 {
		t.Errorf("a message on its way when Holdline dies: %+v", a)
	}
	s.revive()
	s.expect("after its return", s.post(message), answer{200, byPHP + message, "holdline", 1})
}

func TestApacheRestsAfterRefusal(t *testing.T) {
	s := apache(t, false)
	if a := s.post("action=refused"); a.status != 503 || a.ran != 0 {
		t.Errorf("the refused request: %+v", a)
	}
	s.expect("the next one", s.post(message), answer{200, byPHP + message, "", 1})
}

func (s *stage) expect(what string, got, want answer) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// expectStreams wants an event before the stream has ended, and an upgrade.
func (s *stage) expectStreams() {
	s.t.Helper()
	a, err := s.client.Get("http://" + s.public + "/holdline/v1/sse")
	if err != nil {
		s.t.Fatal(err)
	}
	event := make([]byte, len("data: one\n\n"))
	if _, err := io.ReadFull(a.Body, event); err != nil || string(event) != "data: one\n\n" {
		s.t.Errorf("the stream says %q: %v", event, err)
	}
	a.Body.Close()
	<-s.held

	conn, err := net.Dial("tcp", s.public)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /holdline/v1/ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	r := bufio.NewReader(conn)
	up, err := http.ReadResponse(r, nil)
	if err != nil || up.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("upgrade: %+v, %v", up, err)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		s.t.Errorf("the socket says %q: %v", line, err)
	}
}
