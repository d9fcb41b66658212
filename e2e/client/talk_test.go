//go:build e2e

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
	"holdline/internal/wpsite"
)

// patience is for a machine that has other things to do.
const patience = time.Minute

// wordpress stores what is said, by the companion plugin. All tests share it, TestMain
// ends it; it is nil until one needs it.
var wordpress *wpsite.Site

const secret = "0123456789abcdef0123456789abcdef"

// needWordPress brings it up.
func needWordPress(t *testing.T) {
	t.Helper()
	if wordpress != nil {
		return
	}
	// No page goes through Holdline there, but without an address of one the site has
	// no companion plugin.
	wp, err := wpsite.Up(context.Background(), wpsite.Options{Holdline: "http://" + backstage.FreeAddress(t), Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	wordpress = wp
}

func downWordPress() error {
	if wordpress == nil {
		return nil
	}
	return wordpress.Down()
}

// newTalk is newSite with a WordPress behind the program, which takes sends therefore.
func newTalk(t *testing.T, env ...string) *site {
	t.Helper()
	needWordPress(t)
	s := &site{t: t, db: wordpress.DB(), admin: backstage.FreeAddress(t), fronts: map[string]string{}, cables: map[string]*cable{}}
	listen := backstage.FreeAddress(t)
	origins := s.runNginx(listen)
	s.env = append([]string{
		"HOLDLINE_LISTEN=" + listen, "HOLDLINE_ADMIN_LISTEN=" + s.admin,
		"HOLDLINE_WORDPRESS_CONFIG=" + wordpress.Config, "HOLDLINE_WORDPRESS_UPSTREAM=" + wordpress.UpstreamURL,
		"HOLDLINE_DATABASE_USER=" + wordpress.HoldlineUser, "HOLDLINE_DATABASE_PASSWORD=" + wordpress.HoldlinePassword,
		"HOLDLINE_AUTH_SECRET=" + secret, "HOLDLINE_AUTH_ALLOWED_ORIGINS=" + strings.Join(origins, ","),
		"HOLDLINE_STATE_DIR=" + t.TempDir(), "HOLDLINE_TAIL_INTERVAL=10ms", "HOLDLINE_LOG_LEVEL=debug",
	}, env...)
	s.startProgram()
	backstage.Eventually(t, "sends are taken", patience, func() bool {
		resp, err := http.Get("http://" + listen + "/holdline/v1/info")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var info struct{ Send bool }
		return json.NewDecoder(resp.Body).Decode(&info) == nil && info.Send
	})
	return s
}

// heard is an event as a page has heard it.
type heard struct {
	Type     string
	ID       int64
	ClientID string `json:"client_id"`
	From     struct {
		Kind, Name string
		ID         int64
	}
	Body    string
	Pending bool
	Data    struct {
		UpTo   int64 `json:"up_to"`
		Reason string
	}
}

type party struct{ Kind, Name string }

// notes are what a chat page has heard so far.
type notes struct {
	Heard []heard // messages, and what became of them
	Sent  []struct {
		ClientID            string `json:"client_id"`
		Body, State, Reason string
	}
	Typing   []bool
	Presence []struct {
		Present, Left []party
	}
	Signals []struct {
		From struct{ Kind string }
		Data struct {
			To      struct{ Kind string }
			Payload any
		}
	}
	Errors                 []struct{ Message, Reason string }
	Faults                 []string
	State, Transport, Role string
}

// bodies are what a page was shown of one side's messages, in the order in which they
// came. One that came twice is there twice.
func (n *notes) bodies(kind string) (all []string) {
	for _, e := range n.Heard {
		if e.Type == "message" && e.From.Kind == kind {
			all = append(all, e.Body)
		}
	}
	return all
}

// ticks are the states that an own message has gone through.
func (n *notes) ticks(body string) (all []string) {
	for _, s := range n.Sent {
		if s.Body == body {
			all = append(all, s.State)
		}
	}
	return all
}

// side is a page of one side of a chat.
type side struct {
	*tab
	chat  *chat
	kind  string // visitor or agent
	begin string // what began its line
}

// chat is a conversation and what was said in it, by side.
type chat struct {
	*site
	id      int64
	channel string
	said    map[string][]string
}

func (s *site) newChat(t *testing.T) *chat {
	t.Helper()
	id, channel := s.chat()
	return &chat{site: s.in(t), id: id, channel: channel, said: map[string][]string{}}
}

// page opens a page of one side, behind a front. What was said before is in it too.
func (c *chat) page(b *browser, front, kind string, options map[string]any) *side {
	b.t.Helper()
	subject := "ann"
	if kind == "agent" {
		subject = "wp:1"
	}
	all := map[string]any{"as": kind, "channels": []string{c.channel}, "token": c.mint(subject, c.channel), "cursor": "0"}
	for k, v := range options {
		all[k] = v
	}
	p := b.in(c.t).open(c.fronts[front] + "/talk.html")
	w := &side{p, c, kind, "begin(" + quoted(c.t, all) + ")"}
	w.eval(w.begin, nil)
	return w
}

func (w *side) notes() (n notes) {
	w.t.Helper()
	w.eval("told()", &n)
	return n
}

// await waits until what the page has heard is as it should be.
func (w *side) await(what string, ok func(n *notes) bool) *notes {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		n := w.notes()
		if ok(&n) {
			return &n
		}
		select {
		case <-tick.C:
		case <-late:
			text, _ := json.MarshalIndent(n, "", " ")
			w.t.Fatalf("the %s: %s: not within %v\n%s", w.kind, what, patience, text)
		}
	}
}

func (w *side) awaitOpen(transport string) {
	w.t.Helper()
	w.await("open over "+transport, func(n *notes) bool { return n.State == "open" && n.Transport == transport })
}

// say has the page say n things more, and does not wait for them.
func (w *side) say(n int) {
	w.t.Helper()
	var texts []string
	for range n {
		text := fmt.Sprintf("%s %d", w.kind, len(w.chat.said[w.kind])+1)
		w.chat.said[w.kind] = append(w.chat.said[w.kind], text)
		texts = append(texts, text)
	}
	w.eval("say(..."+quoted(w.t, texts)+")", nil)
}

// settle waits until pages show as stored all that was said, and checks that it came
// once, in each side's order, and is in the table so.
func (c *chat) settle(pages ...*side) {
	c.t.Helper()
	for _, w := range pages {
		total := len(c.said["visitor"]) + len(c.said["agent"])
		w.await("everything is there, and stored", func(*notes) bool {
			var n int
			w.eval(`document.querySelectorAll("#log li[data-state=stored]").length`, &n)
			return n >= total
		})
	}
	for _, w := range pages {
		n := w.notes()
		stored := map[string]int{}
		for _, e := range n.Heard {
			if e.ID > 0 {
				stored[e.ClientID]++
			}
		}
		for kind, want := range c.said {
			if got := n.bodies(kind); !slices.Equal(got, want) {
				c.t.Errorf("the %s's page heard of the %s %q\ninstead of %q", w.kind, kind, got, want)
			}
		}
		for id, times := range stored {
			if times != 1 {
				c.t.Errorf("the %s's page heard of the row of %s %d times", w.kind, id, times)
			}
		}
		if len(n.Faults)+len(n.Errors) > 0 {
			c.t.Errorf("the %s's page: faults %q, errors %v", w.kind, n.Faults, n.Errors)
		}
	}
	for originates, kind := range map[int]string{1: "agent", 2: "visitor"} {
		if got := c.rows(originates); !slices.Equal(got, c.said[kind]) {
			c.t.Errorf("the table has of the %s %q\ninstead of %q", kind, got, c.said[kind])
		}
	}
}

// rows are the texts of one side in the table.
func (c *chat) rows(originates int) (all []string) {
	c.t.Helper()
	rows, err := c.db.QueryContext(context.Background(),
		"SELECT msg FROM wp_wplc_chat_msgs WHERE chat_sess_id = ? AND originates = ? ORDER BY id", c.id, originates)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			c.t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	return all
}

// Both sides write to each other over each rung of the ladder: everything comes once and
// in order, and whoever wrote it learns what becomes of it.
func TestTalk(t *testing.T) {
	s := newTalk(t)
	visitors, agents := newBrowser(t), newBrowser(t)
	for _, test := range []struct{ front, transport string }{
		{"open", "ws"},
		{"no WebSocket", "sse"},
		{"no WebSocket, streams buffered", "poll"},
		{"no WebSocket, streams buffered, polls cut at 1 s", "short"},
	} {
		t.Run(test.transport, func(t *testing.T) {
			t.Parallel()
			c := s.newChat(t)
			visitor, agent := c.page(visitors, test.front, "visitor", nil), c.page(agents, test.front, "agent", nil)
			t.Cleanup(agent.close)
			visitor.awaitOpen(test.transport)
			agent.awaitOpen(test.transport)
			c.testTicks(visitor, agent)
			for range 5 {
				visitor.say(2)
				agent.say(2)
			}
			c.settle(visitor, agent)
			c.testSignal(visitor, agent)
			if test.transport != "short" { // which is told who types only by chance, and all else late
				c.testTyping(visitor, agent)
				c.testPresence(visitor, agent)
			}
		})
	}
}

// testTicks has each side say something that the other sees only after a while.
func (c *chat) testTicks(sides ...*side) {
	c.t.Helper()
	for i, w := range sides {
		w.say(1)
		text := c.said[w.kind][0]
		w.await("its message is delivered", func(n *notes) bool { return slices.Contains(n.ticks(text), "delivered") })
		sides[1-i].eval("reading = true; read()", nil)
		n := w.await("its message is seen", func(n *notes) bool { return slices.Contains(n.ticks(text), "seen") })
		if got, want := n.ticks(text), []string{"pending", "stored", "delivered", "seen"}; !slices.Equal(got, want) {
			c.t.Errorf("the %s's message was %q instead of %q", w.kind, got, want)
		}
	}
}

// testSignal has the visitor call the agent, who alone hears of it.
func (c *chat) testSignal(visitor, agent *side) {
	c.t.Helper()
	visitor.eval(`line.signal(channel, {kind: "agent", id: 1}, {offer: ["<b>", 1]}); 0`, nil)
	n := agent.await("a signal", func(n *notes) bool { return len(n.Signals) > 0 })
	if got := fmt.Sprint(n.Signals); got != `[{{visitor} {{agent} map[offer:[<b> 1]]}}]` {
		c.t.Errorf("the agent heard signals %s", got)
	}
	if n := visitor.notes(); len(n.Signals) > 0 {
		c.t.Errorf("the visitor heard its own signal: %v", n.Signals)
	}
}

// testTyping has each side type: one falls silent, the other stops.
func (c *chat) testTyping(visitor, agent *side) {
	c.t.Helper()
	for _, test := range []struct {
		from, to *side
		end      string
	}{{visitor, agent, ""}, {agent, visitor, "line.typing(channel, false)"}} {
		// Nobody listens between two long polls; who types on is told of again.
		test.from.eval("window.keys = setInterval(() => line.typing(channel), 100)", nil)
		test.to.await("the other side types", func(n *notes) bool { return slices.Contains(n.Typing, true) })
		test.from.eval("clearInterval(keys);"+test.end+";0", nil)
		test.to.await("that is over", func(n *notes) bool { return !n.Typing[len(n.Typing)-1] })
	}
}

// testPresence has the visitor's page loaded again, which is no leaving, and closed.
func (c *chat) testPresence(visitor, agent *side) {
	c.t.Helper()
	present := func(want ...string) func(n *notes) bool {
		return func(n *notes) bool {
			return len(n.Presence) > 0 && slices.Equal(kinds(n.Presence[len(n.Presence)-1].Present), want)
		}
	}
	agent.await("both are there", present("visitor", "agent"))
	visitor.reload()
	visitor.await("both are there", present("visitor", "agent"))
	c.settle(visitor)
	for _, p := range agent.notes().Presence {
		if len(p.Left) > 0 {
			c.t.Errorf("somebody left when a page was loaded again: %v", p)
		}
	}
	visitor.close()
	n := agent.await("the visitor has left", present("agent"))
	if left := kinds(n.Presence[len(n.Presence)-1].Left); !slices.Equal(left, []string{"visitor"}) {
		c.t.Errorf("%q have left instead of the visitor", left)
	}
}

// WordPress refuses what everybody has been shown already: it is withdrawn, and whoever
// wrote it is told why.
func TestWithdrawn(t *testing.T) {
	s := newTalk(t)
	c := s.newChat(t)
	visitor, agent := c.page(newBrowser(t), "open", "visitor", nil), c.page(newBrowser(t), "no WebSocket, streams buffered", "agent", nil)
	visitor.awaitOpen("ws")
	agent.awaitOpen("poll")
	visitor.say(1)
	c.settle(visitor, agent)
	release := c.lock()
	visitor.eval(`say("too late")`, nil)
	agent.await("it is shown", func(n *notes) bool { return slices.Contains(n.bodies("visitor"), "too late") })
	s.exec("UPDATE wp_wplc_chat_sessions SET status = 1 WHERE id = ?", c.id)
	release()
	n := visitor.await("it has failed", func(n *notes) bool { return slices.Contains(n.ticks("too late"), "failed") })
	if last := n.Sent[len(n.Sent)-1]; last.Reason != "closed" {
		t.Errorf("it failed because of %q", last.Reason)
	}
	for _, w := range []*side{visitor, agent} {
		w.until(`[...document.querySelectorAll("#log li[data-state=withdrawn] span")].map((e) => e.textContent).join() === "too late"`, patience)
	}
	if got := c.rows(2); !slices.Equal(got, c.said["visitor"]) {
		t.Errorf("the table has %q", got)
	}
}

// lock keeps the companion plugin from storing anything in the chat: it has one such
// lock for each.
func (c *chat) lock() (release func()) {
	c.t.Helper()
	conn, err := c.db.Conn(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	name := "CONCAT('holdline ', MD5(CONCAT(DATABASE(), ' wp_')), ' ', ?)"
	var got int
	if err := conn.QueryRowContext(context.Background(), "SELECT GET_LOCK("+name+", 60)", c.id).Scan(&got); err != nil || got != 1 {
		c.t.Fatal("lock the chat:", got, err)
	}
	return func() {
		c.t.Helper()
		if err := conn.QueryRowContext(context.Background(), "SELECT RELEASE_LOCK("+name+")", c.id).Scan(&got); err != nil || got != 1 {
			c.t.Fatal("unlock the chat:", got, err)
		}
	}
}

func kinds(parties []party) (all []string) {
	for _, p := range parties {
		all = append(all, p.Kind)
	}
	return all
}

// reload loads the page again and begins its line as before.
func (w *side) reload() {
	w.t.Helper()
	w.eval("ready = false", nil)
	w.must(w.session, "Page.reload", map[string]any{}, nil)
	w.until("window.ready", patience)
	w.eval(w.begin, nil)
}

// quoted is a value as JavaScript has it.
func quoted(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
