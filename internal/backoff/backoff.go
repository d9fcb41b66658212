// Package backoff tells how long to wait before what has failed is tried again.
//
// The waits are random, so that many who failed together do not come back
// together, up to a ceiling that doubles with every failure: see "Exponential
// Backoff And Jitter" of the AWS Architecture Blog, whose names these are.
// Everything here may be called concurrently.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Full is the wait after so many failures in a row, 1 or more: between least, which
// is above 0, and twice of it, then four times and so on, up to most, which is no
// less. It spreads a crowd as far as it goes.
func Full(failures int, least, most time.Duration) time.Duration {
	return between(least, ceiling(failures, least, most))
}

// Equal is as Full, but waits at least half of what it may: for one who is not to
// ask again at once after a long row of failures.
func Equal(failures int, least, most time.Duration) time.Duration {
	top := ceiling(failures, least, most)
	return between(top/2, top)
}

func ceiling(failures int, least, most time.Duration) time.Duration {
	top := least
	for range failures {
		if top > most/2 {
			return most
		}
		top *= 2
	}
	return top
}

func between(least, most time.Duration) time.Duration {
	return least + rand.N(most-least+1)
}
