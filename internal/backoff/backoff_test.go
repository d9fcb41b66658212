package backoff_test

import (
	"math"
	"testing"
	"time"

	"holdline/internal/backoff"
)

func TestWaits(t *testing.T) {
	const least, most = 100 * time.Millisecond, 10 * time.Second
	for _, c := range []struct {
		failures  int
		low, half time.Duration // the least of Full and of Equal
		high      time.Duration
	}{
		{1, least, least, 2 * least},
		{2, least, 2 * least, 4 * least},
		{6, least, 32 * least, 64 * least},
		{7, least, most / 2, most},
		{8, least, most / 2, most},
		{math.MaxInt, least, most / 2, most},
	} {
		spread(t, "Full", c.failures, c.low, c.high, func() time.Duration { return backoff.Full(c.failures, least, most) })
		spread(t, "Equal", c.failures, c.half, c.high, func() time.Duration { return backoff.Equal(c.failures, least, most) })
	}
}

// spread wants waits within the bounds that come near both of them: a thousand
// that all miss a tenth of the range at one end have a chance of 1 in 10^45.
func spread(t *testing.T, name string, failures int, low, high time.Duration, wait func() time.Duration) {
	t.Helper()
	first, last := high, low
	for range 1000 {
		d := wait()
		if d < low || d > high {
			t.Fatalf("%s after %d failures: %v, want %v to %v", name, failures, d, low, high)
		}
		first, last = min(first, d), max(last, d)
	}
	if tenth := (high - low) / 10; first > low+tenth || last < high-tenth {
		t.Errorf("%s after %d failures: only %v to %v, want %v to %v", name, failures, first, last, low, high)
	}
}

// What cannot double for long must not run over.
func TestHugeBounds(t *testing.T) {
	const most = time.Duration(math.MaxInt64)
	for _, failures := range []int{1, 62, 63, 64, 1 << 40} {
		if d := backoff.Full(failures, 1, most-1); d < 1 {
			t.Errorf("after %d failures: %v", failures, d)
		}
	}
	if d := backoff.Full(3, time.Second, time.Second); d != time.Second {
		t.Errorf("without room for chance: %v, want 1s", d)
	}
}
