//go:build e2e

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// dealer is a gateway that says nonsense, and then one sensible thing.
type dealer struct {
	mu   sync.Mutex
	dice *rand.Rand
	// without lists endpoints that are not there.
	without string
}

// odd are values where others belong.
var odd = []string{
	`null`, `0`, `-1`, `1e308`, `""`, `"x"`, `"__proto__"`, `"state"`, `"error"`, `[]`, `{}`, `[[[]]]`, `{"toString":1}`, `true`,
	`"<img src=x onerror='faults.push(1)'>"`, `"\u0000\ud800"`, `{"after_ms":"soon"}`, `{"after_ms":-5}`, `"constructor"`, `99999999999999999999`,
}

// nonsense is one event, or not even that.
func (d *dealer) nonsense() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	types := []string{`"message"`, `"status"`, `"hello"`, `"pong"`, `"reset"`, `"reconnect"`, `"typing"`}
	fields := []string{`"type":` + types[d.dice.IntN(len(types))]}
	if d.dice.IntN(4) == 0 {
		fields[0] = `"type":` + odd[d.dice.IntN(len(odd))]
	}
	for _, name := range []string{"id", "channel", "cursor", "data", "from", "body", "sent_at", "__proto__"} {
		switch d.dice.IntN(4) {
		case 0:
			fields = append(fields, fmt.Sprintf("%q:%s", name, odd[d.dice.IntN(len(odd))]))
		case 1:
			if name == "channel" {
				fields = append(fields, `"channel":"wplc/1"`)
			}
		}
	}
	text := "{" + strings.Join(fields, ",") + "}"
	switch d.dice.IntN(30) {
	case 0:
		text = text[:d.dice.IntN(len(text))]
	case 1:
		text = odd[d.dice.IntN(len(odd))]
	case 2: // deeper than a browser copies
		text = `{"type":"status","channel":"wplc/1","data":{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}`
	}
	return text
}

// sensible is the event that shall still be heard; the ids of one connection are
// not those of another.
func sensible() string {
	text, _ := json.Marshal(map[string]any{"type": "message", "channel": "wplc/1", "id": time.Now().UnixNano() / 1000, "cursor": "7", "body": "after all that"})
	return string(text)
}

const pieces = 200

func (d *dealer) webSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"holdline.v1"}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := conn.CloseRead(context.Background())
	conn.Write(ctx, websocket.MessageText, []byte(`{"type":"hello","cursor":"1"}`))
	for range pieces {
		conn.Write(ctx, websocket.MessageText, []byte(d.nonsense()))
	}
	conn.Write(ctx, websocket.MessageText, []byte(sensible()))
	<-ctx.Done()
}

func (d *dealer) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": x\n\n")
	for range pieces {
		fmt.Fprintf(w, "data: %s\nid: 2\n\n", d.nonsense())
	}
	fmt.Fprintf(w, "data: %s\n\n", sensible())
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (d *dealer) poll(w http.ResponseWriter, r *http.Request) {
	list := make([]string, 0, pieces)
	for len(list) < pieces {
		if text := d.nonsense(); json.Valid([]byte(text)) {
			list = append(list, text)
		}
	}
	if r.URL.Query().Get("cursor") == "7" { // it holds now
		list = nil
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	} else {
		list = append(list, sensible())
	}
	fmt.Fprintf(w, `{"cursor":"7","events":[%s]}`, strings.Join(list, ","))
}

// Whatever a server says, the client goes on and nothing of it is run.
func TestGarbage(t *testing.T) {
	b := newBrowser(t)
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	d := &dealer{dice: rand.New(rand.NewPCG(seed, 0))}
	mux := http.NewServeMux()
	endpoint := func(name string, h http.HandlerFunc) {
		mux.HandleFunc("/holdline/v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(d.without, name) {
				http.NotFound(w, r)
				return
			}
			h(w, r)
		})
	}
	endpoint("ws", d.webSocket)
	endpoint("sse", d.stream)
	endpoint("poll", d.poll)
	mux.Handle("/client/", http.StripPrefix("/client/", http.FileServer(http.Dir(filepath.Join("..", "..", "wordpress", "client")))))
	mux.Handle("/", http.FileServer(http.Dir("page")))
	for _, test := range []struct{ transport, without string }{{"ws", ""}, {"sse", "ws"}, {"poll", "ws sse"}} {
		t.Run(test.transport, func(t *testing.T) {
			d.without = test.without
			l, err := net.Listen("tcp", "127.0.0.1:0") // an origin of its own, of which nothing is remembered
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
			p := b.open("http://" + l.Addr().String())
			defer p.close()
			line := p.line("l", map[string]any{"channels": []string{"wplc/1"}})
			o := line.await("the sensible event", 20*time.Second, func(o told) bool {
				for _, e := range o.Heard {
					if e.Body == "after all that" {
						return true
					}
				}
				return false
			})
			if len(o.Faults) > 0 {
				t.Errorf("faults in the page: %q", o.Faults)
			}
			t.Logf("%d events of %d were taken for some", len(o.Heard), pieces)
		})
	}
}
