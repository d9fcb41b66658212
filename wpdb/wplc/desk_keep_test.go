package wplc

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/keep"
)

// notes is a Keep in memory.
type notes struct {
	mu   sync.Mutex
	all  map[string][]byte
	fail error
}

func newNotes() *notes { return &notes{all: map[string][]byte{}} }

func (n *notes) Put(key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail == nil {
		n.all[key] = bytes.Clone(value)
	}
	return n.fail
}

func (n *notes) Delete(key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail == nil {
		delete(n.all, key)
	}
	return n.fail
}

func (n *notes) All() iter.Seq2[string, []byte] {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.All(maps.Clone(n.all))
}

func (n *notes) keys(kind string) (keys []string) {
	for key := range n.All() {
		if key[:1] == kind {
			keys = append(keys, key[1:])
		}
	}
	return keys
}

// pages are the loops that carry messages, and how to write one to them.
var pages = []struct {
	name    string
	version string
	cid     int
	agent   bool
}{{"visitor of 8.x", "8", 41, false}, {"agent of 8.x", "8", 41, true}, {"visitor of 5.x", "5", 1, false}, {"agent of 5.x", "5", 1, true}}

// talks makes a site on which a chat goes on.
func talks(t *testing.T, version string, run func(t *testing.T, start func(keep Keep) *desk)) {
	t.Helper()
	site, root := loopSite(t, version)
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs; UPDATE wp_wplc_chat_sessions SET status = 3, session = 'S'")
	bubble(t, site, func(t *testing.T) {
		run(t, func(keep Keep) *desk { return newDeskWith(t, site, root, true, keep) })
	})
}

func (d *desk) page(cid int, agent, careful bool) *NativeLoop {
	d.t.Helper()
	form, client := visitorForm(cid, "3", "S"), "v"
	if agent {
		form, client = agentForm(cid, "3"), "u1"
	}
	l := d.recognise(form)
	l.Careful = careful
	return d.Native(l, client, Visit{})
}

func (d *desk) tell(cid int, agent bool, text string) int64 {
	if agent {
		return d.say(cid, fromVisitor, text)
	}
	return d.say(cid, fromAgent, text)
}

// Holdline is killed when it has told messages whose flags are not written. The next
// one tells nobody again, and writes the flags.
func TestWhatWasToldOutlivesAKill(t *testing.T) {
	for _, p := range pages {
		t.Run(p.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "positions")
			talks(t, p.version, func(t *testing.T, start func(Keep) *desk) {
				m, err := keep.Open(path, keep.Options{Life: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				d := start(m)
				var ids []int64
				for _, text := range []string{"one", "two"} {
					ids = append(ids, d.tell(p.cid, p.agent, text))
					loop := d.page(p.cid, p.agent, false)
					if got := look(t, loop, false); !strings.Contains(got, text) {
						t.Fatalf("got %s", got)
					}
					loop.Told()
				}
				defer d.close()
				m.Close() // with the process
				if m, err = keep.Open(path, keep.Options{Life: time.Hour}); err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				next := start(m)
				defer next.close()
				synctest.Wait()
				marks := next.wrote.marks()
				slices.Sort(marks)
				if diff := cmp.Diff(ids, marks); diff != "" {
					t.Errorf("flags (-want +got):\n%s", diff)
				}
				if got := look(t, next.page(p.cid, p.agent, false), false); got != "" {
					t.Errorf("told again: %s", got)
				}
				next.tell(p.cid, p.agent, "three")
				if got := look(t, next.page(p.cid, p.agent, false), false); strings.Contains(got, "two") || !strings.Contains(got, "three") {
					t.Errorf("then %s", got)
				}
				// Without what was kept there is only the flag to go by.
				without := start(nil)
				defer without.close()
				if got := look(t, without.page(p.cid, p.agent, false), false); !strings.Contains(got, "one") {
					t.Errorf("the test proves nothing: %s", got)
				}
			})
		})
	}
}

// Flags of long ago are not written again: ids may mean other rows by now.
func TestOldFlagsAreNotWrittenAgain(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		d := start(n)
		d.tell(41, true, "one")
		loop := d.page(41, true, false)
		look(t, loop, false)
		loop.Told()
		d.close()
		time.Sleep(markLife + time.Second)
		next := start(n)
		next.close()
		if len(next.wrote.marks()) != 0 {
			t.Errorf("flags of %v", next.wrote.marks())
		}
		if got := look(t, next.page(41, true, false), false); got != "" {
			t.Errorf("told again: %s", got)
		}
	})
}

// Flags are kept as long as they may be on their way, and no longer.
func TestMarksOfAPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := func(seen int64) LoopCursor { return LoopCursor{known: true, seen: seen} }
		p := position{}.moved(LoopCursor{}, known(5), []int64{4, 5})
		time.Sleep(time.Second)
		p = p.moved(p.LoopCursor, known(7), []int64{7, 5})
		if diff := cmp.Diff([]int64{4, 5, 7}, p.told); diff != "" || p.seen != 7 {
			t.Errorf("%v, %s", p, diff)
		}
		var many []int64
		for id := range int64(2 * maxMarks) {
			many = append(many, 8+id)
		}
		if p = p.moved(p.LoopCursor, known(3000), many); len(p.told) != maxMarks {
			t.Errorf("%d marks", len(p.told))
		}
		time.Sleep(markTime)
		if p = p.moved(p.LoopCursor, known(3001), []int64{3001}); !slices.Equal(p.told, []int64{3001}) {
			t.Errorf("marks %v", p.told)
		}
		back, err := parsePosition(p.append(nil))
		if err != nil || !back.known || back.seen != p.seen || !slices.Equal(back.told, p.told) || !back.at.Equal(p.at.Truncate(time.Millisecond)) {
			t.Errorf("%+v became %+v, %v", p, back, err)
		}
	})
}

// PHP has marked what an answer holds, and no browser has it when Holdline is killed.
func TestAnswersOfPHPOutliveAKill(t *testing.T) {
	relay(t, false, func(t *testing.T, d relayed) {
		n := newNotes()
		d.kept.set(n)
		d.say(1, fromAgent, "hello")
		look(t, d.poll(visitorForm(1, "3", "S"), "v1"), false) // and the browser leaves
		time.Sleep(time.Second)
		if len(n.keys(keptSlot)) != 1 {
			t.Fatalf("kept: %v", n.all)
		}
		next := newDeskWith(t, d.site, d.root, false, n)
		defer next.close()
		after := relayed{next, d.php}
		got, _ := after.visitor(t.Context(), 1, "3")
		if !slices.Equal(messages(got), []string{"hello"}) {
			t.Errorf("the next process told %v", got)
		}
		if keys := n.keys(keptSlot); len(keys) != 0 {
			t.Errorf("still kept: %v", keys)
		}
		last := newDeskWith(t, d.site, d.root, false, n)
		defer last.close()
		if got, _ := (relayed{last, d.php}).visitor(t.Context(), 1, "3"); got != nil {
			t.Errorf("told again: %v", got)
		}
	})
}

func TestSlotsThatAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes()
		s := newSlots(&kept{to: n})
		body := func(size int) *chat.Reply {
			return &chat.Reply{Header: http.Header{"X-Php": {"1"}}, Body: make([]byte, size)}
		}
		s.put("told again by PHP", "", false, body(1))
		s.put("large", "", true, body(maxKeptReply+1))
		if got := n.keys(keptSlot); len(got) != 0 {
			t.Errorf("kept: %v", got)
		}
		for i := range 2 * maxKeptReplies / maxKeptReply {
			s.put(fmt.Sprint(i), "", true, body(maxKeptReply))
		}
		if got := len(n.keys(keptSlot)); got != maxKeptReplies/(maxKeptReply+replyCost+3) {
			t.Errorf("%d answers of %d KiB are kept", got, maxKeptReply>>10)
		}
		s.tell(s.take("0", "", time.Now()), time.Now())
		if _, ok := n.all[keptSlot+"0"]; ok {
			t.Error("kept when it was told")
		}
		s.put("late", "", true, body(1))
		back, err := parseSlot("late", n.all[keptSlot+"late"])
		if err != nil || back.reply.Header.Get("X-Php") != "1" || len(back.reply.Body) != 1 || !back.carries || !back.came.Equal(time.Now()) {
			t.Errorf("%+v, %v", back, err)
		}
		time.Sleep(replyLife + time.Second)
		s.forget()
		if got := n.keys(keptSlot); len(got) != 0 || s.keptBytes != 0 {
			t.Errorf("kept when it is old: %d, %d bytes", len(got), s.keptBytes)
		}
	})
}

func TestDamagedNotesAreThrownAway(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		for _, key := range []string{"", "cx", "sx", "?x"} {
			n.all[key] = []byte{9}
		}
		d := start(n)
		d.close()
		if len(n.all) != 0 || len(d.log.lines) != 1 || !strings.Contains(d.log.lines[0], "entries=4") {
			t.Errorf("left %v, logged %q", n.all, d.log.lines)
		}
	})
}

// A disk that is full is told once in a while, and nobody is kept waiting.
func TestKeepThatFails(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		n := newNotes()
		n.fail = errors.New("no space left on device")
		d := start(n)
		defer d.close()
		for i := range 5 {
			d.tell(41, true, fmt.Sprint("message ", i))
			loop := d.page(41, true, false)
			if got := look(t, loop, false); !strings.Contains(got, fmt.Sprint("message ", i)) || strings.Contains(got, fmt.Sprint("message ", i-1)) {
				t.Errorf("got %s", got)
			}
			loop.Told()
		}
		if len(d.log.lines) != 1 || !strings.Contains(d.log.lines[0], "no space left") {
			t.Errorf("logged %q", d.log.lines)
		}
	})
}

// Alone knows what its Desk's clients have.
func TestAloneKnowsWhatWasTold(t *testing.T) {
	talks(t, "8", func(t *testing.T, start func(Keep) *desk) {
		d := start(nil)
		defer d.close()
		d.tell(41, true, "one")
		loop := d.page(41, true, false)
		look(t, loop, false)
		loop.Told()
		alone := d.Alone()
		if got := look(t, alone.Native(loop.loop, "u1", Visit{}), false); got != "" || alone.opt.Writes != nil {
			t.Errorf("told again: %s", got)
		}
	})
}

func FuzzKeptPosition(f *testing.F) {
	f.Add([]byte{})
	f.Add(position{}.append(nil))
	f.Add(position{LoopCursor{known: true, seen: 70, given: []int64{69, 70}}, []int64{3, 70}, time.UnixMilli(1_700_000_000_000)}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePosition(b)
		if err != nil {
			return
		}
		if len(p.given) > farBack+maxUnread || len(p.told) > maxMarks || p.seen < 0 {
			t.Errorf("%+v", p)
		}
		again, err := parsePosition(p.append(nil))
		if diff := cmp.Diff(p, again, cmp.AllowUnexported(position{}, LoopCursor{})); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

func FuzzKeptAnswer(f *testing.F) {
	f.Add([]byte(`{"Came":1700000000000,"Status":200,"Header":{"X":["1"]},"Body":"e30="}`))
	f.Add([]byte(`{"Header":{"X\r\nY":["1"]}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSlot("key", b)
		if err != nil {
			return
		}
		var head bytes.Buffer
		if err := s.reply.Header.Write(&head); err != nil || strings.Count(head.String(), "\n") != count(s.reply.Header) {
			t.Errorf("%v: %q", err, head.String())
		}
		if s.came.After(time.Now()) || len(s.reply.Body) > maxKeptReply {
			t.Errorf("%+v", s)
		}
	})
}

func count(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}
