package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/mariadb"
	"holdline/internal/token"
	"holdline/wpdb"
)

// runningDemo is a demo on a free port.
type runningDemo struct {
	t       *testing.T
	site    *demoSite
	url     string
	session demoSession
	printed *bytes.Buffer // complete after stop
	stop    func()
}

// startDemo runs a demo until the test ends, or stop is called.
func startDemo(t *testing.T, database openDatabase) *runningDemo {
	t.Helper()
	cfg, err := config.Load([]string{"--listen=127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	d := &runningDemo{t: t, printed: new(bytes.Buffer)}
	d.site = &demoSite{
		cfg: demoConfig(cfg), database: database, out: d.printed, clients: ownClients,
		log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		onReady: func(url string) { ready <- url },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.site.run(ctx) }()
	d.stop = func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the demo ended with %v", err)
		}
		ended <- nil
	}
	t.Cleanup(d.stop)
	select {
	case d.url = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("the demo did not start: %v", err)
	}
	d.call(http.MethodGet, "/demo/session", "", &d.session)
	return d
}

// ask makes one request of the page's. The caller's connection is not kept.
func (d *runningDemo) ask(method, path, body string, header http.Header) (status int, answer []byte, headers http.Header) {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, answer, resp.Header
}

// call makes a request that must succeed.
func (d *runningDemo) call(method, path, body string, into any) {
	d.t.Helper()
	status, answer, _ := d.ask(method, path, body, nil)
	if status != http.StatusOK {
		d.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		d.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

func (d *runningDemo) say(who, text string, ring bool) receipt {
	d.t.Helper()
	body, err := json.Marshal(map[string]any{"who": who, "text": text, "ring": ring})
	if err != nil {
		d.t.Fatal(err)
	}
	var r receipt
	d.call(http.MethodPost, "/demo/send", string(body), &r)
	return r
}

// Real rows from a real database, and rows from memory, arrive the same way.
func TestDemo(t *testing.T) {
	for kind, database := range map[string]openDatabase{"mariadb": openMariaDB, "memory": noDatabase} {
		t.Run(kind, func(t *testing.T) {
			d := startDemo(t, database)
			if d.session.Kind != kind || len(d.session.Panes) != 2 {
				t.Fatalf("session: %+v", d.session)
			}
			visitor, agent := d.session.Panes[0], d.session.Panes[1]
			var clients []*listener
			for _, p := range []pane{visitor, agent} {
				for _, transport := range transports {
					clients = append(clients, d.listen(transport, p))
				}
			}
			everybody := func(want chat.Event) {
				t.Helper()
				for _, c := range clients {
					c.expect(want)
				}
			}
			state := func(status int, word string, agent int) chat.Event {
				data := fmt.Sprintf(`{"status":%d,"state":%q,"agent_id":%d}`, status, word, agent)
				return chat.Event{Type: chat.TypeStatus, Channel: "wplc/1", Data: json.RawMessage(data)}
			}
			everybody(state(chatPending, "pending", 0))
			for i, text := range []string{"Hello", `a \ "b" 'c' <b>d</b>`, "Grüße 漢 🙂", "line 1\nline 2"} {
				who, name := chat.KindVisitor, demoVisitor
				if i%2 == 1 {
					who, name = chat.KindAgent, demoAgent
				}
				r := d.say(who, text, i < 2)
				everybody(chat.Event{Type: chat.TypeMessage, Channel: "wplc/1", ID: r.ID, Body: text, From: &chat.Party{Kind: who, Name: name}})
			}
			d.call(http.MethodPost, "/demo/status", `{"status":"active","ring":true}`, nil)
			everybody(state(chatActive, "active", 1))
			d.call(http.MethodPost, "/demo/status", `{"status":"ended","ring":false}`, nil)
			everybody(state(chatEnded, "ended", 1))
			for _, c := range clients {
				c.close()
			}
		})
	}
}

// The demo's own command for people, run by a shell.
func TestDemoRowByHand(t *testing.T) {
	d := startDemo(t, openMariaDB)
	var clients []*listener
	for _, transport := range transports {
		clients = append(clients, d.listen(transport, d.session.Panes[0]))
	}
	if out, err := exec.Command("sh", "-c", d.session.ByHand).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", d.session.ByHand, err, out)
	}
	for _, c := range clients {
		c.expect(chat.Event{
			Type: chat.TypeMessage, Channel: "wplc/1", ID: 2, Body: "Hello by hand",
			From: &chat.Party{Kind: chat.KindVisitor, Name: demoVisitor},
		})
		c.close()
	}
	d.stop()
	lines := strings.Split(strings.TrimSpace(d.printed.String()), "\n")
	if last := lines[len(lines)-1]; last != "Open "+d.url+"/" {
		t.Errorf("the last line is %q", last)
	}
	if !strings.Contains(d.printed.String(), d.session.ByHand) {
		t.Errorf("the terminal does not say how to insert a row:\n%s", d.printed)
	}
}

// What the demo made is gone when it has ended, and Holdline's user could only
// read while it was there.
func TestDemoLeavesNothing(t *testing.T) {
	d := startDemo(t, openMariaDB)
	db := d.site.cfg.Database
	folder := filepath.Dir(db.Address)
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	reader, err := wpdb.Open(wpdb.Options{
		Addresses: []wpdb.Address{{Network: "unix", Address: db.Address}},
		Database:  db.Name, User: db.User, Password: db.Password.Reveal(),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := reader.QueryContext(t.Context(), "SHOW GRANTS")
	if err != nil {
		t.Fatal(err)
	}
	var grants []string
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			t.Fatal(err)
		}
		words, _, _ := strings.Cut(grant, " TO ")
		grants = append(grants, words)
	}
	if err := errors.Join(rows.Err(), rows.Close(), reader.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"GRANT USAGE ON *.*", "GRANT SELECT ON `wordpress`.*"}, grants); diff != "" {
		t.Errorf("the reader's rights:\n%s", diff)
	}
	d.call(http.MethodPost, "/demo/hold", "{}", nil)
	d.stop()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://")); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

func TestDemoWithoutMariaDB(t *testing.T) {
	missing := func(context.Context, *config.Config, *ledger) (*desk, error) { return nil, mariadb.ErrNotInstalled }
	d := startDemo(t, missing)
	if d.session.Kind != "memory" || !strings.Contains(d.session.Notice, "apt-get install mariadb-server") {
		t.Errorf("the page is told %q", d.session.Notice)
	}
	d.stop()
	if !strings.Contains(d.printed.String(), d.session.Notice) {
		t.Errorf("the terminal is told:\n%s", d.printed)
	}
}

// A MariaDB that cannot start for a reason of its own is no reason not to show
// the rest.
func TestDemoWhereMariaDBCannotStart(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	if len(os.TempDir()) > 60 {
		t.Setenv("TMPDIR", "/absent")
	}
	d := startDemo(t, openMariaDB)
	if d.session.Kind != "memory" || !strings.Contains(d.session.Notice, "absent") {
		t.Errorf("the page is told %q", d.session.Notice)
	}
}

// Ctrl-C may come while the database is being made.
func TestDemoIsStoppedAtItsStart(t *testing.T) {
	folder := t.TempDir()
	if len(folder) > 60 {
		folder = filepath.Join("/tmp", fmt.Sprintf("hl%d", os.Getpid()))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(folder) })
	}
	t.Setenv("TMPDIR", folder)
	ctx, cancel := context.WithCancel(context.Background())
	opening := func(ctx context.Context, cfg *config.Config, book *ledger) (*desk, error) {
		cancel()
		return openMariaDB(ctx, cfg, book)
	}
	cfg, err := config.Load([]string{"--listen=127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &demoSite{cfg: demoConfig(cfg), database: opening, out: io.Discard, clients: ownClients, log: slog.New(slog.DiscardHandler)}
	if err := d.run(ctx); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDemoHoldsMore(t *testing.T) {
	d := startDemo(t, noDatabase)
	var report holdReport
	d.call(http.MethodPost, "/demo/hold", "{}", &report)
	if report.Clients != holdMore || report.WarmUp != warmUp || report.Before <= 0 || report.After <= 0 {
		t.Errorf("report: %+v", report)
	}
	var stats demoStats
	d.call(http.MethodGet, "/demo/stats", "", &stats)
	if stats.Held != holdMore+warmUp || stats.Hold == nil || *stats.Hold != report || stats.RSS <= 0 {
		t.Errorf("stats: %+v, hold %+v", stats, stats.Hold)
	}
	// The crowd hears what is said, and the reader among it misses nothing.
	c := d.listen("sse", d.session.Panes[0])
	r := d.say(chat.KindAgent, "to all of you", true)
	c.expect(chat.Event{
		Type: chat.TypeMessage, Channel: "wplc/1", ID: r.ID, Body: "to all of you",
		From: &chat.Party{Kind: chat.KindAgent, Name: demoAgent},
	})
	c.close()
	d.call(http.MethodPost, "/demo/release", "{}", nil)
	d.call(http.MethodGet, "/demo/stats", "", &stats)
	if stats.Hold != nil {
		t.Errorf("after they have left: %+v", stats.Hold)
	}
}

func TestDemoStats(t *testing.T) {
	d := startDemo(t, openMariaDB)
	var before, after demoStats
	d.call(http.MethodGet, "/demo/stats", "", &before)
	c := d.listen("poll", d.session.Panes[1])
	r := d.say(chat.KindVisitor, "counted", true)
	c.expect(chat.Event{
		Type: chat.TypeMessage, Channel: "wplc/1", ID: r.ID, Body: "counted",
		From: &chat.Party{Kind: chat.KindVisitor, Name: demoVisitor},
	})
	c.close()
	d.call(http.MethodGet, "/demo/stats", "", &after)
	if after.Queries <= before.Queries {
		t.Errorf("a row was read with %d queries", after.Queries-before.Queries)
	}
	if diff := cmp.Diff([]receipt{r}, after.Commits); diff != "" {
		t.Errorf("commits:\n%s", diff)
	}
	if after.Run != d.session.Run || after.Now < r.CommittedAt {
		t.Errorf("run %q, now %f, committed at %f", after.Run, after.Now, r.CommittedAt)
	}
}

func TestDemoPage(t *testing.T) {
	d := startDemo(t, noDatabase)
	for _, path := range []string{"/", "/demo.js", "/pane.js", "/log.js", "/delays.js", "/demo.css"} {
		status, body, header := d.ask(http.MethodGet, path, "", nil)
		if status != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: %d with %d bytes", path, status, len(body))
		}
		if header.Get("Content-Security-Policy") != contentPolicy {
			t.Errorf("%s: policy %q", path, header.Get("Content-Security-Policy"))
		}
		for _, word := range []string{"https://", "innerHTML", "insertAdjacentHTML", "document.write", " style="} {
			if bytes.Contains(body, []byte(word)) {
				t.Errorf("%s has %q in it", path, word)
			}
		}
	}
	for _, p := range d.session.Panes {
		claims, err := token.Keys{Secret: []byte(d.site.cfg.Auth.Secret.Reveal())}.Verify(p.Token, claimsTime())
		if err != nil || !slices.Equal(claims.Channels, p.Channels) {
			t.Errorf("%s: %+v, %v", p.Who, claims, err)
		}
	}
}

func TestDemoRefuses(t *testing.T) {
	d := startDemo(t, noDatabase)
	foreign := http.Header{"Origin": {"https://evil.example"}}
	crossSite := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	for name, tc := range map[string]struct {
		method, path, body string
		header             http.Header
		status             int
		says               string
	}{
		"another site's script": {"POST", "/demo/send", `{"who":"agent","text":"x"}`, foreign, 403, "cross-origin"},
		"another site's form":   {"POST", "/demo/hold", `{}`, crossSite, 403, "cross-origin"},
		"no such writer":        {"POST", "/demo/send", `{"who":"system","text":"x"}`, nil, 400, "visitor"},
		"nothing said":          {"POST", "/demo/send", `{"who":"agent","text":" \n "}`, nil, 400, "1 to 2000"},
		"too much said":         {"POST", "/demo/send", `{"who":"agent","text":"` + strings.Repeat("ü", demoText+1) + `"}`, nil, 400, "1 to 2000"},
		"a body without end":    {"POST", "/demo/send", `{"text":"` + strings.Repeat("x", demoBody) + `"}`, nil, 400, "16 KiB"},
		"no JSON":               {"POST", "/demo/status", `status=active`, nil, 400, "JSON"},
		"no such field":         {"POST", "/demo/send", `{"who":"agent","text":"x","chat":2}`, nil, 400, "chat"},
		"no such status":        {"POST", "/demo/status", `{"status":"deleted"}`, nil, 400, "pending"},
		"a button by link":      {"GET", "/demo/hold", "", nil, 404, ""},
		"no such file":          {"GET", "/index.php", "", nil, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer, header := d.ask(tc.method, tc.path, tc.body, tc.header)
			if status != tc.status || !strings.Contains(string(answer), tc.says) {
				t.Errorf("%d %s", status, answer)
			}
			if header.Get("Content-Security-Policy") == "" {
				t.Error("no policy")
			}
		})
	}
	var stats demoStats
	d.call(http.MethodGet, "/demo/stats", "", &stats)
	if len(stats.Commits) > 0 {
		t.Errorf("something was written all the same: %+v", stats.Commits)
	}
}

func TestClientsThatAreRefused(t *testing.T) {
	d := startDemo(t, noDatabase)
	h := newHolder(ownClients, func() int { return 0 })
	defer h.close()
	_, err := h.more(crowd{URL: d.url + "/holdline/v1/sse?channels=wplc/1", Token: "forged", Count: 3})
	if bad := badRequest(""); !errors.As(err, &bad) || !strings.Contains(err.Error(), "401") {
		t.Errorf("a forged token: %v", err)
	}
	_, err = h.more(crowd{Count: demoMost + 1})
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(demoMost)) {
		t.Errorf("too many: %v", err)
	}
	if h.report() != nil {
		t.Errorf("nobody is held, and the report is %+v", h.report())
	}
}
