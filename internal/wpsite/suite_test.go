package wpsite_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/internal/wpsite"
)

// suite is the site that all the tests share, and who talks to it.
type suite struct {
	ctx    context.Context
	site   *wpsite.Site
	client http.Client
	cookie string // admin's
	nonce  string
}

// do sends a request with the admin's cookie, or as a visitor when cookie is empty,
// and returns the answer's status, header and body.
func (s *suite) do(t *testing.T, method, target, cookie, form string) (*http.Response, string) {
	t.Helper()
	resp, body, err := s.try(method, target, cookie, form)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func (s *suite) try(method, target, cookie, form string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(s.ctx, method, target, strings.NewReader(form))
	if err != nil {
		return nil, "", err
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 Chrome/73.")
	req.Header.Set("Referer", "https://shop.example/a")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// ajax posts a form to admin-ajax.php: an agent's when it has agent actions.
func (s *suite) ajax(t *testing.T, form string) string {
	t.Helper()
	cookie := ""
	if strings.HasPrefix(form, "action=wplc_admin") {
		cookie, form = s.cookie, form+"&security="+s.nonce
	}
	resp, body := s.do(t, http.MethodPost, s.site.URL+"/wp-admin/admin-ajax.php", cookie, form)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=UTF-8" {
		t.Fatalf("%s: %s, %s: %q", form, resp.Status, resp.Header.Get("Content-Type"), body)
	}
	return body
}

func (s *suite) exec(t *testing.T, statements string) {
	t.Helper()
	if _, err := s.site.DB().ExecContext(s.ctx, statements); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) column(t *testing.T, query string) string {
	t.Helper()
	var value string
	if err := s.site.DB().QueryRowContext(s.ctx, query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// fixture puts the golden cases' rows back.
func (s *suite) fixture(t *testing.T) {
	t.Helper()
	rows, err := os.ReadFile("../../testdata/wplc/fixture-8.sql")
	if err != nil {
		t.Fatal(err)
	}
	helsinki, err := time.LoadLocation("Europe/Helsinki")
	if err != nil {
		t.Fatal(err)
	}
	s.exec(t, "TRUNCATE wp_wplc_chat_sessions; TRUNCATE wp_wplc_chat_msgs; SET @now = '"+
		time.Now().In(helsinki).Format(time.DateTime)+"';"+string(rows))
}

// hold starts a request that PHP holds, and returns when a worker is busy with it.
func (s *suite) hold(t *testing.T, form string) (answer <-chan string) {
	t.Helper()
	if busy, err := s.site.BusyWorkers(s.ctx); err != nil || busy != 0 {
		t.Fatalf("%d workers are busy before the hold: %v", busy, err)
	}
	answers := make(chan string, 1)
	go func() {
		_, body, err := s.try(http.MethodPost, s.site.ApacheURL+"/wp-admin/admin-ajax.php", "", form)
		if err != nil {
			body = err.Error()
		}
		answers <- body
	}()
	for busy := 0; busy == 0; {
		var err error
		if busy, err = s.site.BusyWorkers(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// family is the processes that were started with the folder in their arguments, and
// their children: id and name.
func family(t *testing.T, dir string) map[string]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	ours, parents := map[string]string{}, map[string]string{}
	for _, stat := range stats {
		pid := filepath.Base(filepath.Dir(stat))
		line, _ := os.ReadFile(stat) // processes come and go
		cmdline, _ := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		comm, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if _, rest, ok := strings.Cut(string(line), ") "); ok && pid != strconv.Itoa(os.Getpid()) {
			parents[pid] = strings.Fields(rest)[1]
		}
		if strings.Contains(string(cmdline), dir) {
			ours[pid] = string(comm)
		}
	}
	for pid, parent := range parents {
		if _, ok := ours[parent]; ok {
			comm, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
			ours[pid] = string(comm)
		}
	}
	return ours
}
