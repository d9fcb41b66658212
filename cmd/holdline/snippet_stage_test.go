package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"holdline/internal/freeport"
)

// stage is a site with a real web server in front: "PHP" (FastCGI) and
// "Holdline", both of this test, and the rule that `holdline snippet` prints.
type stage struct {
	t        *testing.T
	dir      string // for the web server's files; others may read it
	public   string // host:port of the web server
	inner    string // host:port of its door for Holdline
	php      string // host:port of FastCGI
	address  string // of Holdline: host:port, or unix:/path
	holdline *httptest.Server
	held     chan struct{} // one for each request that Holdline holds
	ran      atomic.Int32  // requests that PHP ran
	client   *http.Client
}

func newStage(t *testing.T, socket bool) *stage {
	t.Helper()
	free, err := freeport.Addresses(3)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, dir: t.TempDir(), public: free[0], inner: free[1], address: free[2],
		held: make(chan struct{}, 16), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, dir := range []string{s.dir, filepath.Dir(s.dir)} { // the web server's workers are nobody
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if socket {
		s.address = "unix:" + s.dir + "/holdline.sock"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.php = l.Addr().String()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fcgi.Serve(l, http.HandlerFunc(s.servePHP)) // ends when l is closed
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	s.revive()
	t.Cleanup(s.kill)
	return s
}

// servePHP tells what it got. The companion plugin's file is run by real PHP.
func (s *stage) servePHP(w http.ResponseWriter, r *http.Request) {
	env := fcgi.ProcessEnv(r)
	if strings.HasSuffix(env["SCRIPT_FILENAME"], "/holdline.php") { // the URL stays the browser's
		s.serveWayBack(w, env)
		return
	}
	s.ran.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err) // the web server did not send what it promised
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	if strings.Contains(string(body), "action=maintenance") {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	fmt.Fprintf(w, "PHP %s %s from %s https %t: %s", r.Method, r.Host, from, r.TLS != nil, short(string(body)))
}

// short is a text in which a long body can be told from a shortened one.
func short(s string) string {
	if len(s) < 100 {
		return s
	}
	return fmt.Sprintf("%s…%d", s[:30], len(s))
}

func (s *stage) serveWayBack(w http.ResponseWriter, env map[string]string) {
	input, err := json.Marshal([]any{[]any{"holdline_way_back", []any{env}}})
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("php", "../../wordpress/testdata/call.php")
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.Output()
	var answers []wayBack
	if err != nil || json.Unmarshal(out, &answers) != nil {
		panic(fmt.Sprint("php: ", err, string(out)))
	}
	if answers[0].location != "" {
		w.Header().Set("Location", answers[0].location)
	}
	w.WriteHeader(answers[0].status)
}

// wayBack is what holdline_way_back returns: [status, location].
type wayBack struct {
	status   int
	location string
}

func (b *wayBack) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&b.status, &b.location})
}

// serveHoldline is a gateway as far as a web server sees it.
func (s *stage) serveHoldline(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/holdline/v1/sse":
		io.WriteString(w, "data: one\n\n")
		http.NewResponseController(w).Flush()
		s.held <- struct{}{}
		<-r.Context().Done() // the client has read the event and left, or this is over
		return
	case r.URL.Path == "/holdline/v1/ws":
		s.serveEcho(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	form, _ := url.ParseQuery(string(body))
	switch form.Get("action") {
	case "wplc_call_to_server_visitor", "held_message":
		s.held <- struct{}{}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "refused":
		if r.Header.Get("X-Holdline-Fallback") == "accel" {
			w.Header().Set("X-Accel-Redirect", "@holdline_php")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.forward(w, r, body)
}

// forward hands a request to PHP by the inner door.
func (s *stage) forward(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Header.Get("X-Holdline-Forwarded") != "" {
		http.Error(w, "round and round", http.StatusLoopDetected)
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", s.inner
			for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"} {
				p.Out.Header[name] = p.In.Header[name]
			}
			p.Out.Host = p.In.Header.Get("X-Forwarded-Host")
			p.Out.Header.Set("X-Holdline-Forwarded", "1")
		},
		ModifyResponse: func(a *http.Response) error {
			a.Header.Set("X-Through", "holdline")
			return nil
		},
	}).ServeHTTP(w, r)
}

func (s *stage) serveEcho(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
		http.Error(w, "no upgrade", http.StatusUpgradeRequired)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	line, err := rw.ReadString('\n')
	if err == nil {
		io.WriteString(conn, "echo "+line)
	}
}

// revive starts Holdline at its address.
func (s *stage) revive() {
	s.t.Helper()
	var l net.Listener
	var err error
	if path, ok := strings.CutPrefix(s.address, "unix:"); !ok {
		l, err = net.Listen("tcp", s.address)
	} else if l, err = net.Listen("unix", path); err == nil {
		l.(*net.UnixListener).SetUnlinkOnClose(false) // nor does kill -9
		err = os.Chmod(path, 0o777)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.holdline = httptest.NewUnstartedServer(http.HandlerFunc(s.serveHoldline))
	s.holdline.Listener.Close()
	s.holdline.Listener = l
	s.holdline.Start()
}

// kill ends Holdline as kill -9 would: the listener first, then every request.
func (s *stage) kill() {
	s.holdline.Listener.Close()
	s.holdline.CloseClientConnections()
	s.holdline.Close()
}

// webServer finds one also for users whose PATH has no /usr/sbin.
func webServer(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}

// start runs a web server in the foreground until the test ends, and returns
// when its log says that it is ready.
func (s *stage) start(ready string, name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(webServer(name), args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("this test needs %s; .ci/install has the package: %v", name, err)
	}
	var said strings.Builder
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			s.t.Fatalf("%s did not start: %v\n%s", name, errors.Join(err, cmd.Wait()), said.String())
		}
		if strings.Contains(line, ready) {
			break
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(&said, lines) // ends with the process
	}()
	s.t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			s.t.Errorf("stop %s: %v", name, err)
		}
		<-ended
		cmd.Wait() // it was interrupted
		if s.t.Failed() {
			s.t.Log(said.String())
		}
	})
}

// answer is what a browser got.
type answer struct {
	status  int
	body    string
	through string // "holdline" when it came that way
	ran     int    // times PHP ran for it
}

// post sends a form as the plugin's script would, from behind a proxy that tells
// another address.
func (s *stage) post(form string) answer {
	s.t.Helper()
	return s.send(s.public, form, nil)
}

func (s *stage) send(to, form string, header http.Header) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+to+"/wp-admin/admin-ajax.php", strings.NewReader(form))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = "example.com"
	maps.Copy(r.Header, header)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	r.Header.Set("X-Forwarded-For", "192.0.2.9")
	before := s.ran.Load()
	a, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{a.StatusCode, string(body), a.Header.Get("X-Through"), int(s.ran.Load() - before)}
}

// postAndKill sends a form that Holdline holds, and kills Holdline then.
func (s *stage) postAndKill(form string) answer {
	s.t.Helper()
	got := make(chan answer, 1)
	go func() { got <- s.post(form) }()
	select {
	case a := <-got:
		s.t.Fatalf("%s was not held: %+v", form, a)
	case <-s.held:
	}
	s.kill()
	return <-got
}
