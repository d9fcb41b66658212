package wpdb

import (
	"context"
	"time"
)

// Recheck lets tests choose the moment, and the time, of what Run does.
func (a *Authenticator) Recheck(ctx context.Context, now time.Time) error { return a.recheck(ctx, now) }

// Age makes the facts and the remembered options old.
func (s *Site) Age() {
	s.next.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.options)
}

// AwaitRefresh waits for a refresh in the background to end.
func (s *Site) AwaitRefresh() { s.wg.Wait() }

var (
	Location  = location
	TLSOption = tlsOption
)

// AccountsQuery is the query of every login and recheck.
func (s *Site) AccountsQuery(where string) string { return s.tables.accountsQuery(where) }

// Remembered is the number of sessions in memory, held or not.
func (a *Authenticator) Remembered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions)
}
