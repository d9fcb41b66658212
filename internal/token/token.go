// Package token makes and checks what a browser may carry instead of a
// WordPress login: JWTs that name channels, and the signed cookie that binds a
// chat to the browser that began it.
package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"holdline/internal/chat"
)

// Reasons for refusing a token. They are safe to show.
var (
	ErrExpired  = errors.New("the token has expired")
	ErrInvalid  = errors.New("the token is not valid here")
	ErrNoSecret = errors.New("this server has no secret to check tokens with: set auth.secret_file")
)

// Bounds of a token. It comes from a browser, in a header or a query.
const (
	maxLength   = 8 << 10
	maxChannels = 256
	leeway      = 5 * time.Second // clocks of two machines
)

// Claims are what a token says (RFC 7519).
type Claims struct {
	Subject  string
	Channels []string  // exact names, or "source/*"
	Expires  time.Time // required
}

// claims is the wire form.
type claims struct {
	Channels []string `json:"channels"`
	jwt.RegisteredClaims
}

// Validate implements jwt.ClaimsValidator: what the parser does not check.
func (c *claims) Validate() error {
	if len(c.Channels) == 0 || len(c.Channels) > maxChannels {
		return errors.New("channels must name between 1 and 256 channels")
	}
	for _, name := range c.Channels {
		if err := checkGrant(name); err != nil {
			return err
		}
	}
	return nil
}

// checkGrant accepts a channel's name or "source/*".
func checkGrant(name string) error {
	if n := len(name); n > 2 && name[n-2:] == "/*" {
		name = name[:n-1] + "x"
	}
	_, _, err := chat.SplitChannel(name)
	return err
}

// Keys check tokens. The zero value refuses all. It may be used concurrently.
type Keys struct {
	// Secret is for HS256; at least 32 bytes (RFC 7518 section 3.2).
	Secret []byte
	// Public is for EdDSA, where another program signs; nil for none.
	Public ed25519.PublicKey
}

// Mint signs a token with HS256.
func (k Keys) Mint(c Claims) (string, error) {
	if len(k.Secret) == 0 {
		return "", ErrNoSecret
	}
	body := &claims{Channels: c.Channels, RegisteredClaims: jwt.RegisteredClaims{
		Subject: c.Subject, ExpiresAt: jwt.NewNumericDate(c.Expires),
	}}
	if err := body.Validate(); err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, body).SignedString(k.Secret)
	if err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	return text, nil
}

// Verify reads a token that was signed with one of the keys. Its Expires is when
// it ceases to be accepted: the leeway is in it, so that who was let in is not
// thrown out a moment later, to be let in again. The algorithm is the key's,
// never the token's choice, so "none" and a public key used as an HMAC secret get
// nowhere. Errors are ErrExpired, ErrInvalid or ErrNoSecret.
func (k Keys) Verify(text string, now time.Time) (Claims, error) {
	var methods []string
	if len(k.Secret) > 0 {
		methods = append(methods, jwt.SigningMethodHS256.Alg())
	}
	if len(k.Public) > 0 {
		methods = append(methods, jwt.SigningMethodEdDSA.Alg())
	}
	if len(methods) == 0 {
		return Claims{}, ErrNoSecret
	}
	if len(text) > maxLength {
		return Claims{}, ErrInvalid
	}
	parser := jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway),
		jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding())
	var body claims
	_, err := parser.ParseWithClaims(text, &body, func(t *jwt.Token) (any, error) {
		if t.Method == jwt.SigningMethodHS256 {
			return k.Secret, nil
		}
		return k.Public, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, ErrInvalid
	}
	return Claims{Subject: body.Subject, Channels: body.Channels, Expires: body.ExpiresAt.Add(leeway)}, nil
}
