package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"holdline/config"
	"holdline/wpdb"
)

// admission counts held connections against the limits. It is safe for
// concurrent use.
type admission struct {
	limits config.Limits

	mu    sync.Mutex
	total int
	held  [transports]int
	// loopTime is how long loops were held, all together, until loopsAt.
	loopTime time.Duration
	loopsAt  time.Time
	tallies  map[string]*tally

	delivered [transports]atomic.Uint64 // events, in all
}

// tally counts the connections of one address or user. Passes point at it, and so
// have its key without keeping one of their own.
type tally struct {
	key string
	n   int
}

func newAdmission(l config.Limits) *admission {
	return &admission{limits: l, tallies: make(map[string]*tally)}
}

// setLimits changes what is let in from now on.
func (a *admission) setLimits(l config.Limits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = l
}

// overLimit is a refusal that names the limit.
type overLimit struct {
	what  string // for metrics: connections, address or user
	limit int
	key   string // the setting that raises it
}

func (e *overLimit) Error() string {
	return fmt.Sprintf("too many connections: the limit is %d (%s); try again later", e.limit, e.key)
}

// enter admits one connection and returns its pass, or an *overLimit. user is
// "" for those who have not said who they are.
func (a *admission) enter(from netip.Addr, user string, over transport, g grant) (pass, error) {
	address := addressKey(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.total >= a.limits.Connections:
		return pass{}, &overLimit{"connections", a.limits.Connections, "limits.connections"}
	case a.heldBy(address) >= a.limits.PerAddress:
		return pass{}, &overLimit{"address", a.limits.PerAddress, "limits.per_address"}
	case user != "" && a.heldBy(user) >= a.limits.PerUser:
		return pass{}, &overLimit{"user", a.limits.PerUser, "limits.per_user"}
	}
	p := pass{admission: a, address: a.join(address), grant: g, over: over}
	if user != "" {
		p.user = a.join(user)
	}
	a.total++
	a.count(over, 1)
	return p, nil
}

// heldBy is how many connections a key has. The caller has the lock.
func (a *admission) heldBy(key string) int {
	if t := a.tallies[key]; t != nil {
		return t.n
	}
	return 0
}

// join adds a connection to a key's tally. The caller has the lock.
func (a *admission) join(key string) *tally {
	t := a.tallies[key]
	if t == nil {
		t = &tally{key: key}
		a.tallies[key] = t
	}
	t.n++
	return t
}

// enter is admission's for a request, and makes room where it can.
func (g *Gateway) enter(r *http.Request, from netip.Addr, id *identity) (pass, error) {
	g.makeRoom()
	p, err := g.admission.enter(from, id.user, id.over, id.grant)
	if err == nil {
		p.after(g.gate.hold(r))
	}
	return p, err
}

// count keeps the books of transports. The caller has the lock.
func (a *admission) count(over transport, by int) {
	if over == overLoop {
		a.accrue(time.Now())
	}
	a.held[over] += by
}

// accrue adds the time since the last look, for every loop that is held. The
// caller has the lock.
func (a *admission) accrue(now time.Time) {
	if since := now.Sub(a.loopsAt); since > 0 {
		a.loopTime += time.Duration(a.held[overLoop]) * since
		a.loopsAt = now
	}
}

// census tells how many are held by each transport, and how long loops were held
// up to now, all together.
func (a *admission) census(now time.Time) ([transports]int, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accrue(now)
	return a.held, a.loopTime
}

// household is what counts as one address: IPv6 networks hand a /64 to every
// home, and with it more addresses than could ever be counted.
func household(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// leave takes a pass back, unless that was done before.
func (a *admission) leave(p *pass) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.released {
		return false
	}
	p.released = true
	a.total--
	a.count(p.over, -1)
	for _, t := range []*tally{p.address, p.user} {
		if t == nil {
			continue
		}
		if t.n--; t.n == 0 {
			delete(a.tallies, t.key)
		}
	}
	return true
}

// pass is one connection's right to be here. It is part of what stands for the
// connection; a copy of one that may already be released is worth nothing.
type pass struct {
	admission *admission
	address   *tally
	user      *tally // nil for those who have not said who they are
	grant
	leave    func() // ends what began with it, such as its presence; nil for nothing
	over     transport
	released bool // of the admission's lock
}

// Release gives the pass back. Calls after the first do nothing.
func (p *pass) Release() {
	if !p.admission.leave(p) {
		return
	}
	if p.leave != nil {
		p.leave()
	}
	p.grant.release()
}

// sender is what rates count by: the user, or the address of who has no name.
func (p *pass) sender() string {
	if p.user != nil {
		return p.user.key
	}
	return p.address.key
}

// Delivered counts events that were handed to its connection.
func (p *pass) Delivered(events int) { p.admission.delivered[p.over].Add(uint64(events)) }

// after adds what is to be done once the pass is given back; nil is nothing. It is
// not for concurrent use.
func (p *pass) after(end func()) {
	before := p.leave
	switch {
	case end == nil:
	case before == nil:
		p.leave = end
	default:
		p.leave = func() { before(); end() }
	}
}

// grant is why a client may read what it reads, and until when.
type grant struct {
	session *wpdb.Session // nil without a login
	expires int64         // earliest end of a token or binding in Unix seconds; 0 for never
}

// transport is how a connection is held.
type transport uint8

const (
	overLoop transport = iota // a plugin's own polling
	overSSE
	overWS
	overPoll
	transports
)

// String is the label in metrics.
func (t transport) String() string {
	return [transports]string{overLoop: "loop", overSSE: "sse", overWS: "ws", overPoll: "poll"}[t]
}

// transportOf tells it from the address that was asked for.
func transportOf(r *http.Request) transport {
	switch path.Base(r.URL.Path) {
	case "sse":
		return overSSE
	case "ws":
		return overWS
	case "poll":
		return overPoll
	}
	return overLoop
}

// ended tells that the client must go.
func (g *grant) ended(now time.Time) bool {
	if g.session != nil && g.session.Revoked() {
		return true
	}
	return g.expires != 0 && now.Unix() >= g.expires
}

func (g *grant) release() {
	if g.session != nil {
		g.session.Release()
	}
}

// addressKey is what per_address counts by. No user has a key that begins so.
func addressKey(from netip.Addr) string { return "a" + household(from).String() }

// userKey is what per_user counts by.
func userKey(id int64, subject string) string {
	switch {
	case id > 0:
		return "u" + strconv.FormatInt(id, 10)
	case subject != "":
		return "t" + subject
	}
	return ""
}
