package dropin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// browser is what the windows of one browser share: cookies and connections.
type browser struct {
	client  *http.Client
	front   *url.URL               // the site's address, as the address bar has it
	referer atomic.Pointer[string] // the page that was opened last
	pace    float64                // of the scripts' pauses; 1 is as in the plugin
}

const userAgent = "Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0"

// fast is the pace of tests that have no time: a tenth of the plugin's pauses.
const fast = 0.1

func newBrowser(s *stage) *browser {
	s.t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Minute}).DialContext,
		MaxIdleConnsPerHost: 8,
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	b := &browser{client: &http.Client{Transport: transport, Jar: jar}, front: u, pace: s.pace}
	page := s.url + "/shop/"
	b.referer.Store(&page)
	return b
}

// answer is what a browser got.
type answer struct {
	status int
	body   string
	header http.Header
}

const formType = "application/x-www-form-urlencoded; charset=UTF-8"

// do asks for a path of the site. Like browsers do, it asks again when a connection
// that was used before ends without a byte of an answer (Chromium's
// HttpNetworkTransaction::ShouldResendRequest): Apache's mod_proxy ends it so, for
// that very reason, when what is behind it dies.
func (b *browser) do(ctx context.Context, method, path, contentType, body string) (got answer, err error) {
	for range 3 {
		reused := false
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		got, err = b.ask(traced, method, path, contentType, body)
		if !errors.Is(err, io.EOF) || !reused || ctx.Err() != nil {
			break
		}
	}
	return got, err
}

func (b *browser) ask(ctx context.Context, method, path, contentType, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.front.String()+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Referer", *b.referer.Load())
	req.Header.Set("Accept", "*/*")
	resp, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Header}, err
}

const ajaxPath = "/wp-admin/admin-ajax.php"

// ajax posts a form as jQuery does.
func (b *browser) ajax(ctx context.Context, form url.Values) (answer, error) {
	return b.do(ctx, http.MethodPost, ajaxPath, formType, form.Encode())
}

// page loads a page of the site.
func (b *browser) page(ctx context.Context, path string) (string, error) {
	got, err := b.do(ctx, http.MethodGet, path, "", "")
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("%s: status %d", path, got.status)
	}
	if i := strings.IndexByte(path, '#'); err == nil && i < 0 {
		open := b.front.String() + path
		b.referer.Store(&open)
	}
	return got.body, err
}

func (b *browser) cookie(name string) string {
	for _, c := range b.client.Jar.Cookies(b.front.JoinPath("/")) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// setCookie is document.cookie of a script; an empty value takes the cookie away.
func (b *browser) setCookie(name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: 86400}
	if value == "" {
		c.MaxAge = -1
	}
	b.client.Jar.SetCookies(b.front, []*http.Cookie{c})
}

// pauses of the plugin's scripts between an answer and the next poll.
const (
	afterAnswer = 1500 * time.Millisecond
	afterError  = 5 * time.Second
)

func (b *browser) wait(ctx context.Context, pause time.Duration) bool {
	return pass(ctx, time.Duration(float64(pause)*b.pace))
}
