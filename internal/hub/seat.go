package hub

import "sync/atomic"

// Seat is where a connection keeps its subscription. The connection may end before
// Subscribe has made one; whichever comes second closes it. The zero value is
// ready, and all methods may be called concurrently.
type Seat struct {
	sub  atomic.Pointer[Sub]
	left atomic.Bool
}

// Take keeps the subscription. It is meant for Subscribe to call.
func (s *Seat) Take(sub *Sub) {
	s.sub.Store(sub)
	if s.left.Load() {
		sub.Close()
	}
}

// Leave ends the subscription, also one that is only about to be made.
func (s *Seat) Leave() {
	s.left.Store(true)
	if sub := s.sub.Load(); sub != nil {
		sub.Close()
	}
}

// Left tells whether Leave was called.
func (s *Seat) Left() bool { return s.left.Load() }

// Sub is nil before there is a subscription.
func (s *Seat) Sub() *Sub { return s.sub.Load() }
