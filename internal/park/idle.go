package park

// DropIdle closes every connection that rests after an answered poll, to make room
// for new ones. A client whose next request is under way finds its connection
// closed, as with any server that ends a kept-alive one, and connects again. It
// takes a moment for each connection there is and may be called by any goroutine.
func (l *Lot) DropIdle() {
	for _, c := range l.conns() {
		c.stopResting()
	}
}
