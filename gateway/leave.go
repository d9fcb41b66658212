package gateway

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"holdline/internal/hub"
	"holdline/internal/park"
)

// line is a held connection as the gateway ends it: an SSE stream, a WebSocket
// or a poll.
type line interface {
	Pass() any
	End(why park.Reason, after time.Duration)
}

// runRecheck ends the lines whose login is no longer good as soon as the backend
// has found out, and those whose token or binding has run out within
// auth.recheck.
func (g *Gateway) runRecheck(ctx context.Context, each func(func(hub.Subscriber)), revoked <-chan struct{}) error {
	tick := time.NewTicker(g.cfg.Auth.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-revoked:
		case <-tick.C:
		}
		g.revoke(each, time.Now())
	}
}

func (g *Gateway) revoke(each func(func(hub.Subscriber)), now time.Time) {
	each(func(s hub.Subscriber) {
		l, ok := s.(line)
		if !ok {
			return
		}
		if p, ok := l.Pass().(interface{ ended(time.Time) bool }); ok && p.ended(now) {
			l.End(park.ReasonRevoked, 0)
		}
	})
}

// each goes over all held lines. Loops come from where they wait, since some of
// them wait for nobody's channel.
func (a *attached) each(fn func(hub.Subscriber)) {
	a.hub.Each(fn)
	a.loops.Each(fn)
}

// lastWord has every answer of a process that leaves end its connection: the next
// request is for the successor.
func (g *Gateway) lastWord(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.suspended.Load() || g.draining.Load() {
			w.Header().Set("Connection", "close")
			r.Close = true // for those whose head is not net/http's to write
		}
		next.ServeHTTP(w, r)
	})
}

// nextRequest is how long a leaving process waits for connections that are new or
// kept alive to ask, so that they are answered and told to ask elsewhere. To close
// one at the moment at which it asks would lose the request, and proxies do not
// repeat a POST; http.Server closes those whose request it reads after Shutdown.
const nextRequest = time.Second

// drain lets every client go with a word when to come back, spread out so that
// a successor is not overrun, and waits for them up to the configured time.
func (g *Gateway) drain(public *http.Server) {
	g.draining.Store(true)
	if err := g.listener.Close(); err != nil {
		g.log.Debug("closing the socket for browsers", "error", err)
	}
	// Now, since the loops that do not find us any more will have PHP's workers soon.
	if at := g.attached.Load(); at != nil && at.backend.Loops != nil {
		at.backend.Loops.Courier.Flush()
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.settings().Drain)
	defer cancel()
	stopped := make(chan struct{})
	go func() { // joined below
		defer close(stopped)
		g.awaitRequests(ctx)
		if err := public.Shutdown(ctx); err != nil {
			public.Close()
		}
	}()
	defer func() { <-stopped }()
	spread := 500*time.Millisecond + time.Duration(g.lot.Held())*time.Millisecond
	g.farewell(spread)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for held := g.lot.Held(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := held
		held = g.lot.Held()
		switch {
		case held > 0 && held >= before:
			g.farewell(spread) // to who was just coming in
		case held == 0 && isClosed(stopped):
			return
		}
	}
}

// farewell tells everybody who is held to come back.
func (g *Gateway) farewell(spread time.Duration) {
	at := g.attached.Load()
	if at == nil {
		return
	}
	at.each(func(s hub.Subscriber) {
		if l, ok := s.(line); ok {
			l.End(park.ReasonDrain, 250*time.Millisecond+rand.N(spread))
		}
	})
}

// awaitRequests waits until no connection is idle, up to nextRequest. It looks twice:
// there is a moment between accepting a connection and knowing it, and one between
// reading its request and answering.
func (g *Gateway) awaitRequests(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, nextRequest)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for quiet := 0; quiet < 2; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if quiet++; g.gate.askers()+g.lot.Idle() > 0 {
			quiet = 0
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
