package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
	"holdline/wordpress"
)

// behind starts a gateway in front of a stand-in for PHP's web server.
func behind(t *testing.T, php http.HandlerFunc) *site {
	t.Helper()
	upstream := httptest.NewServer(withoutPlugin(php))
	t.Cleanup(upstream.Close)
	return newSite(t, with(func(c *config.Config) { c.WordPress.Upstream = upstream.URL }))
}

// withoutPlugin answers Holdline's own calls as WordPress does where the companion
// plugin is not installed.
func withoutPlugin(php http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("action") == wordpress.SyncAction {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, "0")
			return
		}
		php(w, r)
	}
}

func (s *site) front() string { return "http://" + s.gw.Addr().String() }

func TestWhatIsNotOursGoesToPHPUntouched(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB, four times limits.body
	s := behind(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Add("Set-Cookie", "a=1; path=/")
		w.Header().Add("Set-Cookie", "b=2; path=/wp-admin")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("X-Query", r.URL.RawQuery)
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Type", r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusTeapot)
		w.Write(body)
	})
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		req, err := http.NewRequest(method, s.front()+"/wp-admin/admin-ajax.php?x=%2F;y", bytes.NewReader(big))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.example"
		req.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, big) {
			t.Fatalf("%s: %d bytes back, %v", method, len(got), err)
		}
		want := map[string]string{
			"X-Method": method, "X-Query": "x=%2F;y", "X-Host": "shop.example",
			"X-Type": "multipart/form-data; boundary=x", "Content-Encoding": "gzip",
		}
		for name, value := range want {
			if resp.Header.Get(name) != value {
				t.Errorf("%s: %q, want %q", name, resp.Header.Get(name), value)
			}
		}
		if diff := cmp.Diff([]string{"a=1; path=/", "b=2; path=/wp-admin"}, resp.Header["Set-Cookie"]); diff != "" {
			t.Error(diff)
		}
		if resp.StatusCode != http.StatusTeapot {
			t.Error(resp.Status)
		}
	}
}

func TestHostThatAProxyCouldNotKeep(t *testing.T) {
	s := behind(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	for asked, want := range map[string]string{"": "shop.example", "other.example": "other.example"} {
		req, err := http.NewRequest(http.MethodGet, s.front()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = asked
		req.Header.Set("X-Forwarded-Host", "shop.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("asked for %q: PHP hears %q (%v), want %q", asked, got, err, want)
		}
	}
}

func TestPHPsAnswerIsStreamed(t *testing.T) {
	goOn := make(chan struct{})
	s := behind(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-goOn
		io.WriteString(w, "second\n")
	})
	resp, err := http.Get(s.front() + "/wp-cron.php")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	if line, err := r.ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("%q, %v", line, err)
	}
	close(goOn)
	if line, err := r.ReadString('\n'); err != nil || line != "second\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

func TestPHPLearnsWhoAsks(t *testing.T) {
	seen := make(chan http.Header, 1)
	php := func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() }
	ask := func(s *site) http.Header {
		req, err := http.NewRequest(http.MethodGet, s.front()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", "203.0.113.9")
		req.Header.Set("X-Forwarded-Proto", "https")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return <-seen
	}
	h := ask(behind(t, php))
	if h.Get("X-Forwarded-For") != "203.0.113.9, 127.0.0.1" || h.Get("X-Forwarded-Proto") != "https" {
		t.Error("behind a trusted proxy:", h)
	}
	upstream := httptest.NewServer(withoutPlugin(php))
	defer upstream.Close()
	h = ask(newSite(t, with(func(c *config.Config) { c.WordPress.Upstream, c.TrustedProxies = upstream.URL, nil })))
	if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" {
		t.Error("a browser's own claims were believed:", h)
	}
}

func TestARequestDoesNotTurnInACircle(t *testing.T) {
	var s *site
	s = behind(t, func(w http.ResponseWriter, r *http.Request) {
		// A proxy rule that sends everything to Holdline, also what Holdline
		// itself forwards.
		again, err := http.NewRequest(r.Method, s.front()+r.URL.Path, nil)
		if err != nil {
			t.Error(err)
			return
		}
		again.Header = r.Header
		resp, err := http.DefaultClient.Do(again)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	})
	resp, err := http.Get(s.front() + "/wp-admin/admin-ajax.php")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusLoopDetected || !strings.Contains(string(body), "wordpress.upstream") {
		t.Fatalf("%s: %s (%v)", resp.Status, body, err)
	}
}

func TestPHPBehindAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "php")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	upstream := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "php") })}
	served := make(chan error, 1)
	go func() { served <- upstream.Serve(l) }()
	s := newSite(t, with(func(c *config.Config) { c.WordPress.Upstream = "unix:" + path }))
	get := func() (int, string) {
		resp, err := http.Get(s.front() + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get(); status != http.StatusOK || body != "php" {
		t.Fatal(status, body)
	}
	if err := upstream.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-served
	if status, body := get(); status != http.StatusBadGateway || strings.Contains(body, path) {
		t.Fatalf("without PHP: %d %q", status, body)
	}
}
