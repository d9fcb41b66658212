package wplc

import (
	"context"
	"encoding/json"
	"net/url"
	"sync"
	"testing"
	"time"

	"holdline/internal/chat"
)

// boardPHP is PHP's dashboard loop: it answers when the list is another than the
// form's.
type boardPHP struct {
	d    *desk
	mu   sync.Mutex
	asks int
	held time.Duration
}

func (p *boardPHP) forward(form url.Values) Forward {
	return func(ctx context.Context, _ bool) (*chat.Reply, error) {
		p.mu.Lock()
		p.asks++
		p.mu.Unlock()
		began := time.Now()
		defer func() {
			p.mu.Lock()
			p.held += time.Since(began)
			p.mu.Unlock()
		}()
		time.Sleep(20 * time.Millisecond)
		for range 55 {
			b := board{words: English(), now: time.Now(), loc: p.d.site.Location()}
			var err error
			if b.rows, err = p.d.src.readVisitors(ctx, p.d.site); err != nil {
				return nil, err
			}
			list, _, shown := b.list8()
			if p.d.src.facts.Version == 5 {
				list, _, shown = b.list5()
			}
			if before := form.Get("wplc_update_admin_chat_table"); shown != (before != noTable) || shown && before != string(list) {
				body, err := json.Marshal(map[string]any{"wplc_update_admin_chat_table": string(list), "action": "wplc_update_chat_list"})
				return &chat.Reply{Body: body}, err
			}
			time.Sleep(500 * time.Millisecond)
		}
		return &chat.Reply{}, nil
	}
}

// listPage polls as the dashboard does, and counts its answers.
type listPage struct {
	table string
	mu    sync.Mutex
	got   []time.Time
}

// since counts the answers after a moment, and tells how long the first took.
func (p *listPage) since(when time.Time) (n int, first time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.got {
		if at.After(when) {
			if n++; n == 1 {
				first = at.Sub(when)
			}
		}
	}
	return n, first
}

func (p *listPage) run(ctx context.Context, d *desk, php *boardPHP, client string) {
	p.table = noTable
	for ctx.Err() == nil {
		form := url.Values{"action": {ActionDashboard}, "wplc_update_admin_chat_table": {p.table}}
		reply, _ := d.serve(ctx, d.Relay(d.recognise(form), client, Visit{}, php.forward(form)))
		if reply != nil {
			p.mu.Lock()
			p.got = append(p.got, time.Now())
			p.mu.Unlock()
			p.table = nextTable(reply)
		}
		time.Sleep(1500 * time.Millisecond)
	}
}

// Three pages, two of them of one agent: each has every change, and PHP holds
// hardly any of their requests.
func TestRelayedDashboards(t *testing.T) {
	site, _ := loopSite(t, "8")
	bubble(t, site, func(t *testing.T) {
		root := openRoot(t, site)
		d := newDesk(t, site, root, true)
		defer d.close()
		php := &boardPHP{d: d}
		ctx, stop := context.WithCancel(context.Background())
		pages := make([]listPage, 3)
		var wg sync.WaitGroup
		for i, client := range []string{"u1", "u1", "u2"} {
			wg.Go(func() { pages[i].run(ctx, d, php, client) })
		}
		opened := time.Now()
		time.Sleep(8 * time.Second)
		for i := range pages {
			if n, _ := pages[i].since(opened); n != 1 {
				t.Errorf("page %d got %d answers to its first request", i, n)
			}
		}
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 3 WHERE id = 42")
		changed := time.Now()
		d.Wake(room{agents: true}.channel())
		time.Sleep(18 * time.Second)
		for i := range pages {
			if n, took := pages[i].since(changed); n == 0 || n > 2 || took > 12*time.Second {
				t.Errorf("page %d got %d answers, the first after %v", i, n, took)
			}
		}
		time.Sleep(10 * time.Minute)
		stop()
		wg.Wait()
		t.Logf("%d requests to PHP, which held them for %v", php.asks, php.held)
		// The times in the list change about every minute for each of five sessions.
		if php.asks > 200 || php.held > 3*time.Minute {
			t.Errorf("%d requests to PHP, which held them for %v", php.asks, php.held)
		}
	})
}

// 5.x shows nothing where there is nobody: PHP would hold the request.
func TestRelayedDashboardOfNobody(t *testing.T) {
	site, root := loopSite(t, "5")
	exec(t, root, nobody)
	bubble(t, site, func(t *testing.T) {
		root := openRoot(t, site)
		d := newDesk(t, site, root, true)
		defer d.close()
		php := &boardPHP{d: d}
		form := url.Values{"action": {ActionDashboard}, "wplc_update_admin_chat_table": {noTable}}
		if reply, _ := d.serve(context.Background(), d.Relay(d.recognise(form), "u1", Visit{}, php.forward(form))); reply != nil || php.asks != 0 {
			t.Errorf("%v, %d requests to PHP", reply, php.asks)
		}
	})
}

// What an agent's page is told, and that PHP is not asked for anything else.
func TestRelayedAgents(t *testing.T) {
	relay(t, true, func(t *testing.T, d relayed) {
		poll := func(change ...string) map[string]any {
			form := agentForm(1, "3")
			for i := 0; i < len(change); i += 2 {
				form.Set(change[i], change[i+1])
			}
			reply, _ := d.serve(context.Background(), d.poll(form, "u1"))
			return fields(t, reply)
		}
		if got := poll(); got != nil {
			t.Errorf("nothing new: %v", got)
		}
		if got := poll("action_2", "wplc_long_poll_check_user_opened_chat", "chat_status", "2"); got == nil {
			t.Errorf("a chat that was opened: %v", got)
		}
		if got := poll("first_run", "true"); got["chat_history"] == nil {
			t.Errorf("first run: %v", got)
		}
		if got := poll("chat_status", "10"); got["chat_status"] != "3" {
			t.Errorf("status: %v", got)
		}
		d.say(1, fromAgent, "mine")
		d.say(1, fromVisitor, "yours")
		if got := messages(poll()); len(got) != 1 || got[0] != "yours" {
			t.Errorf("messages: %v", got)
		}
		if calls, shorts, _ := d.php.counts(); calls != 4 || shorts != 0 {
			t.Errorf("%d requests to PHP, %d short", calls, shorts)
		}
	})
}

// Two windows of an agent on one chat: messages reach both, the history of one is
// not shown in the other.
func TestRelayedWindowsOfOneAgent(t *testing.T) {
	relay(t, true, func(t *testing.T, d relayed) {
		told := make(chan *chat.Reply, 1)
		go func() {
			reply, _ := d.serve(context.Background(), d.poll(agentForm(1, "3"), "u1"))
			told <- reply
		}()
		time.Sleep(time.Second)
		form := agentForm(1, "3")
		form.Set("first_run", "true")
		if reply, _ := d.serve(context.Background(), d.poll(form, "u1")); fields(t, reply)["chat_history"] == nil {
			t.Errorf("%v", reply)
		}
		time.Sleep(time.Second)
		select {
		case reply := <-told:
			t.Fatalf("the other window was told %s", reply.Body)
		default:
		}
		d.say(1, fromVisitor, "hello")
		if got := messages(fields(t, <-told)); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

// Of 5.x each request to PHP may be held: browsing costs one none.
func TestRelayOfVersion5(t *testing.T) {
	for _, tc := range []struct {
		sent, stored string
		asks         int  // at most in ten minutes, of which each may hold PHP; one less is right too
		answered     bool // at once
	}{
		{"5", "5", 0, false},
		{"9", "9", 0, false},
		{"2", "2", 0, false},
		{"3", "3", 5, false},
		{"10", "10", 9, false},
		{"5", "7", 1, false},
		{"3", "8", 0, false},
		{"2", "0", 1, true},
		{"0", "0", 1, true},
		{"2", "3", 1, true},
		{"3", "1", 1, true},
	} {
		site, root := loopSite(t, "5")
		exec(t, root, "DELETE FROM wp_wplc_chat_msgs; UPDATE wp_wplc_chat_sessions SET session = 'S', status = "+tc.stored+" WHERE id = 1")
		bubble(t, site, func(t *testing.T) {
			d := newDesk(t, site, root, false)
			defer d.close()
			var mu sync.Mutex
			asks, answers := 0, 0
			began := time.Now()
			for time.Since(began) < 10*time.Minute && answers == 0 {
				reply, _ := d.serve(context.Background(), d.Relay(d.recognise(visitorForm(1, tc.sent, "S")), "v1", Visit{},
					func(_ context.Context, short bool) (*chat.Reply, error) {
						mu.Lock()
						defer mu.Unlock()
						if asks++; short {
							t.Error("a short poll")
						}
						if tc.answered {
							return &chat.Reply{Body: []byte(`{"status":"3","data":null}`)}, nil
						}
						return &chat.Reply{}, nil
					}))
				if reply != nil {
					answers++
				}
				time.Sleep(1500 * time.Millisecond)
			}
			if asks > tc.asks || asks < max(min(tc.asks, 1), tc.asks-1) || (answers == 1) != tc.answered {
				t.Errorf("POST %s, DB %s: %d requests to PHP, %d answers", tc.sent, tc.stored, asks, answers)
			}
		})
	}
}

// A browser asks again while its first request still counts as held: both get
// PHP's only answer, the next poll does not.
func TestRelayTwoRequestsOfOneClient(t *testing.T) {
	relay(t, true, func(t *testing.T, d relayed) {
		form := visitorForm(1, "3", "S")
		dead, live := d.poll(form, "v1"), d.poll(form, "v1")
		look(t, dead, false)
		look(t, live, false)
		d.say(1, fromAgent, "one")
		look(t, dead, false)
		time.Sleep(time.Second)
		if got := look(t, dead, false); got == "" {
			t.Error("the first request got nothing")
		}
		time.Sleep(time.Millisecond)
		dead.Told()
		if got := look(t, live, false); got == "" {
			t.Error("the second request lost it")
		}
		live.Told()
		time.Sleep(time.Millisecond)
		if got := look(t, d.poll(form, "v1"), false); got != "" {
			t.Errorf("the third request got %s", got)
		}
	})
}
