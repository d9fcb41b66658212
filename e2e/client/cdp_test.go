//go:build e2e

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/e2e/backstage"
)

// browser is a Chromium that is spoken to over the Chrome DevTools Protocol
// (https://chromedevtools.github.io/devtools-protocol/), in its flat mode: one
// WebSocket for all tabs and workers.
type browser struct {
	t *testing.T
	*wire
}

// in is the same browser for another test.
func (b *browser) in(t *testing.T) *browser { return &browser{t, b.wire} }

// wire is the connection to a browser.
type wire struct {
	conn    *websocket.Conn
	process *backstage.Process

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	done    chan struct{}
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	// Not the test's own folder: Chromium makes a socket in it, whose path may
	// have 108 bytes.
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(
		"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--enable-logging=stderr", "--user-data-dir="+dir,
		"--host-resolver-rules=MAP "+insecure+" 127.0.0.1",
		"--remote-debugging-port=0", "about:blank",
	)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // or its lock stays behind when it is killed
	process := backstage.Start(t, cmd)
	var port, path string
	backstage.Eventually(t, "Chromium listens", time.Minute, func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if err != nil {
			return false
		}
		var ok bool
		port, path, ok = strings.Cut(strings.TrimSpace(string(text)), "\n")
		return ok
	})
	conn, _, err := websocket.Dial(t.Context(), "ws://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	b := &browser{t, &wire{conn: conn, process: process, waiting: map[int]chan answer{}, done: make(chan struct{})}}
	go b.read()
	t.Cleanup(func() {
		conn.CloseNow()
		<-b.done
	})
	return b
}

func (b *wire) read() {
	defer close(b.done)
	for {
		_, text, err := b.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			ID int
			answer
		}
		if json.Unmarshal(text, &m) != nil || m.ID == 0 {
			continue
		}
		b.mu.Lock()
		ch := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if ch != nil {
			ch <- m.answer
		}
	}
}

// call calls a method of the protocol in a session ("" for the browser itself)
// and unmarshals its result into out, which may be nil.
func (b *wire) call(session, method string, params, out any) error {
	ch, err := b.send(session, method, params)
	if err != nil {
		return err
	}
	select {
	case a := <-ch:
		if a.Error != nil {
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-b.done:
		return errors.New("Chromium has gone")
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: no answer", method)
	}
}

// send calls a method and returns where its answer will come.
func (b *wire) send(session, method string, params any) (<-chan answer, error) {
	b.mu.Lock()
	b.last++
	id, ch := b.last, make(chan answer, 1)
	b.waiting[id] = ch
	b.mu.Unlock()
	m := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return ch, b.conn.Write(context.Background(), websocket.MessageText, text)
}

func (b *browser) must(session, method string, params, out any) {
	b.t.Helper()
	if err := b.call(session, method, params, out); err != nil {
		b.t.Fatal(err)
	}
}

// tab is a page, or a worker.
type tab struct {
	*browser
	target, session string
}

// open opens an address in a new tab and waits until its script has run.
func (b *browser) open(address string) *tab {
	b.t.Helper()
	var made struct{ TargetID string }
	b.must("", "Target.createTarget", map[string]any{"url": address}, &made)
	p := b.attach(made.TargetID)
	backstage.Eventually(b.t, "the page is there", time.Minute, func() bool {
		var ready bool
		return p.call(p.session, "Runtime.evaluate", map[string]any{"expression": "window.ready === true", "returnByValue": true}, &evaluated{value: &ready}) == nil && ready
	})
	return p
}

func (b *browser) attach(target string) *tab {
	b.t.Helper()
	var attached struct{ SessionID string }
	b.must("", "Target.attachToTarget", map[string]any{"targetId": target, "flatten": true}, &attached)
	return &tab{browser: b, target: target, session: attached.SessionID}
}

// workers are the SharedWorkers.
func (b *browser) workers() (all []*tab) {
	b.t.Helper()
	var got struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.must("", "Target.getTargets", map[string]any{}, &got)
	for _, info := range got.TargetInfos {
		if info.Type == "shared_worker" {
			all = append(all, b.attach(info.TargetID))
		}
	}
	return all
}

// evaluated is the result of Runtime.evaluate.
type evaluated struct{ value any }

func (e *evaluated) UnmarshalJSON(text []byte) error {
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	if d := got.ExceptionDetails; d != nil {
		return fmt.Errorf("in the page: %s %s", d.Text, d.Exception.Description)
	}
	if e.value == nil || len(got.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(got.Result.Value, e.value)
}

// eval runs an expression in the page, waits for it if it is a promise, and puts
// its value into out, which may be nil.
func (p *tab) eval(expression string, out any) {
	p.t.Helper()
	p.must(p.session, "Runtime.evaluate", map[string]any{
		"expression": expression, "awaitPromise": true, "returnByValue": true,
	}, &evaluated{out})
}

func (p *tab) close() {
	p.t.Helper()
	p.must("", "Target.closeTarget", map[string]any{"targetId": p.target}, nil)
}

// crash kills the page's process, which answers nothing.
func (p *tab) crash() {
	p.t.Helper()
	if _, err := p.send(p.session, "Page.crash", map[string]any{}); err != nil {
		p.t.Fatal(err)
	}
}

// offline takes the network away from a page or worker, or gives it back.
func (p *tab) offline(away bool) {
	p.t.Helper()
	p.must(p.session, "Network.enable", map[string]any{}, nil)
	p.must(p.session, "Network.emulateNetworkConditions", map[string]any{
		"offline": away, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
	}, nil)
}
