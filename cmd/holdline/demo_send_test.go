package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// databases are the two kinds of desk.
var databases = map[string]openDatabase{"mariadb": openMariaDB, "memory": noDatabase}

// send posts a message as the browser client does, over a pane's road.
func (d *runningDemo) send(p pane, clientID, body string) (status int, answer map[string]any) {
	d.t.Helper()
	wish, err := json.Marshal(map[string]string{"channel": "wplc/1", "client_id": clientID, "body": body, "as": p.Who})
	if err != nil {
		d.t.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer " + p.Token}, "Content-Type": {"application/json"}}
	status, text, _ := d.ask(http.MethodPost, p.URL+"/send", string(wish), header)
	if err := json.Unmarshal(text, &answer); err != nil {
		d.t.Fatalf("%d %s: %v", status, text, err)
	}
	return status, answer
}

// What a pane sends is told at once, stored once, and recognised when its row
// comes, whatever it is sent again.
func TestDemoSends(t *testing.T) {
	for kind, database := range databases {
		t.Run(kind, func(t *testing.T) {
			d := startDemo(t, database)
			visitor, agent := d.session.Panes[0], d.session.Panes[1]
			c := d.listen("ws", agent)
			c.expect(chat.Event{Type: chat.TypeStatus, Channel: "wplc/1", Data: json.RawMessage(`{"status":2,"state":"pending"}`)})
			d.call(http.MethodPost, "/demo/wordpress", `{"stopped":true}`, nil)
			body := `<img src=x onerror=alert(1)> \ "ü" 🙂`
			if status, a := d.send(visitor, "first-message", body); status != http.StatusAccepted || a["state"] != "pending" {
				t.Errorf("sent: %d %v", status, a)
			}
			want := chat.Event{
				Type: chat.TypeMessage, Channel: "wplc/1", ClientID: "first-message", Pending: true, Body: body,
				From: &chat.Party{Kind: chat.KindVisitor, Name: demoVisitor},
			}
			c.expect(want)
			if status, a := d.send(visitor, "first-message", body); status != http.StatusAccepted || a["state"] != "pending" {
				t.Errorf("sent again: %d %v", status, a)
			}
			var stats demoStats
			d.call(http.MethodGet, "/demo/stats", "", &stats)
			if len(stats.Commits) > 0 || !stats.Stopped {
				t.Errorf("without WordPress: %+v", stats)
			}
			d.call(http.MethodPost, "/demo/wordpress", `{"stopped":false}`, nil)
			want.Type, want.Pending, want.ID = chat.TypeStored, false, c.expectType(chat.TypeStored).ID
			d.call(http.MethodGet, "/demo/stats", "", &stats)
			if len(stats.Commits) != 1 || stats.Commits[0].ID != want.ID {
				t.Errorf("stored: %+v, and the row is %d", stats.Commits, want.ID)
			}
			if status, a := d.send(visitor, "first-message", body); status != http.StatusOK || a["state"] != "stored" || a["id"] != float64(want.ID) {
				t.Errorf("sent once more: %d %v", status, a)
			}
			d.call(http.MethodPost, "/demo/status", `{"status":"ended","ring":true}`, nil)
			c.close()
		})
	}
}

// expectType reads on until an event of the type comes.
func (l *listener) expectType(kind chat.Type) chat.Event {
	l.t.Helper()
	for e := range l.events {
		if e.Type == kind {
			return e
		}
	}
	l.t.Fatalf("%s ended with %v before there was one of %s", l.name, <-l.ended, kind)
	return chat.Event{}
}

func TestDemoStore(t *testing.T) {
	for kind, database := range databases {
		t.Run(kind, func(t *testing.T) {
			d := startDemo(t, database)
			s := &demoStore{desk: d.site.desk}
			messages := func(ids ...string) (ms []outbox.Message) {
				for _, id := range ids {
					ms = append(ms, outbox.Message{Channel: "wplc/1", ClientID: id, Body: "text of " + id, From: chat.Party{Kind: chat.KindAgent}})
				}
				return ms
			}
			store := func(ms []outbox.Message) []outbox.Fate {
				t.Helper()
				fates, err := s.Store(t.Context(), ms)
				if err != nil || len(fates) != len(ms) {
					t.Fatalf("%+v, %v", fates, err)
				}
				return fates
			}
			first := store(messages("a", "b"))
			if first[0].ID <= 0 || first[1].ID != first[0].ID+1 {
				t.Errorf("%+v", first)
			}
			again := store(messages("b", "c", "a"))
			if again[0] != first[1] || again[1].ID <= first[1].ID || again[2] != first[0] {
				t.Errorf("%+v and then %+v", first, again)
			}
			// The same id from the other side is another message.
			ms := messages("a")
			ms[0].From.Kind = chat.KindVisitor
			if f := store(ms); f[0].ID <= again[1].ID {
				t.Errorf("the visitor's: %+v", f)
			}
			ms[0].Channel = "wplc/2"
			if f := store(ms); f[0].Refused == nil || f[0].Refused.Reason != chat.ReasonForbidden {
				t.Errorf("in another chat: %+v", f)
			}
			if _, err := s.desk.move(t.Context(), chatEnded, saying{who: chat.KindSystem, text: "over"}); err != nil {
				t.Fatal(err)
			}
			f := store(messages("a", "d"))
			if f[0] != first[0] || f[1].Refused == nil || f[1].Refused.Reason != chat.ReasonClosed {
				t.Errorf("after the end: %+v", f)
			}
			s.stopped.Store(true)
			if f, err := s.Store(t.Context(), messages("a")); err == nil {
				t.Errorf("stopped: %+v", f)
			}
		})
	}
}

// A road is as bad as its mode says, and a change of mode cuts what is under way.
func TestDemoRoads(t *testing.T) {
	d := startDemo(t, noDatabase)
	visitor := d.session.Panes[0]
	road := func(mode string) {
		t.Helper()
		d.call(http.MethodPost, "/demo/road", `{"who":"visitor","mode":"`+mode+`"}`, nil)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	get := func(endpoint string) (*http.Response, error) {
		return client.Get(d.url + visitor.URL + "/" + endpoint + "?channels=wplc/1&token=" + visitor.Token)
	}
	dial := func() (*websocket.Conn, *http.Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return websocket.Dial(ctx, d.url+visitor.URL+"/ws?channels=wplc/1&token="+visitor.Token, &websocket.DialOptions{HTTPClient: client})
	}
	conn, _, err := dial()
	if err != nil {
		t.Fatal("an open road:", err)
	}
	road(roadNoWS)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for err == nil {
		_, _, err = conn.Read(ctx)
	}
	if status := websocket.CloseStatus(err); status != -1 || ctx.Err() != nil {
		t.Errorf("the WebSocket was not cut but closed: %v", err)
	}
	if _, resp, err := dial(); err == nil || resp == nil || resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("without Upgrade: %v, %v", resp, err)
	}
	stream, err := get("sse")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if first, err := io.ReadAll(io.LimitReader(stream.Body, 11)); err != nil || string(first) != ": holdline\n" {
		t.Errorf("a stream begins with %q, %v", first, err)
	}
	road(roadBuffer)
	if _, err := io.ReadAll(stream.Body); err == nil {
		t.Error("the stream ended in order")
	}
	if resp, err := get("poll"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a poll through a buffer: %v, %v", resp, err)
	} else if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"cursor"`) {
		t.Errorf("a poll through a buffer: %s, %v", text, err)
	}
	buffered := make(chan error, 1)
	go func() {
		resp, err := get("sse")
		if err == nil {
			resp.Body.Close()
		}
		buffered <- err
	}()
	for held := 0; held == 0 && len(buffered) == 0; { // until the gateway has it
		var stats demoStats
		d.call(http.MethodGet, "/demo/stats", "", &stats)
		held = stats.Held
	}
	road(roadDown)
	if err := <-buffered; err == nil {
		t.Error("a stream came through a buffer")
	}
	if resp, err := get("info"); err == nil {
		resp.Body.Close()
		t.Error("without a network:", resp.Status)
	}
	var stats demoStats
	d.call(http.MethodGet, "/demo/stats", "", &stats)
	if stats.Roads[chat.KindVisitor] != roadDown || stats.Roads[chat.KindAgent] != roadOpen {
		t.Errorf("%v", stats.Roads)
	}
	road(roadOpen)
	if resp, err := get("info"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("open again: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

func TestDemoRoadRefuses(t *testing.T) {
	d := startDemo(t, noDatabase)
	for name, tc := range map[string]struct {
		path, body, says string
		status           int
	}{
		"no such mode":  {"/demo/road", `{"who":"visitor","mode":"slow"}`, "buffer", 400},
		"no such pane":  {"/demo/road", `{"who":"system","mode":"open"}`, "visitor", 400},
		"no such field": {"/demo/wordpress", `{"stop":true}`, "JSON", 400},
		"no such road":  {"/demo/via/system/send", `{}`, "", 404},
		"no token":      {"/demo/via/visitor/send", `{"channel":"wplc/1","client_id":"12345678","body":"x"}`, "", 401},
	} {
		status, answer, _ := d.ask(http.MethodPost, tc.path, tc.body, http.Header{"Content-Type": {"application/json"}})
		if status != tc.status || !strings.Contains(string(answer), tc.says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
}
