package dropin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTwoTabs opens the site in a second tab during a chat: the chat moves there, and
// the first tab gives up.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	var want [2][]string
	for _, w := range []way{php, native, relay} {
		ok := t.Run(w.name, func(t *testing.T) {
			s := newStage(t, w, nginx)
			first, chat := talk(s)
			second := open(s, first.browser, "1552987800002", "/", s.newRecord())
			first.seen.await(t, "state 11")
			first.loops.Wait() // it stops by itself
			chat.write("Which tab?")
			second.seen.await(t, "Which tab?")
			first.close()
			second.close()
			got := [2][]string{first.seen.all(), second.seen.all()}
			if w == php {
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the tabs saw something else than with PHP (-PHP +Holdline):\n%s", diff)
			}
		})
		if !ok && w == php {
			break
		}
	}
}
