package live

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/internal/chat"
)

// Everything at once from many goroutines: the race detector looks on, and once
// everybody has left nothing remains, here or at the hub.
func TestEverythingAtOnce(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		var wg sync.WaitGroup
		for g := range 32 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(g)))
				who := chat.Party{Kind: chat.KindAgent, ID: int64(g / 2)} // two tabs each
				for i := range 200 {
					ch := fmt.Sprintf("wplc/%d", rnd.IntN(4))
					leave := l.Enter([]string{ch, "wplc/list"}, who)
					l.Typing(ch, who, rnd.IntN(2) == 0)
					l.Receipt(ch, who, chat.TypeSeen, int64(i+1))
					_ = l.Signal(ch, who, visitor, fmt.Sprintf("id-%d-%06d", g, i), nil) // refused when full
					time.Sleep(time.Duration(rnd.IntN(15_000)) * time.Millisecond)
					leave()
					l.Stats()
				}
			})
		}
		wg.Wait()
		time.Sleep(linger + time.Minute)
		if kept := r.keeps(); len(kept) > 0 || l.Stats() != (Stats{}) {
			t.Errorf("the hub keeps %q, and here are %+v", kept, l.Stats())
		}
	})
}

// The tellings of one party come in the order in which they happened.
func TestOrder(t *testing.T) {
	inLive(t, func(t *testing.T, l *Live, r *record) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				who := chat.Party{Kind: chat.KindAgent, ID: int64(g + 1)}
				for i := range maxSenderSignals {
					if err := l.Signal(fmt.Sprintf("wplc/%d", g), who, visitor, fmt.Sprintf("id-%d-%06d", g, i), nil); err != nil {
						t.Error(err)
					}
					l.Typing(fmt.Sprintf("wplc/%d", g), who, i%2 == 0)
					time.Sleep(typingPause / 10)
				}
			})
		}
		wg.Wait()
		lines := r.take()
		for g := range 8 {
			var got []string
			for _, line := range lines {
				if rest, ok := strings.CutPrefix(line, fmt.Sprintf("wplc/%d typing", g)); ok {
					got = append(got, rest[strings.IndexByte(rest, '{'):])
				}
			}
			on := `{"typing":true,"expires_ms":6000}`
			for i, line := range got {
				if (line == on) != (i%2 == 0) {
					t.Fatalf("channel %d: telling %d of typing is %s: %q", g, i, line, slices.Clip(got))
				}
			}
			if len(got) < 10 {
				t.Errorf("channel %d: only %d tellings of typing", g, len(got))
			}
		}
	})
}
