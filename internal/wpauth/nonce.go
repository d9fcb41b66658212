package wpauth

import (
	"crypto/hmac"
	"crypto/md5"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DefaultNonceLife is WordPress's unless a plugin filters nonce_life.
const DefaultNonceLife = 24 * time.Hour

// Nonces makes and verifies WordPress nonces (wp_create_nonce and
// wp_verify_nonce, pluggable.php). Make one with [NewNonces].
type Nonces struct {
	redacted
	secret string
	life   int64 // seconds
}

// NewNonces returns the nonces of a site. life is WordPress's nonce_life, 0 for
// the default; parts of a second do not count. Errors: ErrSecretMissing, or a
// life under one second.
func NewNonces(salts Salts, life time.Duration) (Nonces, error) {
	if life == 0 {
		life = DefaultNonceLife
	}
	if life < time.Second {
		return Nonces{}, fmt.Errorf("nonce life %v is shorter than a second", life)
	}
	secret, err := salts.secretOrError(SchemeNonce)
	if err != nil {
		return Nonces{}, err
	}
	return Nonces{secret: secret, life: int64(life / time.Second)}, nil
}

// Holder is whom a nonce is bound to. It holds a token and prints as "redacted".
type Holder struct {
	redacted
	UID   string // user id in decimal, "0" for visitors, or what a plugin puts there instead
	Token string // token field of the login cookie, "" without one
}

// Holder returns the holder of a logged-in user's nonces. They die with the
// session.
func (id Identity) Holder() Holder {
	return Holder{UID: strconv.FormatInt(id.UserID, 10), Token: id.token}
}

// VisitorHolder returns the holder of a visitor's nonces. cookie is the value
// of the browser's login cookie, "" without one: WordPress takes the token of
// any cookie with four fields, even of one it has just refused
// (wp_get_session_token, user.php). Visitors without cookie share one holder,
// so their nonces prove only that a page of the site was read within a day.
func VisitorHolder(cookie string) Holder {
	h := Holder{UID: "0"}
	if strings.Count(cookie, "|") == 3 {
		h.Token = truthy(strings.Split(cookie, "|")[2])
	}
	return h
}

// NonceAge is the answer of [Nonces.Verify], with the numbers of
// wp_verify_nonce.
type NonceAge uint8

const (
	NonceInvalid NonceAge = 0 // wrong, or older than its life
	NonceFresh   NonceAge = 1 // made in this half of the nonce life
	NonceOld     NonceAge = 2 // made in the half before: hand out a new one
)

// Create returns the ten-digit nonce for an action. Never do so for a request
// whose cookie and origin have not been checked. WordPress's default action is
// the number -1, given here as "-1".
func (n Nonces) Create(action string, h Holder, now time.Time) string {
	return n.at(n.tick(now), action, h)
}

// Verify tells whether the nonce is one of the holder's for the action.
func (n Nonces) Verify(nonce, action string, h Holder, now time.Time) NonceAge {
	tick := n.tick(now)
	switch {
	case n.secret == "" || nonce == "":
		return NonceInvalid
	case hmac.Equal([]byte(nonce), []byte(n.at(tick, action, h))):
		return NonceFresh
	case hmac.Equal([]byte(nonce), []byte(n.at(tick-1, action, h))):
		return NonceOld
	}
	return NonceInvalid
}

// tick is ceil(now / (life/2)) in whole numbers: an odd life has half seconds.
func (n Nonces) tick(now time.Time) int64 {
	life := max(n.life, 1)
	return (2*now.Unix() + life - 1) / life
}

func (n Nonces) at(tick int64, action string, h Holder) string {
	sum := hmacHex(md5.New, n.secret, strconv.FormatInt(tick, 10)+"|"+action+"|"+h.UID+"|"+h.Token)
	return sum[len(sum)-12 : len(sum)-2] // substr($hash, -12, 10)
}
