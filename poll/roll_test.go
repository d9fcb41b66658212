package poll

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRollAgainstAModel has loops come and go in any order.
func TestRollAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loops := new(Loops)
		loops.init()
		r := &loops.roll
		model := map[*held][]string{}
		channels := rapid.SliceOfN(rapid.SampledFrom([]string{"wplc/1", "wplc/2", "wplc/3"}), 0, 4)
		enter := func(t *rapid.T) {
			h := &held{loops: loops}
			h.state.Store(rest)
			model[h] = channels.Draw(t, "channels")
			r.enter(h, model[h])
		}
		t.Repeat(map[string]func(*rapid.T){
			"enter": enter,
			"leave": func(t *rapid.T) {
				if len(model) == 0 {
					enter(t) // so that somebody can leave
					return
				}
				h := rapid.SampledFrom(slices.Collect(maps.Keys(model))).Draw(t, "loop")
				r.leave(h)
				delete(model, h)
			},
			"leave without having entered": func(*rapid.T) { r.leave(&held{loops: loops}) },
			"": func(t *rapid.T) {
				if got := r.list(); len(got) != len(model) {
					t.Fatalf("%d loops, want %d", len(got), len(model))
				}
				for _, channel := range []string{"wplc/1", "wplc/2", "wplc/3", "wplc/4", ""} {
					loops.Wake(channel)
					woken := map[*held]bool{}
					for h := loops.take(); h != nil; h = loops.take() {
						h.state.Store(rest)
						woken[h] = true
					}
					for h, on := range model {
						if woken[h] != slices.Contains(on, channel) {
							t.Fatalf("of a loop on %q: woken by %q is %v", on, channel, woken[h])
						}
						delete(woken, h)
					}
					if len(woken) > 0 {
						t.Fatalf("%d strangers were woken", len(woken))
					}
				}
			},
		})
	})
}

// BenchmarkRoll tells what one more held loop costs in the roll, with a channel
// of its own.
func BenchmarkRoll(b *testing.B) {
	const crowd = 20_000
	names := make([]string, crowd)
	loops := make([]held, crowd)
	for i := range names {
		names[i] = fmt.Sprintf("wplc/%d", i)
	}
	var before, after runtime.MemStats
	for b.Loop() {
		clear(loops)
		var r roll
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range loops {
			r.enter(&loops[i], names[i:i+1])
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/crowd, "B/loop")
		for i := range loops {
			r.leave(&loops[i])
		}
	}
}
