package gateway

// Admitted is the number of passes that are given out. A connection may be held
// no longer before its pass has come back.
func (g *Gateway) Admitted() int {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	return g.admission.total
}
