package wpdb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"holdline/internal/wpauth"
)

// usersPerQuery bounds the IN list of a recheck.
const usersPerQuery = 1000

// Session is a login that was found good. All connections with the same cookie
// share one. Its methods may be called concurrently.
//
// A login may end between Login and the moment its connection can be found by
// AuthOptions.OnRevoked: ask Revoked once more after that moment.
type Session struct {
	UserID int64
	Login  string // user_login
	// Expires is the earlier of the cookie's and the session's end.
	Expires time.Time

	holder wpauth.Holder
	cookie wpauth.AuthCookie // to be judged again
	end    atomic.Pointer[error]

	// The rest is the Authenticator's, under its mutex.
	auth    *Authenticator
	key     cookieKey
	refs    int
	checked time.Time
}

// Revoked tells that the login has ended: logged out, expired, another
// password, the user gone, the site's salts changed. It never becomes false again.
func (s *Session) Revoked() bool { return s.end.Load() != nil }

// Err is nil while the login is good, and then the reason for its end; see
// [Authenticator.Login].
func (s *Session) Err() error {
	if err := s.end.Load(); err != nil {
		return *err
	}
	return nil
}

// Retain is for one more connection that holds the session; it must Release it.
func (s *Session) Retain() *Session {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.refs++
	return s
}

// Release is called once for every Login and Retain. The session is not looked
// after any more when nobody holds it.
func (s *Session) Release() {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.refs--
}

// hold retains the session for a login, unless it ended meanwhile. A recheck
// between the look-up and now may have forgotten it because nobody held it; then
// it comes back, or another login with the cookie has taken its place.
func (s *Session) hold() (*Session, error) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	if err := s.Err(); err != nil {
		return nil, err
	}
	if other, ok := s.auth.sessions[s.key]; ok {
		s = other
	}
	s.auth.sessions[s.key] = s
	s.refs++
	return s, nil
}

// fresh returns the session of a cookie that was checked a moment ago, nil if
// there is none.
func (a *Authenticator) fresh(key cookieKey, now time.Time) *Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[key]
	if !ok || now.Sub(s.checked) >= a.opt.Recheck || expired(s, now) {
		return nil
	}
	return s
}

// register keeps a login that was found good now.
func (a *Authenticator) register(key cookieKey, l login, now time.Time) *Session {
	a.accepted.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.sessions[key]
	if !ok {
		s = &Session{
			UserID: l.identity.UserID, Login: l.identity.Login, Expires: l.identity.Expires,
			holder: l.identity.Holder(), cookie: l.cookie, auth: a, key: key,
		}
		a.sessions[key] = s
	}
	s.checked = now
	return s
}

// expired: the second of the expiration itself still counts, as in WordPress.
func expired(s *Session, now time.Time) bool { return s.Expires.Unix() < now.Unix() }

// Run looks at all live sessions once per recheck, with one query for every
// thousand users and none while nobody holds a session. It returns nil when ctx
// ends. A database that does not answer ends no session: it is counted and
// asked again.
func (a *Authenticator) Run(ctx context.Context) error {
	tick := time.NewTicker(a.opt.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := a.recheck(ctx, time.Now()); err != nil && ctx.Err() == nil {
				a.unknown.Add(1)
			}
		}
	}
}

// recheck ends the sessions that are over.
func (a *Authenticator) recheck(ctx context.Context, now time.Time) error {
	byUser := make(map[int64][]*Session)
	for _, s := range a.held(now) {
		if expired(s, now) { // known without the database
			a.revoke(s, wpauth.ErrExpired)
			continue
		}
		byUser[s.UserID] = append(byUser[s.UserID], s)
	}
	var failed error
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(byUser)), usersPerQuery) {
		accounts, err := a.usersByID(ctx, ids)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, id := range ids {
			failed = errors.Join(failed, a.recheckUser(accounts[id], byUser[id], now))
		}
	}
	return failed
}

// held returns the sessions somebody holds and forgets those that only waited
// for the next poll of their browser.
func (a *Authenticator) held(now time.Time) []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	var held []*Session
	for key, s := range a.sessions {
		switch {
		case s.refs > 0:
			held = append(held, s)
		case now.Sub(s.checked) >= a.opt.Recheck:
			delete(a.sessions, key)
		}
	}
	return held
}

func (a *Authenticator) usersByID(ctx context.Context, ids []int64) (map[int64]account, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatInt(id, 10)
	}
	return a.accounts(ctx, "u.ID IN ("+strings.Join(list, ",")+")")
}

// recheckUser judges the sessions of one user by what the database knows now;
// the zero account is that of a user who is gone.
func (a *Authenticator) recheckUser(user account, sessions []*Session, now time.Time) error {
	for _, s := range sessions {
		_, err := a.judge(user, s.cookie, wpauth.Check{Now: now})
		switch {
		case err == nil:
			a.mu.Lock()
			s.checked = now
			a.mu.Unlock()
		case isRefusal(err):
			a.revoke(s, err)
		default:
			return err
		}
	}
	return nil
}

// revoke ends a session: none that hold retains later has ended already.
func (a *Authenticator) revoke(s *Session, reason error) {
	a.mu.Lock()
	if a.sessions[s.key] == s {
		delete(a.sessions, s.key)
	}
	ended := s.end.CompareAndSwap(nil, &reason)
	a.mu.Unlock()
	if ended {
		a.revoked.Add(1)
		a.opt.OnRevoked(s)
	}
}

// AuthStats are counters since the start, for metrics.
type AuthStats struct {
	Live     int    // sessions held by connections now
	Accepted uint64 // cookies found good by a query
	Refused  uint64 // cookies found bad by a query
	Revoked  uint64 // sessions that ended while held
	Unknown  uint64 // rechecks that failed because the database did not answer
}

// Stats may be called at any time.
func (a *Authenticator) Stats() AuthStats {
	stats := AuthStats{
		Accepted: a.accepted.Load(), Refused: a.refusals.Load(),
		Revoked: a.revoked.Load(), Unknown: a.unknown.Load(),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if s.refs > 0 {
			stats.Live++
		}
	}
	return stats
}
