package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"holdline/internal/hub"
	"holdline/internal/spool"
)

// nowhere is a hub and a store that cost nothing.
type nowhere struct{}

func (nowhere) Tell(hub.Telling)      {}
func (nowhere) Forget(string, string) {}
func (nowhere) Store(_ context.Context, ms []Message) ([]Fate, error) {
	fates := make([]Fate, len(ms))
	for i := range fates {
		fates[i].ID = int64(i + 1)
	}
	return fates, nil
}

// BenchmarkSend is from Send to the answer, with a durable spool on the disk of
// the temporary folder, and as many senders for each channel as are under way at
// a time. Messages are stored meanwhile.
func BenchmarkSend(b *testing.B) {
	for _, lanes := range []int{1, 100} {
		for _, senders := range []int{1, 32} {
			b.Run(fmt.Sprintf("lanes=%d/senders=%d", lanes, senders), func(b *testing.B) { benchmarkSend(b, lanes, senders) })
		}
	}
}

func benchmarkSend(b *testing.B, lanes, senders int) {
	s, err := spool.Open(b.TempDir(), spool.Options{MaxRecords: 1 << 20, Remember: time.Second, Interval: 100 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	box := New(Options{Spool: s, Store: nowhere{}, Hub: nowhere{}})
	ran := make(chan error, 2)
	go func() { ran <- s.Run(context.Background()) }()
	go func() { ran <- box.Run(ctx) }()

	took := make([]time.Duration, b.N)
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range lanes * senders {
		wg.Go(func() {
			answered := make(chan Answer, 1)
			for i := w; i < b.N; i += lanes * senders {
				begin := time.Now()
				box.Send(message(fmt.Sprint("wplc/", w%lanes), id(i)), func(a Answer) { answered <- a })
				if a := <-answered; a.State != StatePending {
					b.Errorf("answered %+v", a)
				}
				took[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	cancel()
	if err := errors.Join(<-ran, s.Close(), <-ran); err != nil {
		b.Fatal(err)
	}
}
