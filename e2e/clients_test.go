//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"

	"holdline/e2e/backstage"
)

// client is one that Node or a page shall open.
type client struct {
	Name string `json:"name"` // in the journal
	Kind string `json:"kind"` // a name in page.js; Node only has eventsource
	URL  string `json:"url"`
}

// runNode opens clients in Node.js.
func runNode(t *testing.T, j *journal, clients ...client) {
	t.Helper()
	plan, err := json.Marshal(clients)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "clients.mjs", string(plan))
	readLines(t, cmd, func(line []byte) {
		var r report
		if err := json.Unmarshal(line, &r); err != nil {
			r = report{Client: "node", Type: "error", Note: string(line)}
		}
		j.add(r)
	})
}

// readLines starts cmd and hands on each line that it prints.
func readLines(t *testing.T, cmd *exec.Cmd, line func([]byte)) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line(lines.Bytes())
		}
	}()
	t.Cleanup(func() {
		<-done // the process has ended by now
		r.Close()
	})
	cmd.Stdout = w
	backstage.Start(t, cmd)
	w.Close()
}

// runTail opens "holdline tail", which is r3labs' client in our own loop.
func runTail(t *testing.T, s *site, j *journal, name, address, channel string) {
	t.Helper()
	cmd := s.command("tail", "--url", "http://"+address+"/holdline/v1", channel)
	readLines(t, cmd, func(line []byte) { j.add(reportOf(name, line)) })
}

// runR3labs opens r3labs' client with its own loop.
func runR3labs(t *testing.T, j *journal, name, at string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := sse.NewClient(at)
	c.Connection = &http.Client{Transport: &http.Transport{}}
	c.ReconnectStrategy = persistence{ctx}
	done := make(chan error, 1)
	go func() {
		done <- c.SubscribeRawWithContext(ctx, func(e *sse.Event) {
			if len(e.Data) > 0 {
				j.add(reportOf(name, e.Data))
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		c.Connection.CloseIdleConnections()
	})
}

// persistence comes again as long as the test runs; the client's default would
// wait longer each time.
type persistence struct{ ctx context.Context }

func (persistence) Reset() {}

func (p persistence) NextBackOff() time.Duration {
	if p.ctx.Err() != nil {
		return backoff.Stop
	}
	return 200 * time.Millisecond
}

func reportOf(client string, event []byte) report {
	var r report
	if err := json.Unmarshal(event, &r); err != nil {
		return report{Client: client, Type: "error", Note: string(event)}
	}
	r.Client = client
	return r
}

//go:embed page
var page embed.FS

// desk serves the test's page, from two ports and therefore as two origins, and
// takes its reports.
type desk struct {
	allowed, foreign string // origins
	// visibility is what the next page that asks /visibility shall say of itself:
	// hidden or visible.
	visibility chan string
}

func newDesk(t *testing.T, j *journal) *desk {
	t.Helper()
	files, err := fs.Sub(page, "page")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /packages/", http.StripPrefix("/packages/", http.FileServer(http.Dir("node_modules"))))
	d := &desk{visibility: make(chan string)}
	mux.HandleFunc("GET /visibility", func(w http.ResponseWriter, r *http.Request) {
		select {
		case state := <-d.visibility:
			io.WriteString(w, state)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		var reports []report
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&reports); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, r := range reports {
			j.add(r)
		}
	})
	var origins [2]string
	for i := range origins {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: mux}
		done := make(chan struct{})
		go func() {
			defer close(done)
			server.Serve(l)
		}()
		t.Cleanup(func() {
			server.Close()
			<-done
		})
		origins[i] = "http://" + l.Addr().String()
	}
	d.allowed, d.foreign = origins[0], origins[1]
	return d
}

// say has the page say that it is hidden or visible.
func (d *desk) say(t *testing.T, state string) {
	t.Helper()
	select {
	case d.visibility <- state:
	case <-time.After(patience):
		t.Fatalf("the page does not ask whether it is %s", state)
	}
}

// runChromium opens clients in a page of an origin.
func runChromium(t *testing.T, origin string, clients ...client) {
	t.Helper()
	startChromium(t, origin, clients)
}

// startChromium is runChromium with flags.
func startChromium(t *testing.T, origin string, clients []client, flags ...string) {
	t.Helper()
	plan, err := json.Marshal(clients)
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's own folder: Chromium makes a socket in it, whose path may
	// have 108 bytes.
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	flags = append(flags,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--enable-logging=stderr", "--user-data-dir="+dir,
		// Chromium only stays for a page when there is a debugger to be waited for.
		"--remote-debugging-port=0",
		origin+"/?plan="+url.QueryEscape(string(plan)),
	)
	cmd := exec.Command("chromium", flags...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // or its lock stays behind when it is killed
	backstage.Start(t, cmd)
}
