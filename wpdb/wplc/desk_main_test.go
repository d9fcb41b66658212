package wplc

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"holdline/internal/chat"
	"holdline/wpdb"
)

// pollLoop is the interface of package poll that the Desk's loops are for.
type pollLoop interface {
	Channels() []string
	Hold() time.Duration
	Answer(ctx context.Context, final bool) (*chat.Reply, error)
	Again() time.Duration
	Told()
}

var _ = []pollLoop{(*NativeLoop)(nil), (*RelayLoop)(nil), (*SilentLoop)(nil)}

// holder holds loops as package poll does, for tests in a bubble.
type holder struct {
	mu   sync.Mutex
	held map[chan struct{}][]string // by what wakes them
}

func (h *holder) Wake(channel string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for wake, channels := range h.held {
		if slices.Contains(channels, channel) {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	}
}

// serve holds a loop until it is answered, or until its browser leaves: then
// left is true and it is not told anything.
func (h *holder) serve(ctx context.Context, loop pollLoop) (reply *chat.Reply, left bool) {
	wake := make(chan struct{}, 1)
	h.mu.Lock()
	h.held[wake] = loop.Channels()
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.held, wake)
		h.mu.Unlock()
	}()
	began := time.Now()
	for {
		reply, err := loop.Answer(context.Background(), false)
		if ctx.Err() != nil {
			return nil, true
		}
		if reply != nil {
			loop.Told()
			return reply, false
		}
		again := loop.Again()
		if err != nil {
			again = time.Second
		}
		end := time.Until(began.Add(loop.Hold()))
		wait := end
		if again > 0 {
			wait = min(again, end)
		}
		select {
		case <-ctx.Done():
			return nil, true
		case <-wake:
		case <-time.After(wait):
		}
		if time.Since(began) >= loop.Hold() {
			reply, _ := loop.Answer(context.Background(), true)
			if reply != nil {
				loop.Told()
			}
			return reply, false
		}
	}
}

// written notes what PHP would have written.
type written struct {
	mu      sync.Mutex
	effects []Effect
	visits  []Visit
	read    []int64
	ages    []time.Time
}

func (w *written) Effect(e Effect, v Visit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effects, w.visits = append(w.effects, e), append(w.visits, v)
}

func (w *written) Read(ids []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read = append(w.read, ids...)
}

// marks are the messages that were told to be read.
func (w *written) marks() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.read)
}

func (w *written) Age() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ages = append(w.ages, time.Now())
}

// desk is a Desk on a test site, in a bubble, that runs until the test ends.
type desk struct {
	*Desk
	holder
	t     *testing.T
	site  *testSite
	root  *sql.DB
	wrote *written
	ended chan error
	stop  context.CancelFunc
	log   *logged
}

// logged counts the lines that a logger was given.
type logged struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.lines = append(l.lines, line)
	return nil
}

func newDesk(t *testing.T, site *testSite, root *sql.DB, writes bool) *desk {
	t.Helper()
	return newDeskWith(t, site, root, writes, nil)
}

func newDeskWith(t *testing.T, site *testSite, root *sql.DB, writes bool, keep Keep) *desk {
	t.Helper()
	d := &desk{t: t, site: site, root: root, log: &logged{}, ended: make(chan error, 1)}
	d.held = make(map[chan struct{}][]string)
	opt := DeskOptions{Query: wpdb.Querier(site), Wake: d.Wake, Keep: keep, Logger: slog.New(d.log)}
	if writes {
		d.wrote = &written{}
		opt.Writes = d.wrote
	}
	d.Desk = NewDesk(detect(t, site), opt)
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	go func() { d.ended <- d.Run(ctx) }()
	return d
}

func (d *desk) close() {
	d.t.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		d.t.Error(err)
	}
}

func (d *desk) recognise(form url.Values) Loop {
	d.t.Helper()
	l, ok := d.src.Recognise(form)
	if !ok {
		d.t.Fatalf("%v is no loop", form)
	}
	if l.Agent {
		l.UserID = 1
	}
	return l
}

func visitorForm(cid int, status, session string) url.Values {
	return url.Values{
		"action": {ActionVisitor}, "cid": {fmt.Sprint(cid)}, "status": {status}, "wplcsession": {session},
		"wplc_name": {"Ann"}, "wplc_email": {"a@b.c"},
	}
}

func agentForm(cid int, status string) url.Values {
	return url.Values{"action": {ActionAgent}, "cid": {fmt.Sprint(cid)}, "chat_status": {status}, "first_run": {"false"}}
}

// say stores a message and tells its number.
func (d *desk) say(cid int, originates int, text string) int64 {
	d.t.Helper()
	columns, values := "chat_sess_id, msg, originates, timestamp, status", "?, ?, ?, '2019-03-19 12:00:00', 0"
	if d.src.facts.Version == 5 {
		columns, values = columns+", `from`", values+", 'Admin'"
	} else {
		columns, values = columns+", msgfrom, other, rel, afrom, ato", values+", 'Admin', '', '', 0, 0"
	}
	result, err := d.root.ExecContext(context.Background(),
		"INSERT INTO wp_wplc_chat_msgs ("+columns+") VALUES ("+values+")", cid, text, originates)
	if err != nil {
		d.t.Fatal(err)
	}
	id, err := result.LastInsertId()
	if err != nil {
		d.t.Fatal(err)
	}
	d.Wake(room{chat: int64(cid)}.channel())
	return id
}

// look asks a loop once.
func look(t *testing.T, loop pollLoop, final bool) string {
	t.Helper()
	reply, err := loop.Answer(context.Background(), final)
	if err != nil {
		t.Fatal(err)
	}
	if reply == nil {
		return ""
	}
	return string(reply.Body)
}
