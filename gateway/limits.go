package gateway

import (
	"fmt"
	"net/netip"
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

	mu      sync.Mutex
	total   int
	address map[netip.Addr]int
	user    map[string]int
}

func newAdmission(l config.Limits) *admission {
	return &admission{limits: l, address: make(map[netip.Addr]int), user: make(map[string]int)}
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
func (a *admission) enter(from netip.Addr, user string, g *grant) (*pass, error) {
	from = household(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.total >= a.limits.Connections:
		return nil, &overLimit{"connections", a.limits.Connections, "limits.connections"}
	case a.address[from] >= a.limits.PerAddress:
		return nil, &overLimit{"address", a.limits.PerAddress, "limits.per_address"}
	case user != "" && a.user[user] >= a.limits.PerUser:
		return nil, &overLimit{"user", a.limits.PerUser, "limits.per_user"}
	}
	a.total++
	a.address[from]++
	if user != "" {
		a.user[user]++
	}
	return &pass{admission: a, address: from, user: user, grant: g}, nil
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

func (a *admission) leave(p *pass) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.address[p.address]--; a.address[p.address] == 0 {
		delete(a.address, p.address)
	}
	if p.user != "" {
		if a.user[p.user]--; a.user[p.user] == 0 {
			delete(a.user, p.user)
		}
	}
}

// pass is one connection's right to be here.
type pass struct {
	admission *admission
	address   netip.Addr
	user      string
	grant     *grant
	released  atomic.Bool
}

// Release gives the pass back. Calls after the first do nothing.
func (p *pass) Release() {
	if p.released.CompareAndSwap(false, true) {
		p.admission.leave(p)
		p.grant.release()
	}
}

// grant is why a client may read what it reads, and until when.
type grant struct {
	session *wpdb.Session // nil without a login
	expires time.Time     // earliest end of a token or binding; zero for never
}

// ended tells that the client must go.
func (g *grant) ended(now time.Time) bool {
	if g.session != nil && g.session.Revoked() {
		return true
	}
	return !g.expires.IsZero() && now.After(g.expires)
}

func (g *grant) release() {
	if g.session != nil {
		g.session.Release()
	}
}

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
