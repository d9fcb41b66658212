package dropin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// talk begins a chat: both sides are in it and poll.
func talk(s *stage) (ann *visitor, chat *window) {
	s.t.Helper()
	ann = visit(s, "1552987800001")
	ann.start("Ann", "ann@example.com")
	chat = login(s, "admin").open(ann.chat())
	ann.seen.await(s.t, "has joined the chat")
	return ann, chat
}

// TestKillAndStart kills Holdline twice in mid-conversation, as kill -9 does.
// Nobody may notice: PHP answers meanwhile, and no message is lost or told twice.
// The read flags of what was told a moment ago have to be in the tables by then,
// since PHP knows nothing else.
func TestKillAndStart(t *testing.T) {
	t.Parallel()
	for _, f := range []front{nginx, apache} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			for _, w := range []way{native, relay} {
				t.Run(w.name, func(t *testing.T) { killAndStart(newStage(t, w, f)) })
			}
		})
	}
}

func killAndStart(s *stage) {
	c := startCrashes(s)
	for range 2 {
		c.exchange()
		c.settle()
		backstage.Eventually(s.t, "both sides are held", time.Minute, func() bool { return s.heldLoops() >= 2 })
		s.holdline.Kill(s.t)
		c.exchange()
		s.startHoldline()
		c.exchange()
	}
	c.settle()
	toldOnce(s.t, "the visitor", c.ann.seen, "question", c.said)
	toldOnce(s.t, "the agent", c.chat.seen, "answer", c.said)
	if n := c.ann.seen.count("error"); n > 0 {
		s.t.Errorf("the visitor's page showed %d errors:\n%s", n, strings.Join(c.ann.seen.all(), "\n"))
	}
}

// TestKillInTraffic kills Holdline while messages are on their way. It knows
// afterwards what it has told. PHP, which answers until it is back, does not: what
// was not yet marked it tells an agent once more, whose script shows all it is told; a
// visitor's leaves out what it has. With relay it is PHP that marks, and what PHP was
// just saying may be lost, as with PHP alone.
func TestKillInTraffic(t *testing.T) {
	t.Parallel()
	c := startCrashes(newStage(t, native, nginx))
	for range 2 {
		c.exchange()
		c.s.holdline.Kill(t)
		c.s.startHoldline()
	}
	c.exchange()
	c.settle()
	toldOnce(t, "the visitor", c.ann.seen, "question", c.said)
	for i := range c.said {
		c.chat.seen.await(t, fmt.Sprintf("answer %d.", i))
	}
	c.chat.close()
	t.Logf("the agent was told once more, of %d messages: %v", c.said, c.chat.again)
	if n := c.chat.again[byHoldline]; n > 0 {
		t.Errorf("Holdline told the agent %d messages once more, %d were said", n, c.said)
	}
}

// TestKillAfterTelling kills Holdline as soon as the agent has read the messages, long
// before they are marked. It is back before his window asks again, so nothing but its
// state folder can keep it from telling them once more.
func TestKillAfterTelling(t *testing.T) {
	t.Parallel()
	s := newStage(t, native, nginx)
	s.pace = 1
	c := startCrashes(s)
	for range 3 {
		c.exchange()
		c.chat.seen.await(t, fmt.Sprintf("answer %d.", c.said-1))
		s.holdline.Kill(t)
		s.startHoldline()
	}
	c.exchange()
	c.settle()
	c.chat.close()
	toldOnce(t, "the visitor", c.ann.seen, "question", c.said)
	if n := c.chat.again[byHoldline]; n > 0 {
		t.Errorf("Holdline told the agent %d messages once more, %d were said", n, c.said)
	}
	if n := c.chat.again[byPHP]; n > 0 {
		t.Logf("Holdline was too late, and PHP told the agent %d messages once more", n)
	}
}

// crashes is a chat in which both sides write numbered messages.
type crashes struct {
	s    *stage
	ann  *visitor
	chat *window
	said int // by each side
}

func startCrashes(s *stage) *crashes {
	s.holdFor(20, 250*time.Millisecond)
	c := &crashes{s: s}
	c.ann, c.chat = talk(s)
	return c
}

func (c *crashes) exchange() {
	for range 4 {
		c.chat.write(fmt.Sprintf("question %d.", c.said))
		c.ann.send(fmt.Sprintf("answer %d.", c.said))
		c.said++
	}
}

// settle waits until all was told and marked, and for what comes late: repeats, and
// Holdline's own knowledge of the marks. Those leave Holdline within 300 ms, behind
// Apache after the page's next poll, and are in the tables when PHP has the time.
func (c *crashes) settle() {
	c.ann.seen.await(c.s.t, fmt.Sprintf("question %d.", c.said-1))
	c.chat.seen.await(c.s.t, fmt.Sprintf("answer %d.", c.said-1))
	c.s.awaitColumn("0", "SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE status = 0")
	late := 1200 * time.Millisecond
	if c.s.front == apache {
		late = 4500 * time.Millisecond
	}
	pass(c.s.ctx, late)
}

// toldOnce looks for texts that are missing, come twice, or are out of order.
func toldOnce(t *testing.T, who string, seen *record, word string, n int) {
	t.Helper()
	lines := seen.all()
	before := t.Failed()
	defer func() {
		if t.Failed() && !before {
			var texts []string
			for _, line := range lines {
				texts = append(texts, messageText(line))
			}
			t.Logf("%s saw: %s", who, strings.Join(texts, " | "))
		}
	}()
	last := -1
	for i := range n {
		text, at := fmt.Sprintf("%s %d.", word, i), -1
		times := 0
		for j, line := range lines {
			if strings.Contains(line, text) {
				times++
				if times == 1 {
					at = j
				}
			}
		}
		switch {
		case times > 1:
			t.Errorf("%s was told %q %d times", who, text, times)
		case at < 0:
			t.Errorf("%s was never told %q", who, text)
		case at < last:
			t.Errorf("%s was told %q too late", who, text)
		default:
			last = at
		}
	}
}
