package dropin_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// Short in CI, a minute by hand.
var outageFor = flag.Duration("dropin.outage", 10*time.Second, "how long PHP is away while messages are sent")

// What TestSends says: 1,000 messages.
const (
	chats    = 20
	eachSays = 25 // each side of each chat
	inAll    = chats * 2 * eachSays
)

// TestSends has both sides of 20 chats say 1,000 messages, nearly all of them while
// there is no PHP. Holdline is killed in the middle of that, and once more while
// WordPress stores again. In the end all of it is in the table once, and everybody has
// seen it once and in order.
func TestSends(t *testing.T) {
	t.Parallel()
	s := newStage(t, native, nginx, "HOLDLINE_LIMITS_SENDS=50") // 250 of them are one agent's
	all := populate(s)
	spoken := all.speak(*outageFor * 23 / 20)
	pass(s.ctx, *outageFor/10)
	restart := s.takePHPAway()
	end := time.Now().Add(*outageFor)
	pass(s.ctx, *outageFor/2)
	s.crash()
	pass(s.ctx, time.Until(end))
	all.isAccepted()

	waiting, before := int(s.metric("holdline_spool_messages")), s.storedSends()
	if waiting < inAll*3/4 {
		t.Errorf("%d messages wait for PHP, which is not what this test is about", waiting)
	}
	restarted := make(chan error, 1)
	go func() { restarted <- restart() }()
	backstage.Eventually(t, "PHP answers", time.Minute, s.isPHPThere)
	back := time.Now()
	backstage.Eventually(t, "WordPress stores again", time.Minute, func() bool { return s.storedSends() > before })
	first := time.Since(back)
	if s.crash() == inAll {
		t.Error("all was stored before Holdline was killed: this was no kill in the middle")
	}
	// Some that wait have a row: PHP was stopped, too, between storing and answering.
	want := min(before+waiting, inAll)
	backstage.Eventually(t, fmt.Sprintf("what waited is stored, %d rows", want), 2*time.Minute, func() bool { return s.storedSends() >= want })
	drained := time.Since(back)
	t.Logf("%d messages waited; when PHP was back the first was stored after %v and all after %v, with a kill in between: %.0f a second",
		waiting, first.Round(time.Millisecond), drained.Round(time.Millisecond), float64(waiting)/drained.Seconds())
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	<-spoken
	all.check()
	all.seeEverything()
}

// town is both sides of all chats; the agent follows its visitor.
type town []*messenger

// populate has visitors begin chats on the site's own pages, and two agents take them.
// All go on with Holdline's client then.
func populate(s *stage) (all town) {
	desks := []*window{login(s, "admin").load(""), login(s, "agent1").load("")}
	ways := []string{"ws", "sse", "ws", "poll"}
	for i := range chats {
		ann, desk := beginChat(s, 1552987800000+i, "Ann"), desks[i%len(desks)]
		desk.accept(ann.chat())
		s.awaitColumn("3", "SELECT status FROM wp_wplc_chat_sessions WHERE id = ?", ann.chat())
		all = append(all,
			join(s, ann.browser, ann.chat(), "visitor", ways[i%4]),
			join(s, desk.browser, ann.chat(), "agent", ways[(i+i/4+1)%4])) // each way meets each
	}
	return all
}

// beginChat begins a chat on the plugin's own page, which is closed then.
func beginChat(s *stage, session int, name string) *visitor {
	s.t.Helper()
	v := visit(s, strconv.Itoa(session))
	v.start(name, strings.ToLower(name)+"@example.com")
	v.close()
	return v
}

// speak has everybody say all they have to say, spread over a time.
func (all town) speak(during time.Duration) (spoken <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		for n := range inAll {
			m := all[n%len(all)]
			id := fmt.Sprintf("%s-%s-%03d", strings.TrimPrefix(m.channel, "wplc/"), m.as, n/len(all))
			m.say(id, "This is "+id+" <b>\\</b> 😀")
			pass(m.s.ctx, time.Until(began.Add(during/inAll*time.Duration(n))))
		}
	}()
	return done
}

// isAccepted waits until Holdline has taken what was said until now.
func (all town) isAccepted() {
	for _, m := range all {
		m.mu.Lock()
		said := m.said
		m.mu.Unlock()
		m.await("all is accepted without PHP", time.Minute, func() bool {
			return !slices.ContainsFunc(said, func(s *saying) bool { return s.accepted.IsZero() && s.row == 0 })
		})
	}
}

// crash kills Holdline, as kill -9 does, and starts it again. It returns how many messages
// were stored by then.
func (s *stage) crash() (stored int) {
	s.t.Helper()
	began := time.Now()
	s.holdline.Kill(s.t)
	stored = s.storedSends()
	s.startHoldline()
	s.t.Logf("Holdline was killed with %d messages stored, and is back after %v", stored, time.Since(began).Round(time.Millisecond))
	return stored
}

// takePHPAway stops PHP until restart, or until a test that fails ends.
func (s *stage) takePHPAway() (restart func() error) {
	s.t.Helper()
	if err := s.stopPHP(); err != nil {
		s.t.Fatal(err)
	}
	restart = func() error { return s.configure(context.WithoutCancel(s.ctx)) }
	s.t.Cleanup(func() {
		if s.t.Failed() {
			if err := restart(); err != nil {
				s.t.Error(err)
			}
		}
	})
	return restart
}

func (s *stage) isPHPThere() bool {
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.upstream(s.front)+ajaxPath+"?action=dropin_config", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// storedSends is how many rows the table has of visitors and agents.
func (s *stage) storedSends() int {
	s.t.Helper()
	n, err := strconv.Atoi(s.column("SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE originates IN (1, 2)"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
