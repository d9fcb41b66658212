package wpauth

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a login cookie's fields. WordPress writes logins of at most 60
// characters, ten-digit times and tokens of 43 bytes; plugins may make longer
// ones.
const (
	maxLoginBytes = 60 * 4
	maxTimeDigits = 11
	maxTokenBytes = 256
	macHexDigits  = sha256.Size * 2
)

// postGrace is what wp_validate_auth_cookie adds to the expiration for POST and
// AJAX requests. Core lets the session end at the same second as the cookie, so
// it matters only where something gave the session a later end.
const postGrace = int64(time.Hour / time.Second)

// AuthCookie is a login cookie split into its fields, not yet verified.
// It holds a live token: keep it in memory only. It prints as "redacted".
type AuthCookie struct {
	redacted
	Login      string // user_login, the key of the one query a check needs
	Expiration int64  // Unix seconds
	token      string
	expiration string // as in the cookie, which is what is signed
	mac        string
}

// ParseAuthCookie splits the decoded value of a login cookie,
// login|expiration|token|hmac. It returns ErrMalformed for anything WordPress
// cannot have written, so that junk costs no query.
func ParseAuthCookie(value string) (AuthCookie, error) {
	fields := strings.SplitN(value, "|", 5) // a fifth is enough to refuse
	if len(fields) != 4 {
		return AuthCookie{}, fmt.Errorf("%w: it has not exactly four fields", ErrMalformed)
	}
	c := AuthCookie{Login: fields[0], expiration: fields[1], token: fields[2], mac: fields[3]}
	if c.Login == "" || len(c.Login) > maxLoginBytes {
		return AuthCookie{}, fmt.Errorf("%w: the login is empty or too long", ErrMalformed)
	}
	if c.token == "" || len(c.token) > maxTokenBytes {
		return AuthCookie{}, fmt.Errorf("%w: the token is empty or too long", ErrMalformed)
	}
	if len(c.mac) != macHexDigits || strings.Trim(c.mac, "0123456789abcdef") != "" {
		return AuthCookie{}, fmt.Errorf("%w: the signature is not 64 lower-case hex digits", ErrMalformed)
	}
	n, err := strconv.ParseUint(c.expiration, 10, 63)
	if err != nil || len(c.expiration) > maxTimeDigits {
		return AuthCookie{}, fmt.Errorf("%w: the expiration is not a Unix time", ErrMalformed)
	}
	c.Expiration = int64(n)
	return c, nil
}

// PlusAsSpace returns the cookie with every "+" of the login read as a space.
// PHP before 8 wrote and read it so; genuine logins have no "+". If c was
// refused and changed is true, check the result once.
func (c AuthCookie) PlusAsSpace() (plain AuthCookie, changed bool) {
	plain = c
	plain.Login = strings.ReplaceAll(c.Login, "+", " ")
	return plain, plain.Login != c.Login
}

// User is what the database knows of a user, without the whole password hash:
//
//	SELECT ID, user_login, LEFT(user_pass,4), SUBSTRING(user_pass,9,4), RIGHT(user_pass,4)
//
// It prints as "redacted".
type User struct {
	redacted
	ID         int64  // 0: there is no such user
	Login      string // user_login as stored; the query itself ignores case
	PassPrefix string // LEFT(user_pass, 4)
	FragMid    string // SUBSTRING(user_pass, 9, 4)
	FragEnd    string // RIGHT(user_pass, 4)
	Sessions   []byte // meta_value of session_tokens, of several rows that with the lowest umeta_id; nil: no row
}

// FragmentRule says which four bytes of the password hash are signed into a
// cookie. WordPress 6.8 changed them.
type FragmentRule uint8

const (
	// FragmentEither accepts both. That is safe, as both come from the
	// current hash, and right for every site: db_version cannot tell 6.7
	// from 6.8. It is the zero value.
	FragmentEither FragmentRule = iota
	// FragmentMiddle is the rule of 4.0 to 6.7: bytes 8 to 11, always.
	FragmentMiddle
	// FragmentByHash is the rule since 6.8: bytes 8 to 11 of a phpass ($P$)
	// or plain bcrypt ($2y$) hash, the last four of any other.
	FragmentByHash
)

// fragments returns what may be signed into a cookie of the user, without
// repetition.
func (r FragmentRule) fragments(u User) []string {
	byHash := u.FragEnd
	if strings.HasPrefix(u.PassPrefix, "$P$") || strings.HasPrefix(u.PassPrefix, "$2y$") {
		byHash = u.FragMid
	}
	switch {
	case r == FragmentMiddle:
		return []string{u.FragMid}
	case r == FragmentByHash, byHash == u.FragMid:
		return []string{byHash}
	}
	return []string{byHash, u.FragMid}
}

// Verifier verifies login cookies of one site.
type Verifier struct {
	Salts    Salts
	Fragment FragmentRule
}

// Check says how and when a cookie is checked.
type Check struct {
	Scheme Scheme    // "" means SchemeLoggedIn
	Now    time.Time // compared in whole seconds, as PHP's time()
	// Grace allows the cookie one more hour, as WordPress does for POST
	// requests and for everything sent to admin-ajax.php.
	Grace bool
}

// Identity is a user whose login cookie has been verified. It holds the live
// token and prints as "redacted".
type Identity struct {
	redacted
	UserID int64
	Login  string
	// Expires is the earlier of the cookie's and the session's expiration:
	// after a change of password they differ. Within the grace hour it lies
	// in the past, and the answer is good for this one request only.
	Expires time.Time
	token   string
}

// Precheck does the part of [Verifier.Verify] that needs no user: it returns
// ErrExpired or ErrSecretMissing before the database is asked.
func (v Verifier) Precheck(c AuthCookie, check Check) error {
	_, err := v.precheck(c, check)
	return err
}

// precheck returns the secret of the scheme when c may still be valid.
func (v Verifier) precheck(c AuthCookie, check Check) (secret string, err error) {
	secret, err = v.Salts.secretOrError(check.scheme())
	if err != nil {
		return "", err
	}
	limit := c.Expiration
	if check.Grace {
		limit += postGrace
	}
	if limit < check.Now.Unix() {
		return "", fmt.Errorf("%w: the cookie is too old", ErrExpired)
	}
	return secret, nil
}

// Verify follows wp_validate_auth_cookie (pluggable.php). The user must be the
// one found for c.Login; a stored login that differs from the cookie's bytes
// counts as unknown, which settles every question of collation. Errors:
// ErrSecretMissing, ErrExpired, ErrUnknownUser, ErrSignature, ErrNoSession.
//
// To verify again while a connection stays open, keep c and call Verify with
// fresh rows: logout, change of password and removal of the user all show.
func (v Verifier) Verify(c AuthCookie, user User, check Check) (Identity, error) {
	secret, err := v.precheck(c, check)
	if err != nil {
		return Identity{}, err
	}
	if user.ID <= 0 || user.Login != c.Login {
		return Identity{}, ErrUnknownUser
	}
	signed := false
	for _, fragment := range v.Fragment.fragments(user) {
		if hmac.Equal([]byte(c.sign(secret, fragment)), []byte(c.mac)) {
			signed = true
		}
	}
	if !signed {
		return Identity{}, ErrSignature
	}
	sessions, err := ParseSessions(user.Sessions)
	if err != nil {
		return Identity{}, err
	}
	sessionEnd, err := sessions.Check(c.token, check.Now)
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		UserID:  user.ID,
		Login:   user.Login,
		Expires: time.Unix(min(c.Expiration, sessionEnd), 0),
		token:   c.token,
	}, nil
}

// sign returns the hmac field WordPress writes (wp_generate_auth_cookie).
func (c AuthCookie) sign(secret, fragment string) string {
	key := hmacHex(md5.New, secret, c.Login+"|"+fragment+"|"+c.expiration+"|"+c.token)
	return hmacHex(sha256.New, key, c.Login+"|"+c.expiration+"|"+c.token)
}

func (c Check) scheme() Scheme {
	if c.Scheme == "" {
		return SchemeLoggedIn
	}
	return c.Scheme
}
