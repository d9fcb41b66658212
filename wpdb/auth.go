package wpdb

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"holdline/internal/lru"
	"holdline/internal/wpauth"
)

// Reasons of [Authenticator.Login] and [Session.Err] beyond those of wpauth.
var (
	// ErrBarred: the network's administrators marked the user as spam or deleted.
	ErrBarred = errors.New("the user is marked as spam or deleted")
	// ErrTooManyFailures: the address had too many cookies refused; try later.
	ErrTooManyFailures = errors.New("too many refused logins from this address")
)

// Defences against forged cookies, each of which costs one query.
const (
	refusedAge     = 5 * time.Second // a refused cookie is not looked up again
	maxRefused     = 4096
	maxAddresses   = 4096
	maxLookups     = 2
	failureBurst   = 20 // refused cookies of one address at once …
	failureRate    = 1  // … and per second
	defaultRecheck = 10 * time.Second
	// hintAfter refused sessions without a single accepted one, something is
	// wrong that only the operator can find.
	hintAfter = 10
)

// Cookies is what a request shows of its login.
type Cookies struct {
	Header string // the Cookie header; never logged
	// POSTorAJAX: the request is a POST or goes to admin-ajax.php, which
	// WordPress grants an hour more.
	POSTorAJAX bool
	// Address is the client's, without a port. Too many refused cookies from it
	// are answered without a query. Empty: no such limit.
	Address string
}

// AuthOptions set up an [Authenticator].
type AuthOptions struct {
	// Recheck is how often live sessions are looked up again, and so how soon a
	// logout is noticed; 0 means 10 s.
	Recheck time.Duration
	// OnRevoked is called once for every live session that ends, from the
	// goroutine of Run, with no lock held. It must not block.
	OnRevoked func(*Session)
	Logger    *slog.Logger
}

// Authenticator tells who a browser is by its WordPress login cookie, and
// notices when a login ends. All methods may be called concurrently.
type Authenticator struct {
	site    *Site
	opt     AuthOptions
	flights singleflight.Group
	turns   chan struct{} // taken by look-ups under way

	mu        sync.Mutex
	sessions  map[cookieKey]*Session
	refused   *lru.Map[cookieKey, refusal]
	addresses *lru.Map[string, *rate.Limiter]

	accepted, refusals, revoked, unknown atomic.Uint64
	lostSessions                         atomic.Uint64
}

// cookieKey is the hash of a cookie, so that maps hold no tokens.
type cookieKey [sha256.Size]byte

type refusal struct {
	err   error
	until time.Time
}

// NewAuthenticator starts nothing: [Authenticator.Run] must run to notice
// logins that end.
func NewAuthenticator(site *Site, opt AuthOptions) *Authenticator {
	if opt.Recheck <= 0 {
		opt.Recheck = defaultRecheck
	}
	if opt.OnRevoked == nil {
		opt.OnRevoked = func(*Session) {}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Authenticator{
		site: site, opt: opt,
		turns:     make(chan struct{}, maxLookups),
		sessions:  make(map[cookieKey]*Session),
		refused:   lru.New[cookieKey, refusal](maxRefused, 0),
		addresses: lru.New[string, *rate.Limiter](maxAddresses, 0),
	}
}

// Login returns the session of a request's cookie, the same one for every
// request with that cookie. The caller must Release it when the connection
// ends. A cookie costs at most one query per recheck.
//
// Errors: those of wpauth (wpauth.Reason names them), ErrBarred and
// ErrTooManyFailures mean that the browser is not logged in; any other that the
// database could not be asked, see [Classify].
func (a *Authenticator) Login(ctx context.Context, r Cookies, now time.Time) (*Session, error) {
	value, cookie, err := a.findCookie(r.Header)
	if err != nil {
		return nil, err
	}
	check := wpauth.Check{Now: now, Grace: r.POSTorAJAX}
	if err := a.verifier().Precheck(cookie, check); err != nil {
		return nil, err
	}
	key := cookieKey(sha256.Sum256([]byte(value)))
	if s := a.fresh(key, now); s != nil {
		return s.hold()
	}
	found, err, _ := a.flights.Do(string(key[:]), func() (any, error) {
		// The flight before this one may have just landed.
		if s := a.fresh(key, now); s != nil {
			return s, nil
		}
		if err := a.lately(key, now); err != nil {
			return nil, err
		}
		// Others wait for this flight: one browser that leaves must not end it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readLimit)
		defer cancel()
		login, err := a.lookup(ctx, r.Address, cookie, check)
		if err != nil {
			a.refuse(key, err, now)
			return nil, err
		}
		return a.register(key, login, now), nil
	})
	if err != nil {
		return nil, err
	}
	return found.(*Session).hold()
}

// findCookie looks under the cookie's proper name. Where that is not known,
// because the siteurl is made from the request, any cookie with the prefix may
// be it: the name is not part of what is signed.
func (a *Authenticator) findCookie(header string) (value string, cookie wpauth.AuthCookie, err error) {
	want := a.site.CookieNames().LoggedIn
	for name, v := range wpauth.Cookies([]string{header}) {
		guess := want == wpauth.LoggedInPrefix && strings.HasPrefix(name, want)
		if v == "" || name != want && !guess {
			continue
		}
		if cookie, err = wpauth.ParseAuthCookie(v); err == nil || !guess {
			return v, cookie, err
		}
	}
	return "", wpauth.AuthCookie{}, wpauth.ErrNoCookie
}

func (a *Authenticator) verifier() wpauth.Verifier {
	return wpauth.Verifier{Salts: a.site.Salts()}
}

// lately returns why the cookie was refused a moment ago, nil if it was not.
func (a *Authenticator) lately(key cookieKey, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.refused.Get(key); now.Before(r.until) {
		return r.err
	}
	return nil
}

// refuse remembers a cookie that is no good.
func (a *Authenticator) refuse(key cookieKey, err error, now time.Time) {
	if !isRefusal(err) {
		return
	}
	a.refusals.Add(1)
	if errors.Is(err, wpauth.ErrNoSession) && a.accepted.Load() == 0 && a.lostSessions.Add(1) == hintAfter {
		a.opt.Logger.Warn("genuine login cookies have no session in the usermeta table: "+
			"perhaps a plugin keeps sessions elsewhere (filter session_token_manager), "+
			"or the database is read with another charset than WordPress uses", "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused.Put(key, refusal{err, now.Add(refusedAge)})
}

// isRefusal tells a cookie that is no good from a question that could not be
// asked.
func isRefusal(err error) bool {
	switch wpauth.Reason(err) {
	case "ok", "secret_missing":
		return false
	case "error":
		return errors.Is(err, ErrBarred)
	}
	return true
}

// login is a cookie that was found good, in the spelling that was.
type login struct {
	cookie   wpauth.AuthCookie
	identity wpauth.Identity
}

// lookup asks the database who the cookie's user is. Few may ask at a time: the
// connections are few, and while a flood of forged cookies waits here, the
// first refusals close the door behind them.
func (a *Authenticator) lookup(ctx context.Context, address string, cookie wpauth.AuthCookie, check wpauth.Check) (login, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return login{}, fmt.Errorf("wait for a turn to look up a login: %w", ctx.Err())
	}
	failures := a.failures(address)
	if failures.TokensAt(check.Now) < 1 {
		return login{}, ErrTooManyFailures
	}
	identity, err := a.lookupLogin(ctx, cookie, check)
	// Before PHP 8 a space in the login was written as a plus sign.
	if plain, changed := cookie.PlusAsSpace(); changed && errors.Is(err, wpauth.ErrUnknownUser) {
		cookie = plain
		identity, err = a.lookupLogin(ctx, cookie, check)
	}
	if isRefusal(err) {
		failures.AllowN(check.Now, 1)
	}
	return login{cookie, identity}, err
}

// failures is what an address may still get wrong.
func (a *Authenticator) failures(address string) *rate.Limiter {
	if address == "" {
		return rate.NewLimiter(rate.Inf, 1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.addresses.Get(address)
	if limiter == nil {
		limiter = rate.NewLimiter(failureRate, failureBurst)
		a.addresses.Put(address, limiter)
	}
	return limiter
}

func (a *Authenticator) lookupLogin(ctx context.Context, cookie wpauth.AuthCookie, check wpauth.Check) (wpauth.Identity, error) {
	if !plausible(cookie.Login) {
		return wpauth.Identity{}, wpauth.ErrUnknownUser
	}
	accounts, err := a.accounts(ctx, "u.user_login = ?", cookie.Login)
	if err != nil {
		return wpauth.Identity{}, err
	}
	for _, account := range accounts {
		// The column's collation also finds other spellings.
		if account.Login == cookie.Login {
			return a.judge(account, cookie, check)
		}
	}
	return wpauth.Identity{}, wpauth.ErrUnknownUser
}

// plausible: text that the users table cannot hold makes the server complain, or
// convert the whole column to compare.
func plausible(login string) bool {
	return utf8.ValidString(login) && !strings.ContainsFunc(login, func(r rune) bool { return r > 0xFFFF })
}

// judge verifies a cookie against what the database knows now of its user.
func (a *Authenticator) judge(account account, cookie wpauth.AuthCookie, check wpauth.Check) (wpauth.Identity, error) {
	identity, err := a.verifier().Verify(cookie, account.User, check)
	if err == nil && account.barred {
		return wpauth.Identity{}, ErrBarred
	}
	return identity, err
}

// account is a user with what only a multisite knows of one.
type account struct {
	wpauth.User
	barred bool
}

// accountsQuery reads users by a condition on u. Of the password hash only the
// parts that a cookie signs leave the database. Of several session rows the
// oldest counts (get_metadata_raw, meta.php); asking for it inside keeps the
// server from sorting whole rows, long texts and all, in a temporary table.
func (t tables) accountsQuery(where string) string {
	barred := "0"
	if t.multisite {
		barred = "(u.spam = 1 OR u.deleted = 1)"
	}
	return "SELECT u.ID, u.user_login, LEFT(u.user_pass, 4), SUBSTRING(u.user_pass, 9, 4), RIGHT(u.user_pass, 4), " + barred +
		", (SELECT m.meta_value FROM " + t.usermeta + " m WHERE m.user_id = u.ID AND m.meta_key = 'session_tokens' ORDER BY m.umeta_id LIMIT 1)" +
		" FROM " + t.users + " u WHERE " + where
}

// accounts reads users with one query, whatever their number.
func (a *Authenticator) accounts(ctx context.Context, where string, args ...any) (map[int64]account, error) {
	rows, err := a.site.QueryContext(ctx, a.site.tables.accountsQuery(where), args...)
	if err != nil {
		return nil, fmt.Errorf("read users and their sessions: %w", err)
	}
	defer rows.Close()
	accounts := make(map[int64]account)
	for rows.Next() {
		var u account
		if err := rows.Scan(&u.ID, &u.Login, &u.PassPrefix, &u.FragMid, &u.FragEnd, &u.barred, &u.Sessions); err != nil {
			return nil, fmt.Errorf("read users and their sessions: %w", err)
		}
		accounts[u.ID] = u
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read users and their sessions: %w", err)
	}
	return accounts, nil
}

// VerifyNonce tells whether a nonce was made for this action and session, or,
// with a nil session, for a visitor without a login cookie. While the site's
// salts are not known no nonce is good.
func (a *Authenticator) VerifyNonce(s *Session, action, nonce string, now time.Time) bool {
	nonces, err := wpauth.NewNonces(a.site.Salts(), wpauth.DefaultNonceLife)
	if err != nil {
		return false
	}
	holder := wpauth.VisitorHolder("")
	if s != nil {
		holder = s.holder
	}
	return nonces.Verify(nonce, action, holder, now) != wpauth.NonceInvalid
}
