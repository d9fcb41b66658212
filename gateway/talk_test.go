package gateway_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// rowStore writes rows as WordPress would.
type rowStore struct {
	db *sql.DB

	mu     sync.Mutex
	shut   chan struct{} // nil: open; closed by open
	refuse *chat.Refusal // of all that comes
	down   bool
	calls  int
}

func (r *rowStore) Store(ctx context.Context, ms []outbox.Message) ([]outbox.Fate, error) {
	r.mu.Lock()
	shut, refuse, down := r.shut, r.refuse, r.down
	r.calls++
	r.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if down {
		return nil, io.ErrUnexpectedEOF
	}
	fates := make([]outbox.Fate, len(ms))
	for i, m := range ms {
		if refuse != nil {
			fates[i].Refused = refuse
			continue
		}
		id, err := r.row(ctx, m)
		if err != nil {
			return nil, err
		}
		fates[i].ID = id
	}
	return fates, nil
}

// row finds or makes a message's row (functions.php, wplc_record_chat_msg).
func (r *rowStore) row(ctx context.Context, m outbox.Message) (id int64, err error) {
	name, originates := strings.TrimPrefix(m.Channel, "wplc/"), 2
	if m.From.Kind == chat.KindAgent {
		originates = 1
	}
	err = r.db.QueryRowContext(ctx, "SELECT id FROM wp_wplc_chat_msgs WHERE chat_sess_id = ? AND rel = ? AND originates = ?", name, m.ClientID, originates).Scan(&id)
	if err == nil {
		return id, nil
	}
	res, err := r.db.ExecContext(ctx, `INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, ?, ?, UTC_TIMESTAMP(), 0, ?, '', ?, 0, 0)`, name, m.From.Name, m.Body, originates, m.ClientID)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// close makes messages wait for their rows until open is called.
func (r *rowStore) close() (open func()) {
	shut := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = shut
	return sync.OnceFunc(func() {
		close(shut)
		r.set(func() { r.shut = nil })
	})
}

func (r *rowStore) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// speakSite is a site whose browsers can send.
func speakSite(tb testing.TB, options ...option) (*site, *rowStore) {
	tb.Helper()
	s := prepareSite(tb, options...)
	store := &rowStore{db: s.db}
	s.rewire = func(b *gateway.Backend) { b.Store, b.Sends = store, nil }
	s.start()
	s.awaitReady()
	return s, store
}

// spoken is anything that a client may be told.
type spoken struct {
	chat.Event
	State, Reason, Error, Of string
	RetryMS                  int64 `json:"retry_ms"`
}

// talker is a WebSocket that also speaks.
type talker struct {
	tb   testing.TB
	conn *websocket.Conn
}

func (s *site) talk(tb testing.TB, channels string, asks ...ask) *talker {
	tb.Helper()
	req, err := http.NewRequest(http.MethodGet, s.base+"/ws?channels="+channels, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, change := range asks {
		change(req)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{Subprotocols: []string{"holdline.v1"}, HTTPHeader: req.Header})
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	tb.Cleanup(func() { conn.CloseNow() })
	c := &talker{tb, conn}
	c.hears("hello")
	return c
}

func (c *talker) says(text string, args ...any) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, text, args...)); err != nil {
		c.tb.Fatal("write:", err)
	}
}

// sends says a message and returns the answer to it.
func (c *talker) sends(channel, clientID, body string) spoken {
	c.tb.Helper()
	c.says(`{"type":"send","channel":%q,"client_id":%q,"body":%q}`, channel, clientID, body)
	for {
		if f := c.hears("sent", "error"); f.ClientID == clientID {
			return f
		}
	}
}

// hears returns the next frame of one of the types.
func (c *talker) hears(types ...string) spoken {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, b, err := c.conn.Read(ctx)
		if err != nil {
			c.tb.Fatalf("waiting for %v: %v", types, err)
		}
		conformsAs(c.tb, "told", b)
		var f spoken
		if err := json.Unmarshal(b, &f); err != nil {
			c.tb.Fatalf("%s: %v", b, err)
		}
		if slices.Contains(types, string(f.Type)) {
			return f
		}
	}
}

// posts says something by POST.
func (s *site) posts(tb testing.TB, path, contentType, body string, asks ...ask) (*http.Response, spoken) {
	tb.Helper()
	req, err := http.NewRequest(http.MethodPost, s.base+"/"+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for _, change := range asks {
		change(req)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var f spoken
	if resp.StatusCode != http.StatusNoContent {
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			tb.Fatalf("POST %s: %s: %v", path, resp.Status, err)
		}
		if err := json.Unmarshal(text, &f); err != nil {
			tb.Fatalf("POST %s: %s: %s: %v", path, resp.Status, text, err)
		}
		if f.Type == "" {
			conforms(tb, "error", text)
		} else {
			conforms(tb, "answer", text)
		}
	}
	return resp, f
}

const jsonType = "application/json"

// about skips all that is not about the message with a client id or body.
func about(c client, clientID, body string) chat.Event {
	for {
		if e := c.next(); e.ClientID == clientID || e.Body == body && body != "" {
			return e
		}
	}
}

func (s *site) rows(tb testing.TB, chatID int64) (bodies []string) {
	tb.Helper()
	found, err := s.db.QueryContext(context.Background(), "SELECT msg FROM wp_wplc_chat_msgs WHERE chat_sess_id = ? ORDER BY id", chatID)
	if err != nil {
		tb.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var body string
		if err := found.Scan(&body); err != nil {
			tb.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func TestMessageIsShownBeforeItIsStored(t *testing.T) {
	for name, open := range transports() {
		t.Run(name, func(t *testing.T) {
			s, store := speakSite(t)
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			reader := open(t, s, channel, "")
			defer reader.close()
			agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
			letIn := store.close()
			if f := agent.sends(channel, "client-1", "Hello"); f.State != "pending" || f.Channel != channel {
				t.Fatalf("the sender is told %+v", f)
			}
			e := about(reader, "client-1", "")
			if e.Type != chat.TypeMessage || !e.Pending || e.ID != 0 || e.Cursor != "" || e.Body != "Hello" || e.From.Kind != chat.KindAgent {
				t.Fatalf("the visitor is told %+v", e)
			}
			letIn()
			for e.ID == 0 { // a poll may be told again what is still pending
				e = about(reader, "client-1", "")
			}
			if e.Type != chat.TypeStored && (name != "poll" || e.Type != chat.TypeMessage) || e.Pending || e.Body != "Hello" {
				t.Fatalf("the row comes as %+v", e)
			}
			s.say(id, "after it")
			if e := about(reader, "client-1", "after it"); e.ClientID != "" || e.Type != chat.TypeMessage {
				t.Fatalf("told twice: %+v", e)
			}
			if f := agent.sends(channel, "client-1", "Hello"); f.State != "stored" || f.ID == 0 {
				t.Fatalf("a repetition is answered %+v", f)
			}
			if rows := s.rows(t, id); !slices.Equal(rows, []string{"Hello", "after it"}) {
				t.Errorf("rows %q", rows)
			}
		})
	}
}

func TestPostSends(t *testing.T) {
	s, store := speakSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	pass := bearer(s.token(channel))
	agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
	letIn := store.close()
	body := fmt.Sprintf(`{"channel":%q,"client_id":"client-1","body":"one"}`, channel)
	resp, f := s.posts(t, "send", jsonType, body, pass)
	if resp.StatusCode != http.StatusAccepted || f.State != "pending" || f.Type != "sent" || f.ClientID != "client-1" {
		t.Fatalf("%s %+v", resp.Status, f)
	}
	if e := agent.hears("message"); !e.Pending || e.Body != "one" || e.From.Kind != chat.KindVisitor || e.From.Name != "Ann" {
		t.Errorf("the agent is told %+v", e)
	}
	form := "channel=" + channel + "&client_id=client-2&body=two+%26+more"
	if resp, f = s.posts(t, "send", "application/x-www-form-urlencoded", form, pass); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("a form: %s %+v", resp.Status, f)
	}
	letIn()
	s.await(t, "both are stored in order", func() bool { return slices.Equal(s.rows(t, id), []string{"one", "two & more"}) })
	s.await(t, "a repetition tells of the row", func() bool {
		resp, f = s.posts(t, "send", jsonType, body, pass)
		return resp.StatusCode == http.StatusOK && f.State == "stored" && f.ID > 0
	})
	if resp, f = s.posts(t, "signal", jsonType, body[:1]+`"type":"send",`+body[1:], pass); resp.StatusCode != 400 || f.Reason != chat.ReasonBadRequest {
		t.Errorf("a send to signal: %s %+v", resp.Status, f)
	}
	if n := s.metric(t, `holdline_sends_total{result="pending"}`); n < 2 {
		t.Errorf("%d messages counted as pending", n)
	}
	s.await(t, "the spool is empty", func() bool { return s.metric(t, "holdline_spool_messages ") == 0 })
	if n := s.metric(t, "holdline_stored_seconds_count"); n != 2 {
		t.Errorf("%d latencies, want 2", n)
	}
}

func TestRefusedMessageIsWithdrawn(t *testing.T) {
	s, store := speakSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	visitor := s.talk(t, channel, bearer(s.token(channel)))
	agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
	store.set(func() { store.refuse = &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."} })
	if f := visitor.sends(channel, "client-1", "too late"); f.State != "pending" {
		t.Fatalf("%+v", f)
	}
	if e := agent.hears("message"); !e.Pending {
		t.Fatalf("%+v", e)
	}
	for _, c := range []*talker{agent, visitor} {
		if e := c.hears("withdrawn"); e.ClientID != "client-1" || !strings.Contains(string(e.Data), `"closed"`) {
			t.Errorf("withdrawn as %+v", e)
		}
	}
	if f := visitor.sends(channel, "client-1", "too late"); f.State != "failed" || f.Reason != chat.ReasonClosed {
		t.Errorf("a repetition is answered %+v", f)
	}
}

// What was accepted outlives the gateway, and what came last before its end too.
func TestMessagesOutliveTheGateway(t *testing.T) {
	s, store := speakSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	pass := bearer(s.token(channel))
	store.set(func() { store.down = true })
	visitor := s.talk(t, channel, pass)
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprint("message ", i))
		if f := visitor.sends(channel, fmt.Sprintf("client-%d", i), want[i]); f.State != "pending" {
			t.Fatalf("message %d: %+v", i, f)
		}
	}
	s.stop()
	s.start()
	s.awaitReady()
	reader := s.talk(t, channel, pass)
	for i := range want {
		if e := reader.hears("message"); !e.Pending || e.Body != want[i] {
			t.Fatalf("who comes later is told %+v, want %q", e, want[i])
		}
	}
	store.set(func() { store.down = false })
	s.await(t, "all are stored in order", func() bool { return slices.Equal(s.rows(t, id), want) })
	for i := range want {
		if e := reader.hears("stored", "message"); e.Type != chat.TypeStored || e.Body != want[i] {
			t.Fatalf("%+v, want %q", e, want[i])
		}
	}
}

func TestWithoutAFolderNothingIsSent(t *testing.T) {
	var log captured
	s, _ := speakSite(t, logTo(&log), with(func(c *config.Config) { c.StateDir = config.StateOff }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	pass := bearer(s.token(channel))
	if resp, f := s.posts(t, "send", jsonType, fmt.Sprintf(`{"channel":%q,"client_id":"client-1","body":"x"}`, channel), pass); resp.StatusCode != 503 || f.Reason != chat.ReasonUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %+v", resp.Status, f)
	}
	if text := log.String(); !strings.Contains(text, "browsers cannot send messages") || !strings.Contains(text, "spool.dir") {
		t.Error("the log does not say why:", text)
	}
	if s.info(t).Send {
		t.Error("info says that messages are taken")
	}
	visitor := s.talk(t, channel, pass)
	agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
	visitor.says(`{"type":"typing","channel":%q,"typing":true}`, channel)
	if e := agent.hears("typing"); e.From.Kind != chat.KindVisitor {
		t.Errorf("%+v", e)
	}
}

type siteInfo struct {
	Send    bool
	MaxBody int64 `json:"max_body"`
}

func (s *site) info(tb testing.TB) (i siteInfo) {
	tb.Helper()
	resp, err := httpClient.Get(s.base + "/info")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&i); err != nil {
		tb.Fatal(err)
	}
	return i
}

func TestTwoGatewaysDoNotShareASpool(t *testing.T) {
	s, _ := speakSite(t)
	if i := s.info(t); !i.Send || i.MaxBody != 16<<10 {
		t.Fatalf("info: %+v", i)
	}
	other := *s
	other.start()
	other.awaitReady()
	if other.info(t).Send {
		t.Error("both take messages into one folder")
	}
	other.stop()
	if !s.info(t).Send {
		t.Error("the first takes none any more")
	}
}
