package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// lateClock is how far the clock of held connections may be behind on a busy machine.
const lateClock = 5 * time.Second

// Alive looks whether the gateway still does its work: the clock of held connections
// turns, the locks that everybody needs are free, and a request gets through the
// routes. It asks neither the database nor PHP, which may be away. An error says what
// is wrong; what hangs has it hang as well.
func (g *Gateway) Alive(ctx context.Context) error {
	if late := g.lot.Late(); late > lateClock {
		return fmt.Errorf("the clock of held connections is %v late", late.Round(time.Millisecond))
	}
	g.admission.census(time.Now())
	g.gate.open()
	if at := g.attached.Load(); at != nil {
		at.hub.Subscribers()
		at.tailStats()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.cfg.BasePath+"/check", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for a page of this server's own: %w", err)
	}
	w := &probe{header: http.Header{}}
	g.handler.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		return fmt.Errorf("a page of this server's own is answered with status %d", w.status)
	}
	return nil
}

// probe is a response of which only the status matters.
type probe struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (p *probe) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *probe) WriteHeader(status int) { p.status = status }

// Write implements http.ResponseWriter.
func (p *probe) Write(b []byte) (int, error) {
	if p.status == 0 {
		p.status = http.StatusOK
	}
	return len(b), nil
}
