package wpauth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"holdline/internal/phpser"
)

// Sessions are the login sessions of one user: the expiration in Unix seconds
// by verifier, the hex SHA-256 of the token in the cookie. WordPress never
// stores the token itself.
type Sessions map[string]int64

// ParseSessions reads the usermeta row session_tokens
// (class-wp-user-meta-session-tokens.php). No row means no sessions. A row that
// is not a serialized array returns ErrNoSession, with the cause in the text:
// WordPress takes it for no sessions too, but it may also mean that the row was
// read over a connection with the wrong charset. Single entries that make no
// sense, and those without an expiration, are left out.
func ParseSessions(row []byte) (Sessions, error) {
	if len(row) == 0 {
		return nil, nil
	}
	v, err := phpser.Parse(row)
	if err != nil {
		return nil, fmt.Errorf("%w: the row session_tokens cannot be read: %w", ErrNoSession, err)
	}
	if v.Kind() != phpser.Array {
		return nil, fmt.Errorf("%w: the row session_tokens holds a PHP %v, not an array", ErrNoSession, v.Kind())
	}
	sessions := make(Sessions, v.Len())
	for verifier, session := range v.All() {
		if end, ok := sessionEnd(session); ok {
			sessions[verifier.String()] = end
		}
	}
	return sessions, nil
}

// sessionEnd takes an array with "expiration" or, from before the 4.0 release,
// the expiration itself.
func sessionEnd(session phpser.Value) (int64, bool) {
	switch session.Kind() {
	case phpser.Int:
		return session.Int()
	case phpser.Array:
		expiration, ok := session.Get("expiration")
		if !ok {
			return 0, false
		}
		return expiration.Number()
	default:
		return 0, false
	}
}

// Check returns the end, in Unix seconds, of the session the token belongs to.
// It returns ErrNoSession when there is none (logged out, here or everywhere)
// and ErrExpired when it is over; there is no grace.
func (s Sessions) Check(token string, now time.Time) (end int64, err error) {
	sum := sha256.Sum256([]byte(token))
	end, ok := s[hex.EncodeToString(sum[:])]
	if !ok {
		return 0, ErrNoSession
	}
	if end < now.Unix() {
		return 0, fmt.Errorf("%w: the session is over", ErrExpired)
	}
	return end, nil
}
