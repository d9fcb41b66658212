package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"holdline/config"
)

// gate counts connections that are open and not held: those that have not asked
// yet, are being answered, or are kept alive. Each costs a goroutine and net/http's
// buffers, 14 to 18 KB, ten times as much as one that is held, and asks for no right.
// What is too much is closed as soon as it is accepted. Only while the gate has not been
// full for long do others wait until somebody has been answered: thousands come back at
// once after an upgrade, and none of them is to be refused for that.
//
// A connection counts from Accept until the server closes it or hands it over,
// and over HTTP/2 not while one of its requests is held. It is safe for
// concurrent use.
type gate struct {
	trusts  func(remote string) bool
	refused func(what string) // tells a metric
	held    func() int        // connections that the Lot has

	mu       sync.Mutex
	limits   openLimits
	slots    map[net.Conn]*slot
	fresh    int // counted, of those that came from outside
	returned int // counted, of those that were held before
	address  map[netip.Addr]int
	full     time.Time     // since when nobody else was let in from outside; zero while there is room
	room     chan struct{} // of one slot: somebody from outside has left
}

// openLimits are those of connections that are not held.
type openLimits struct {
	all, perAddress, returned int
	files                     int // that this process may open; 0: unknown
}

func openLimitsOf(l config.Limits, files int) openLimits {
	return openLimits{l.Open, l.OpenPerAddr, l.Connections, files}
}

// room is how many there may be in all. Those that are held go first, and half of
// what is reserved is for other files.
func (o openLimits) room(held int) int {
	if o.files == 0 {
		return o.all
	}
	return min(o.all, o.files-reservedDescriptors/2-held)
}

// slot is one open connection. The gate's lock guards it.
type slot struct {
	gate     *gate
	from     netip.Addr // the zero one for who has no limit of an address
	returned bool
	asks     bool // it may send a request at any moment: it is new, or kept alive
	held     int  // requests of HTTP/2 that are held; while there are any, it does not count
	gone     bool
}

func newGate(limits openLimits, trusts func(remote string) bool, refused func(what string), held func() int) *gate {
	return &gate{
		limits: limits, trusts: trusts, refused: refused, held: held,
		slots: make(map[net.Conn]*slot), address: make(map[netip.Addr]int), room: make(chan struct{}, 1),
	}
}

// adjust replaces the limits. Connections that are open stay so.
func (g *gate) adjust(limits openLimits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = limits
}

// open is how many connections count now.
func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fresh + g.returned
}

// askers is how many connections may send a request at any moment.
func (g *gate) askers() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.slots {
		if s.asks {
			n++
		}
	}
	return n
}

// listener lets connections from outside in as long as there is room.
func (g *gate) listener(l net.Listener) net.Listener { return &gatedListener{l, g, false} }

// homecoming is listener for connections that come back from being held. They were
// let in before, so they only count; no more of them come than may be held.
func (g *gate) homecoming(l net.Listener) net.Listener { return &gatedListener{l, g, true} }

type gatedListener struct {
	net.Listener
	gate     *gate
	returned bool
}

// Accept implements net.Listener.
func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		what := l.gate.enter(conn, l.returned)
		for what == tooManyOpen && !l.returned && l.gate.awaitRoom() {
			what = l.gate.enter(conn, l.returned)
		}
		if what == "" {
			return conn, nil
		}
		l.gate.refused(what)
		if tcp, ok := conn.(*net.TCPConn); ok {
			// With a reset: thousands of ends in order would fill the kernel's table
			// of connections in TIME_WAIT. Where it fails, the end is one in order.
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close() // nothing was written that could be lost
	}
}

// fullPatience is how long a gate is full before that is a flood, and no crowd.
const fullPatience = 2 * time.Second

// awaitRoom tells that there may be room now. It is false when the gate has been full
// for too long.
func (g *gate) awaitRoom() bool {
	g.mu.Lock()
	left := fullPatience - time.Since(g.full)
	g.mu.Unlock()
	patience := time.NewTimer(left)
	defer patience.Stop()
	select {
	case <-g.room:
		return true
	case <-patience.C:
		return false
	}
}

// What a refused connection was too much of, as told to the metric.
const (
	tooManyOpen = "open"
	tooManyFrom = "open_address"
)

// enter counts a connection in, or says what it is too much of.
func (g *gate) enter(conn net.Conn, returned bool) (tooMuch string) {
	remote := ""
	if a := conn.RemoteAddr(); a != nil {
		remote = a.String()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &slot{gate: g, returned: returned, asks: true}
	if !g.trusts(remote) {
		from, _ := netip.ParseAddrPort(remote)
		s.from = household(from.Addr())
	}
	switch {
	case returned && g.returned >= g.limits.returned:
		tooMuch = tooManyOpen
	case !returned && g.fresh >= g.limits.room(g.held()):
		tooMuch = tooManyOpen
		if g.full.IsZero() {
			g.full = time.Now()
		}
	case s.from.IsValid() && g.address[s.from] >= g.limits.perAddress && !returned:
		tooMuch = tooManyFrom
	default:
		g.slots[conn] = s
		s.count(1)
		if !returned {
			g.full = time.Time{}
		}
	}
	return tooMuch
}

// count changes what counts. The caller has the gate's lock.
func (s *slot) count(by int) {
	if s.returned {
		s.gate.returned += by
	} else {
		s.gate.fresh += by
		if by < 0 {
			select {
			case s.gate.room <- struct{}{}:
			default: // one who waits looks once, and finds all the room there is
			}
		}
	}
	if !s.from.IsValid() {
		return
	}
	if n := s.gate.address[s.from] + by; n > 0 {
		s.gate.address[s.from] = n
	} else {
		delete(s.gate.address, s.from)
	}
}

// state is for http.Server.ConnState: it knows who may ask, and ends what enter began.
func (g *gate) state(conn net.Conn, to http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, key := g.find(conn)
	if s == nil {
		return
	}
	s.asks = to == http.StateNew || to == http.StateIdle
	if to != http.StateClosed && to != http.StateHijacked {
		return
	}
	delete(g.slots, key)
	s.gone = true
	if s.held == 0 {
		s.count(-1)
	}
}

// find also knows a connection by the TLS around it. The caller has the lock.
func (g *gate) find(conn net.Conn) (*slot, net.Conn) {
	for {
		if s := g.slots[conn]; s != nil {
			return s, conn
		}
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, nil
		}
		conn = outer.NetConn()
	}
}

type slotKey struct{}

// context is for http.Server.ConnContext: requests can then tell their connection's
// slot.
func (g *gate) context(ctx context.Context, conn net.Conn) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, _ := g.find(conn)
	return context.WithValue(ctx, slotKey{}, s)
}

// hold takes a connection out of the count while one of its requests is held, until
// the function it returns is called. That is for HTTP/2, whose connections are
// never handed over; for all others it is nil.
func (g *gate) hold(r *http.Request) (end func()) {
	s, _ := r.Context().Value(slotKey{}).(*slot)
	if s == nil || r.ProtoMajor < 2 {
		return nil
	}
	s.change(1)
	return func() { s.change(-1) }
}

func (s *slot) change(by int) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	before := s.held
	s.held += by
	switch {
	case s.gone:
	case before == 0:
		s.count(-1)
	case s.held == 0:
		s.count(1)
	}
}

// tunnelled counts a connection that is about to be handed over to the proxy (an
// upgrade that PHP's server agrees to) until it is over.
func (g *gate) tunnelled(r *http.Request) (end func()) {
	s, _ := r.Context().Value(slotKey{}).(*slot)
	if s == nil || r.Header.Get("Upgrade") == "" {
		return func() {}
	}
	stand := &slot{gate: g, from: s.from, returned: s.returned}
	g.mu.Lock()
	stand.count(1)
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		stand.count(-1)
	}
}

// makeRoom lets go of answered polls whose connections wait for a next request,
// when these and the held ones are as many as may be held: otherwise whoever polls
// and goes silent would take descriptors that count against no limit. To let go
// means to look at every connection, so it is done for an eighth of them at a time.
func (g *Gateway) makeRoom() {
	limit, idle := int64(g.settings().Limits.Connections), int64(g.lot.Idle())
	left := min(g.idleLeft.Load(), idle) // by the last time: those cannot be let go yet
	if int64(g.lot.Held())+idle < limit || idle < left+max(limit/8, 1) {
		return
	}
	g.lot.DropIdle()
	g.idleLeft.Store(int64(g.lot.Idle()))
}
