package wplc

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdline/internal/chat"
)

// relayed is a desk whose loops PHP answers.
type relayed struct {
	*desk
	php *php
}

// relay runs a test on a site without a companion plugin, whose visitors 1 to 25
// talk with an agent.
func relay(t *testing.T, writes bool, run func(t *testing.T, d relayed)) {
	t.Helper()
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs; DELETE FROM wp_wplc_chat_sessions")
	for cid := range 25 {
		exec(t, root, "INSERT INTO wp_wplc_chat_sessions (id, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)"+
			" VALUES (?, '2000-01-01 00:00:00', 'Ann', 'a@b.c', '', 3, 'S', '', '2000-01-01 00:00:00', 1, '', '')", cid+1)
	}
	bubble(t, site, func(t *testing.T) {
		root := openRoot(t, site)
		d := newDesk(t, site, root, writes)
		defer d.close()
		run(t, relayed{d, &php{db: root, start: 30 * time.Millisecond}})
	})
}

// openRoot opens connections that write, for the goroutines of a bubble.
func openRoot(t *testing.T, site *testSite) *sql.DB {
	t.Helper()
	var name string
	if err := site.DB.QueryRow("SELECT DATABASE()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	root, err := server.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func (d relayed) poll(form url.Values, client string) *RelayLoop {
	return d.Relay(d.recognise(form), client, Visit{}, d.php.forward(form))
}

// visitor polls as the page of a visitor does.
func (d relayed) visitor(ctx context.Context, cid int, status string) (got map[string]any, left bool) {
	reply, left := d.serve(ctx, d.poll(visitorForm(cid, status, "S"), fmt.Sprint("v", cid)))
	return fields(d.t, reply), left
}

func fields(t *testing.T, reply *chat.Reply) map[string]any {
	t.Helper()
	if reply == nil {
		return nil
	}
	var got map[string]any
	if err := json.Unmarshal(reply.Body, &got); err != nil {
		t.Errorf("%v: %s", err, reply.Body)
	}
	return got
}

func messages(got map[string]any) (texts []string) {
	for _, key := range []string{"data", "chat_message"} {
		data, _ := got[key].(map[string]any)
		for _, entry := range data {
			entry, _ := entry.(map[string]any)
			text, _ := entry["msg"].(string)
			texts = append(texts, text)
		}
	}
	return texts
}

// A browser leaves in mid-hold, or while PHP makes its answer: the next poll has
// the message.
func TestRelayLosesNothingToBrowsersThatLeave(t *testing.T) {
	for _, tc := range []struct {
		name  string
		leave time.Duration // after the message
	}{{"before the message", -time.Second}, {"while PHP starts", 10 * time.Millisecond}, {"when PHP has marked it", 100 * time.Millisecond}} {
		t.Run(tc.name, func(t *testing.T) {
			relay(t, false, func(t *testing.T, d relayed) {
				d.php.finish = 500 * time.Millisecond
				lost := 0
				var wg sync.WaitGroup
				for cid := 1; cid <= 25; cid++ {
					wg.Go(func() {
						ctx, leave := context.WithCancel(context.Background())
						time.AfterFunc(4*time.Second+tc.leave, leave)
						if _, left := d.visitor(ctx, cid, "3"); !left {
							t.Error("answered")
						}
					})
				}
				time.Sleep(4 * time.Second)
				for cid := 1; cid <= 25; cid++ {
					d.say(cid, fromAgent, fmt.Sprint("message for ", cid))
				}
				wg.Wait()
				time.Sleep(1500 * time.Millisecond)
				for cid := 1; cid <= 25; cid++ {
					got, _ := d.visitor(context.Background(), cid, "3")
					if !slices.Equal(messages(got), []string{fmt.Sprint("message for ", cid)}) {
						lost++
					}
				}
				var more sync.WaitGroup
				var repeats atomic.Int64
				for cid := 1; cid <= 25; cid++ {
					more.Go(func() {
						if got, _ := d.visitor(context.Background(), cid, "3"); got != nil {
							repeats.Add(1)
						}
					})
				}
				more.Wait()
				repeated := repeats.Load()
				if lost != 0 || repeated != 0 {
					t.Errorf("lost %d of 25, repeated %d", lost, repeated)
				}
			})
		})
	}
}

// Six visitors and their agents write hundreds of messages, and a third of all
// polls end at a random moment.
func TestRelayUnderAborts(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		const chats, each = 6, 60
		d.php.finish = 120 * time.Millisecond
		var mu sync.Mutex
		got := map[string]int{}
		aborts := 0
		ctx, stop := context.WithCancel(context.Background())
		var readers, writers sync.WaitGroup
		for cid := 1; cid <= chats; cid++ {
			for _, side := range []string{"visitor", "agent"} {
				readers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(cid), uint64(len(side))))
					form, client := visitorForm(cid, "3", "S"), fmt.Sprint("v", cid)
					if side == "agent" {
						form, client = agentForm(cid, "3"), "u1"
					}
					for ctx.Err() == nil {
						poll, leave := context.WithCancel(ctx)
						if random.IntN(3) == 0 {
							time.AfterFunc(time.Duration(random.IntN(3000))*time.Millisecond, leave)
						}
						reply, left := d.serve(poll, d.poll(form, client))
						leave()
						mu.Lock()
						if left {
							aborts++
						}
						for _, text := range messages(fields(t, reply)) {
							got[text]++
						}
						mu.Unlock()
						time.Sleep(1500 * time.Millisecond)
					}
				})
				writers.Go(func() {
					random := rand.New(rand.NewPCG(uint64(cid), 7+uint64(len(side))))
					for i := range each {
						time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
						kind := map[string]int{"visitor": fromAgent, "agent": fromVisitor}[side]
						d.say(cid, kind, fmt.Sprintf("%d for the %s of %d", i, side, cid))
					}
				})
			}
		}
		writers.Wait()
		time.Sleep(10 * time.Second)
		stop()
		readers.Wait()
		lost, repeated := 2*chats*each-len(got), 0
		for _, n := range got {
			repeated += n - 1
		}
		calls, _, most := d.php.counts()
		t.Logf("%d messages, %d aborts, %d requests to PHP, %d at once", len(got), aborts, calls, most)
		if lost != 0 || repeated != 0 || aborts < 25 || most > maxForwards {
			t.Errorf("lost %d, repeated %d, aborts %d, PHP workers %d", lost, repeated, aborts, most)
		}
	})
}

// What PHP says at once and what it holds, as the browser sees it: the same with
// and without the Desk between.
func TestRelayAnswersWhenPHPWould(t *testing.T) {
	for _, tc := range []struct {
		sent, stored string
		answered     bool
	}{
		{"5", "5", false},
		{"3", "3", false},
		{"9", "9", false},
		{"10", "10", false},
		{"0", "0", false},
		{"5", "0", false},
		{"3", "5", false},
		{"3", "6", false},
		{"5", "7", false},
		{"5", "8", false},
		{"3", "1", true},
		{"5", "2", true},
		{"2", "3", true},
		{"5", "9", true},
		{"3", "10", true},
		{"2", "12", true},
	} {
		t.Run("POST "+tc.sent+" DB "+tc.stored, func(t *testing.T) {
			relay(t, false, func(t *testing.T, d relayed) {
				exec(t, d.root, "UPDATE wp_wplc_chat_sessions SET status = ? WHERE id = 1", tc.stored)
				began := time.Now()
				got, _ := d.visitor(context.Background(), 1, tc.sent)
				took := time.Since(began)
				if tc.answered != (got != nil) || tc.answered != (took < time.Second) {
					t.Errorf("after %v: %v", took, got)
				}
				if tc.stored == "7" {
					var status int
					if err := d.root.QueryRow("SELECT status FROM wp_wplc_chat_sessions WHERE id = 1").Scan(&status); err != nil || status != statusBrowsing {
						t.Errorf("status %d, %v", status, err)
					}
				}
			})
		})
	}
}

// Without a companion plugin one short poll for each visitor and half minute
// keeps chats alive, and one loop of the site is left to PHP in two minutes.
func TestRelayKeepsChatsAlive(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		exec(t, d.root, "UPDATE wp_wplc_chat_sessions SET status = 10, last_active_timestamp = ?", d.php.now())
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
		defer stop()
		var wg sync.WaitGroup
		for cid := 1; cid <= 20; cid++ { // five have left
			wg.Go(func() {
				for ctx.Err() == nil {
					if got, _ := d.visitor(ctx, cid, "10"); got != nil {
						t.Errorf("chat %d was told %v", cid, got)
					}
					time.Sleep(1500 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		var alive, gone int
		if err := d.root.QueryRow("SELECT SUM(status = 10), SUM(status = 7) FROM wp_wplc_chat_sessions").Scan(&alive, &gone); err != nil {
			t.Fatal(err)
		}
		calls, shorts, most := d.php.counts()
		t.Logf("%d requests to PHP, %d of them short, %d at once", calls, shorts, most)
		if alive != 20 || gone != 5 || calls > 20*10*60/25+10 || calls-shorts > 6 {
			t.Errorf("%d chats are alive, %d gone; %d requests to PHP, %d of them short", alive, gone, calls, shorts)
		}
	})
}

// A visitor for whom nobody comes is told so about when PHP alone would say so.
func TestRelayTellsThatNobodyAnswers(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		exec(t, d.root, "UPDATE wp_wplc_chat_sessions SET status = 2, last_active_timestamp = ? WHERE id = 1", d.php.now())
		began := time.Now()
		var got map[string]any
		for got == nil && time.Since(began) < 3*time.Minute {
			if got, _ = d.visitor(context.Background(), 1, "2"); got == nil {
				time.Sleep(1500 * time.Millisecond)
			}
		}
		if took := time.Since(began); got["data"] != "no answer" || took > 60*time.Second {
			t.Errorf("after %v: %v", took, got)
		}
	})
}

// Two tabs: the old one is told while it is held, and no request of it takes the
// chat back.
func TestRelayTabs(t *testing.T) {
	for _, writes := range []bool{false, true} {
		relay(t, writes, func(t *testing.T, d relayed) {
			told := make(chan map[string]any, 1)
			go func() {
				reply, _ := d.serve(context.Background(), d.poll(visitorForm(1, "3", "S"), "v1"))
				told <- fields(t, reply)
			}()
			time.Sleep(5 * time.Second)
			began := time.Now()
			ctx, leave := context.WithCancel(context.Background())
			go d.serve(ctx, d.poll(visitorForm(1, "3", "T"), "v1"))
			got := <-told
			if got["status"] != float64(statusElsewhere) || got["cid"] != "1" || time.Since(began) > time.Second {
				t.Errorf("writes %v: after %v %v", writes, time.Since(began), got)
			}
			time.Sleep(2 * time.Second)
			leave()
			synctest.Wait()
			var session string
			if err := d.root.QueryRow("SELECT session FROM wp_wplc_chat_sessions WHERE id = 1").Scan(&session); err != nil {
				t.Fatal(err)
			}
			if writes {
				last := d.wrote.effects[len(d.wrote.effects)-1]
				if calls, _, _ := d.php.counts(); calls != 0 || !last.Switch || last.Session != "T" || session != "S" {
					t.Errorf("%d requests to PHP, %+v, session %s", calls, last, session)
				}
			} else if session != "T" {
				t.Errorf("session %s", session)
			}
		})
	}
}

func TestRelayWithWritesTellsThem(t *testing.T) {
	relay(t, true, func(t *testing.T, d relayed) {
		exec(t, d.root, "UPDATE wp_wplc_chat_sessions SET status = 7 WHERE id = 2; UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = 3")
		for cid, status := range map[int]string{1: "3", 2: "5", 3: "2"} {
			if got, _ := d.visitor(context.Background(), cid, status); got != nil {
				t.Errorf("chat %d: %v", cid, got)
			}
		}
		slices.SortFunc(d.wrote.effects, func(a, b Effect) int { return int(a.CID - b.CID) })
		if got := kinds(d.wrote.effects); got != "beat 7>5" || len(d.wrote.ages) != 4 {
			t.Errorf("effects %q, %d ages", got, len(d.wrote.ages))
		}
		if calls, _, _ := d.php.counts(); calls != 0 {
			t.Errorf("%d requests to PHP", calls)
		}
	})
}

// A page that asks for an answer at once gets PHP's, headers and all, and so does
// one that WordPress refuses.
func TestRelayPassesAnswersOn(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		form := visitorForm(1, "3", "S")
		form.Set("short_poll", "true")
		reply, _ := d.serve(context.Background(), d.poll(form, "v1"))
		if got := fields(t, reply); got["status"] != "3" || reply.Header.Get("X-Php") != "1" {
			t.Errorf("%v %v", reply, got)
		}
		d.say(2, fromAgent, "hello")
		d.php.status = 403
		reply, _ = d.serve(context.Background(), d.poll(visitorForm(2, "3", "S"), "v2"))
		if reply == nil || reply.Status != 403 || string(reply.Body) != "-1" {
			t.Fatalf("%+v", reply)
		}
		d.php.status = 0
		if got, _ := d.visitor(context.Background(), 2, "3"); len(messages(got)) != 1 {
			t.Errorf("after a refusal: %v", got)
		}
	})
}

// PHP in trouble is no answer; it is asked again after a pause that grows, and at
// once when something else has come.
func TestRelayOutlivesTrouble(t *testing.T) {
	for name, fail := range map[string]func(*php){
		"no connection": func(p *php) { p.fail = errors.New("connection refused") },
		"status 502":    func(p *php) { p.status = 502 },
		"status 429":    func(p *php) { p.status = 429 },
	} {
		t.Run(name, func(t *testing.T) {
			relay(t, false, func(t *testing.T, d relayed) {
				fail(d.php)
				d.say(1, fromAgent, "one")
				for range 4 {
					if got, _ := d.visitor(context.Background(), 1, "3"); got != nil {
						t.Errorf("told %v", got)
					}
				}
				if calls, _, _ := d.php.counts(); calls < 4 || calls > 6 {
					t.Errorf("%d requests in two minutes", calls)
				}
				if len(d.log.lines) > 3 || len(d.log.lines) == 0 {
					t.Errorf("logged %q", d.log.lines)
				}
				d.php.fail, d.php.status = nil, 0
				d.say(1, fromAgent, "two")
				got, _ := d.visitor(context.Background(), 1, "3")
				if texts := messages(got); len(texts) != 2 {
					t.Errorf("at the end: %v", got)
				}
			})
		})
	}
}

func TestRelayWithoutItsDeskRunningSaysNothing(t *testing.T) {
	site, root := loopSite(t, "8")
	form := visitorForm(41, "3", "1552987800001")
	d := NewDesk(detect(t, site), DeskOptions{Wake: func(string) {}})
	l, _ := d.src.Recognise(form)
	loop := d.Relay(l, "v1", Visit{}, (&php{db: root}).forward(form))
	if got := look(t, loop, false) + look(t, loop, true); got != "" {
		t.Error(got)
	}
	if d.forwards.has(loop.key) {
		t.Error("a forward waits for a Desk that does not run")
	}
}

type brokenDatabase struct{}

func (brokenDatabase) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("no such table")
}

// The database that is read is gone, PHP's is not: it is asked once in a hold.
func TestRelayWithoutRows(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		d.say(1, fromAgent, "hello")
		loop := d.poll(visitorForm(1, "3", "S"), "v1")
		d.opt.Query = brokenDatabase{}
		for range 2 {
			if _, err := loop.Answer(context.Background(), false); err == nil || !strings.Contains(err.Error(), "whether PHP would answer") {
				t.Errorf("error %v", err)
			}
		}
		time.Sleep(time.Second)
		if got := look(t, loop, false); !strings.Contains(got, "hello") {
			t.Errorf("got %s", got)
		}
		if calls, _, _ := d.php.counts(); calls != 1 {
			t.Errorf("%d requests", calls)
		}
	})
}
