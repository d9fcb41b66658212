package dropin_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/e2e/backstage"
)

// TestEverythingElse sends what is no loop through Holdline: PHP and the browser
// may not see that anybody is between them.
func TestEverythingElse(t *testing.T) {
	t.Parallel()
	for _, f := range []front{nginx, apache} {
		var want map[string]echoed
		for _, w := range []way{php, native} {
			t.Run(fmt.Sprint(w.name, " behind ", f), func(t *testing.T) {
				s := newStage(t, w, f)
				got := map[string]echoed{}
				for _, r := range echoRequests() {
					got[r.name] = r.send(s)
				}
				if w == php {
					want = got
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(echoed{})); diff != "" {
					t.Errorf("something else arrived than with PHP alone (-PHP +Holdline):\n%s", diff)
				}
				if f == nginx { // Apache keeps PHP's answer back by itself
					streams(s)
				}
			})
		}
	}
}

// echoed is what PHP got, and what the browser got of PHP's answer.
type echoed struct {
	php    map[string]any
	status int
	header http.Header
	gzip   bool
}

type echoRequest struct {
	name, method, query, contentType string
	body                             []byte
}

func echoRequests() []echoRequest {
	random := rand.NewChaCha8([32]byte{})
	file := make([]byte, 10<<20)
	random.Read(file)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("upload", "picture.bin")
	if err != nil {
		panic(err) // a buffer takes everything
	}
	part.Write(file)
	w.WriteField("caption", "Grüße & more")
	w.Close()
	return []echoRequest{
		{"upload", http.MethodPost, "action=dropin_echo", w.FormDataContentType(), form.Bytes()},
		{"get", http.MethodGet, "action=dropin_echo&a=1&a=2&b[]=%20x;y", "", nil},
		{"form", http.MethodPost, "action=dropin_echo&x=%zz;&y", formType, []byte("msg=Gr%C3%BC%C3%9Fe+%26&cid=1&list[a]=b")},
		{"large form", http.MethodPost, "action=dropin_echo", formType, append([]byte("msg="), bytes.Repeat([]byte("y"), 3<<20)...)},
		{"json", http.MethodPost, "action=dropin_echo", "application/json", []byte(`{"a":1}`)},
		{"gzip", http.MethodGet, "action=dropin_echo&gzip=1", "", nil},
		{"error", http.MethodPost, "action=dropin_echo&status=503", formType, []byte("a=b")},
		{"put", http.MethodPut, "action=dropin_echo", "text/plain", []byte("hello")},
	}
}

func (r echoRequest) send(s *stage) echoed {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, r.method, s.url+ajaxPath+"?"+r.query, bytes.NewReader(r.body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": r.contentType, "User-Agent": userAgent, "X-Requested-With": "XMLHttpRequest", "Cookie": "flavour=oat%20meal; other=1",
		"X-Forwarded-For": "203.0.113.9", "Accept-Encoding": "gzip",
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := stranger(s).client.Do(req) // from 127.0.0.2, which nobody trusts
	if err != nil {
		s.t.Fatalf("%s: %v", r.name, err)
	}
	defer resp.Body.Close()
	got := echoed{status: resp.StatusCode, header: http.Header{}, gzip: resp.Header.Get("Content-Encoding") == "gzip"}
	body := io.Reader(resp.Body)
	if got.gzip {
		if body, err = gzip.NewReader(resp.Body); err != nil {
			s.t.Fatalf("%s: %v", r.name, err)
		}
	}
	if err := json.NewDecoder(body).Decode(&got.php); err != nil {
		s.t.Errorf("%s: %s: %v", r.name, resp.Status, err)
	}
	for _, name := range []string{"Set-Cookie", "Content-Type", "X-Dropin", "Cache-Control"} {
		got.header[name] = resp.Header[name]
	}
	r.check(s, got.php)
	return got
}

// check looks at what the two ways must not have in common by mistake.
func (r echoRequest) check(s *stage, php map[string]any) {
	s.t.Helper()
	if php["address"] != "127.0.0.2" || php["https"] != false {
		s.t.Errorf("%s: PHP takes the browser for %v, https %v", r.name, php["address"], php["https"])
	}
	if r.name == "upload" && !strings.Contains(encode(php["files"]), `"picture.bin","application/octet-stream",10485760`) {
		s.t.Errorf("the upload arrived as %s", encode(php["files"]))
	}
	if r.method == http.MethodPut && !strings.Contains(encode(php["input"]), fmt.Sprintf("%x", sha1.Sum(r.body))) {
		s.t.Errorf("the body arrived as %s", encode(php["input"]))
	}
	// Who else was on the way is told by Holdline only, from front to back. Apache's
	// mod_remoteip takes off what it has believed.
	chain, proto := php["forwarded_for"], php["proto"]
	delete(php, "forwarded_for")
	delete(php, "proto")
	if s.holdline == nil {
		return
	}
	if text, _ := chain.(string); !strings.HasPrefix(text, "203.0.113.9") || proto != "http" {
		s.t.Errorf("%s: X-Forwarded-For is %v, X-Forwarded-Proto %v", r.name, chain, proto)
	}
}

// streams looks whether an answer comes bit by bit, and ends in PHP when the
// browser goes.
func streams(s *stage) {
	ctx, leave := context.WithCancel(s.ctx)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+ajaxPath+"?action=dropin_stream", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	s.exec("DELETE FROM wp_options WHERE option_name = 'dropin_stream'")
	resp, err := stranger(s).client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "line 0\n" {
		s.t.Errorf("the stream begins with %q, %v", line, err)
	}
	state := func() string {
		return s.column("SELECT option_value FROM wp_options WHERE option_name = 'dropin_stream'")
	}
	if got := state(); got != "running" {
		s.t.Errorf("the first line came when PHP was %s", got)
	}
	leave()
	backstage.Eventually(s.t, "PHP has noticed", time.Minute, func() bool { return state() != "running" })
	s.t.Log("the browser left, PHP's script was", state())
}
