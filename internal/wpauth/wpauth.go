// Package wpauth decides who a browser is exactly as WordPress would, without
// asking PHP: it verifies login cookies, session tokens, nonces and application
// passwords, and works out roles and capabilities.
//
// The package is pure: rows and constants come in as arguments, nothing is
// read, written or remembered. All functions and methods are safe for
// concurrent use. Types that hold secrets or tokens print as "redacted".
//
// A request is checked in this order, the cheap steps first:
//
//	c, err := wpauth.FindAuthCookie(r.Header["Cookie"], names.LoggedIn)
//	err = verifier.Precheck(c, check)            // before any query
//	user := …                                    // one indexed query for c.Login
//	id, err := verifier.Verify(c, user, check)
//
// Facts about WordPress are cited by file and function of WordPress 6.9. What
// plugins change with filters (salt, session_token_manager, nonce_life,
// user_has_cap …) cannot be seen from outside.
package wpauth

import (
	"errors"
	"fmt"
	"log/slog"
)

// Reasons for not being logged in; test with errors.Is. [Reason] gives the
// short names for metrics. None of them carries a part of the cookie.
var (
	ErrNoCookie      = errors.New("no WordPress login cookie")
	ErrMalformed     = errors.New("login cookie is malformed")
	ErrExpired       = errors.New("login has expired")
	ErrUnknownUser   = errors.New("login cookie names no existing user")
	ErrSignature     = errors.New("login cookie has a wrong signature")
	ErrNoSession     = errors.New("login session does not exist")
	ErrSecretMissing = errors.New("WordPress keys and salts are not known yet")
	ErrPassword      = errors.New("application password is wrong")
)

// Reason names the sentinel error inside err in one stable word, for a metric
// label or the reason field of a 401: no_cookie, malformed, expired,
// unknown_user, signature, no_session, secret_missing, password, "ok" for nil
// and "error" for anything else, such as a failed query.
func Reason(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNoCookie):
		return "no_cookie"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	case errors.Is(err, ErrExpired):
		return "expired"
	case errors.Is(err, ErrUnknownUser):
		return "unknown_user"
	case errors.Is(err, ErrSignature):
		return "signature"
	case errors.Is(err, ErrNoSession):
		return "no_session"
	case errors.Is(err, ErrSecretMissing):
		return "secret_missing"
	case errors.Is(err, ErrPassword):
		return "password"
	}
	return "error"
}

// redacted keeps secrets out of logs and error texts: embedded in a struct it
// answers every way fmt and slog have of printing one.
type redacted struct{}

func (redacted) String() string               { return "redacted" }
func (redacted) GoString() string             { return "redacted" }
func (redacted) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("redacted")) }
func (redacted) LogValue() slog.Value         { return slog.StringValue("redacted") }
func (redacted) MarshalText() ([]byte, error) { return []byte("redacted"), nil }
