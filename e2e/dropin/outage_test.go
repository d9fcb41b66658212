package dropin_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// TestPHPStops takes PHP away in mid-conversation. Who is held stays held, what needs
// PHP fails as it would without Holdline, and all goes on when PHP is back.
func TestPHPStops(t *testing.T) {
	t.Parallel()
	for _, w := range []way{native, relay} {
		t.Run(w.name, func(t *testing.T) {
			s := newStage(t, w, nginx)
			s.holdFor(24, 250*time.Millisecond)
			ann, chat := talk(s)
			backstage.Eventually(t, "both sides are held", time.Minute, func() bool { return s.heldLoops() >= 2 })
			if err := s.stopPHP(); err != nil {
				t.Fatal(err)
			}
			restart := func() {
				if err := s.configure(context.WithoutCancel(s.ctx)); err != nil { // also at the end of the test
					t.Fatal(err)
				}
			}
			t.Cleanup(func() { // for the other tests
				if t.Failed() {
					restart()
				}
			})
			if got := ann.post("wplc_user_send_msg", url.Values{"msg": {"lost"}}); got.status != http.StatusBadGateway {
				t.Errorf("without PHP a message is answered %d %q; nginx alone says 502", got.status, got.body)
			}
			// A hold ends meanwhile, and the next one begins.
			asked := ann.asked.Load()
			backstage.Eventually(t, "the visitor polls on", time.Minute, func() bool { return ann.asked.Load() > asked })
			s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
				VALUES (?, 'Admin', 'from elsewhere', '2026-03-19 10:30:00', 0, 1, '', '', 0, 0)`, ann.chat())
			if w == native { // with relay, PHP has to say it
				ann.seen.await(t, "from elsewhere")
			}
			restart()
			ann.seen.await(t, "from elsewhere")
			ann.send("back again")
			chat.seen.await(t, "back again")
			chat.write("so are we")
			ann.seen.await(t, "so are we")
			for _, line := range []*record{ann.seen, chat.seen} {
				if n := line.count("error"); n > 0 {
					t.Errorf("a loop was answered by %d errors: %q", n, line.all())
				}
			}
			backstage.Eventually(t, "the writes that waited for PHP have come", 2*time.Minute, func() bool {
				return s.column("SELECT COUNT(*) FROM wp_wplc_chat_msgs WHERE status = 0 AND originates IN (0, 1)") == "0"
			})
		})
	}
}
