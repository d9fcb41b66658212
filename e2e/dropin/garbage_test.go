package dropin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// TestGarbage treats Holdline badly. Afterwards it holds and answers as before, and
// has kept nothing.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for _, w := range []way{native, relay} {
		t.Run(w.name, func(t *testing.T) {
			s := newStage(t, w, nginx)
			s.holdFor(120, 250*time.Millisecond)
			ann, chat := talk(s)
			cookie := "holdline_visitor=" + ann.cookie("holdline_visitor")
			backstage.Eventually(t, "both sides are held", time.Minute, func() bool { return s.heldLoops() >= 2 })
			before := s.weigh()
			for _, to := range []string{s.listen, strings.TrimPrefix(s.url, "http://")} {
				randomBytes(s, to)
				halfSent(s, to, cookie, ann.chat())
			}
			largeForms(s, ann.browser)
			aborts := abortedPolls(s, cookie, ann.chat(), *abortFor)
			t.Logf("%d polls were broken off", aborts)
			var after weight
			ok := func() bool {
				after = s.weigh()
				return after.held <= before.held && after.goroutines <= before.goroutines+20 && after.files <= before.files+20
			}
			for end := time.Now().Add(2 * time.Minute); !ok() && time.Now().Before(end); {
				pass(s.ctx, 200*time.Millisecond)
			}
			t.Logf("before %+v, after %+v", before, after)
			if !ok() {
				t.Errorf("Holdline has kept something: before %+v, after %+v", before, after)
			}
			chat.write("still here")
			ann.seen.await(t, "still here")
			ann.send("me too")
			chat.seen.await(t, "me too")
			if n := ann.seen.count("error"); n > 0 {
				t.Errorf("the visitor's page showed %d errors: %q", n, ann.seen.all())
			}
		})
	}
}

// weight is what a leak would add to.
type weight struct{ held, goroutines, files int }

func (s *stage) weigh() weight {
	s.t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.holdline.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	return weight{int(s.metric("holdline_connections_held")), int(s.metric("go_goroutines")), len(files)}
}

// raw sends bytes and breaks off after a moment.
func raw(s *stage, to, text string, linger time.Duration) error {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(s.ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	if linger > 0 {
		conn.SetReadDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, conn) // whatever it says, or until it hangs up
	}
	return nil
}

func randomBytes(s *stage, to string) {
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	post := "POST " + ajaxPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nContent-Length: %d\r\n\r\n%s"
	for range 100 {
		b := make([]byte, random.IntN(2000))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		for _, text := range []string{string(b), fmt.Sprintf(post, len(b), b), fmt.Sprintf("GET /%q HTTP/1.1\r\n\r\n", b)} {
			if err := raw(s, to, text, 20*time.Millisecond); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// halfSent promises more than it sends.
func halfSent(s *stage, to, cookie, cid string) {
	form := "action=wplc_call_to_server_visitor&status=3&wplcsession=1552987800001&cid=" + cid
	head := "POST " + ajaxPath + " HTTP/1.1\r\nHost: x\r\nCookie: " + cookie + "\r\nContent-Type: " + formType + "\r\n"
	for _, text := range []string{
		head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(form)+1) + form,
		head + "Content-Length: 1000000000\r\n\r\n" + form,
		head + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" + form,
		head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + form,
		head[:len(head)-30],
	} {
		for range 10 {
			if err := raw(s, to, text, 10*time.Millisecond); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// largeForms are 10 MB, with and without a loop in them.
func largeForms(s *stage, b *browser) {
	padding := strings.Repeat("x", 10<<20)
	const loop = "action=wplc_call_to_server_visitor&cid=1&status=5&short_poll=true"
	for _, body := range []string{loop + "&padding=" + padding, "padding=" + padding + "&" + loop} {
		for range 5 { // an answer before the body's end makes a 502 of nginx, now and then
			got, err := b.do(s.ctx, http.MethodPost, ajaxPath, formType, body)
			if err != nil || got.status != http.StatusOK || got.body != "" {
				s.t.Errorf("a loop in a form of 10 MB (%.60q…): %d %.200q, %v, want PHP's empty answer", body, got.status, got.body, err)
			}
		}
	}
	for _, body := range []string{"padding=" + padding + "&action=dropin_echo", padding, strings.Repeat("a=1&", 10<<18), strings.Repeat("%", 10<<20)} {
		got, err := b.do(s.ctx, http.MethodPost, ajaxPath, formType, body)
		if err != nil || got.status >= http.StatusInternalServerError {
			s.t.Errorf("a form of 10 MB (%.60q…): %d %.200q, %v", body, got.status, got.body, err)
		}
	}
}

// abortedPolls begins 500 polls a second and breaks each off within a tenth of one.
func abortedPolls(s *stage, cookie, cid string, during time.Duration) (n int) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	form := url.Values{
		"action": {"wplc_call_to_server_visitor"}, "cid": {cid}, "status": {"3"}, "wplcsession": {"1552987800001"}, "wplc_name": {"Ann"},
	}.Encode()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	var all sync.WaitGroup
	for end := time.Now().Add(during); time.Now().Before(end); n++ {
		<-tick.C
		target := "http://" + s.listen
		if n%4 == 0 {
			target = s.url
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, rand.N(100*time.Millisecond))
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+ajaxPath, strings.NewReader(form))
			if err != nil {
				s.t.Error(err)
				return
			}
			req.Header.Set("Content-Type", formType)
			req.Header.Set("Cookie", cookie)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return // broken off, as it should be
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err == nil && (resp.StatusCode != http.StatusOK || len(body) > 0) {
				s.t.Errorf("a poll was answered %s %q", resp.Status, body)
			}
		})
	}
	all.Wait()
	return n
}
