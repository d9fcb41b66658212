package gateway

import (
	"context"

	"holdline/wpdb"
)

// Rewire changes what the gateway connects to. It must not run yet.
func (g *Gateway) Rewire(change func(*Backend)) {
	connect := g.opt.Connect
	g.opt.Connect = func(ctx context.Context, sink wpdb.Sink) (*Backend, error) {
		b, err := connect(ctx, sink)
		if err == nil {
			change(b)
		}
		return b, err
	}
}

// Admitted is the number of passes that are given out. A connection may be held
// no longer before its pass has come back.
func (g *Gateway) Admitted() int {
	g.admission.mu.Lock()
	defer g.admission.mu.Unlock()
	return g.admission.total
}
