package wplc

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdline/internal/chat"
)

// Two processes serve one site, and only one of them can keep. When that has ended the
// other one tells nobody again: not its own clients, not the other's, not those that
// both have had.
func TestTakeOver(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		first, second := start(n), start(nil)
		defer second.close()
		told := func(d *desk, cid int, agent bool, want string) {
			t.Helper()
			loop := d.page(cid, agent, false)
			if got := look(t, loop, false); !strings.Contains(got, want) || want == "" && got != "" {
				t.Fatalf("got %q, want %q", got, want)
			}
			loop.Told()
		}
		first.tell(41, false, "one")
		first.tell(41, true, "uno")
		told(first, 41, true, "uno")
		told(second, 41, false, "one")
		told(first, 41, false, "one")
		first.tell(41, false, "two")
		told(first, 41, false, "two")

		first.close()
		first.LetGo()
		second.TakeOver(n)
		synctest.Wait()
		told(second, 41, false, "")
		told(second, 41, true, "")
		second.tell(41, false, "three")
		loop := second.page(41, false, false)
		if got := look(t, loop, false); strings.Contains(got, "two") || !strings.Contains(got, "three") {
			t.Errorf("then %s", got)
		}
		loop.Told()

		// And what it knows is there for the next one.
		third := start(n)
		defer third.close()
		told(third, 41, false, "")
		told(third, 41, true, "")
	})
}

// Behind LetGo nothing is written, since the file may be another process's.
func TestLetGo(t *testing.T) {
	n := newNotes()
	k := &kept{}
	k.set(n)
	k.put(keptPosition, "a", []byte("1"))
	k.set(nil)
	k.put(keptPosition, "b", []byte("1"))
	k.remove(keptPosition, "a")
	if len(n.all) != 1 || k.has() {
		t.Errorf("kept: %v", n.all)
	}
}

// An answer of PHP's that came while there was no Keep is written down when there is.
func TestSlotsAreWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{}
		s := newSlots(k)
		s.put("waits", "", true, &chat.Reply{Body: []byte("1")})
		s.put("told", "", true, &chat.Reply{Body: []byte("1")})
		s.tell(s.take("told", "", time.Now()), time.Now())
		n := newNotes()
		k.set(n)
		s.rewrite()
		if keys := n.keys(keptSlot); len(keys) != 1 || keys[0] != "waits" {
			t.Errorf("kept: %v", keys)
		}
	})
}
