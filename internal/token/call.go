package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of a signed call between the companion plugin and the gateway.
const (
	TimestampHeader = "X-Holdline-Timestamp" // Unix seconds
	SignatureHeader = "X-Holdline-Signature" // "sha256=" and HMAC-SHA256(secret, timestamp "." body) in hex
)

// MaxSkew is how far the caller's clock may be off.
const MaxSkew = 5 * time.Minute

// Reasons for refusing a call.
var (
	ErrCallSignature = errors.New("the call is not signed with this server's secret")
	ErrCallTime      = errors.New("the call's timestamp is more than five minutes off: set both clocks by NTP")
)

// SignHeader sets the headers of a call with this body.
func (k Keys) SignHeader(h http.Header, body []byte, now time.Time) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(TimestampHeader, timestamp)
	h.Set(SignatureHeader, k.SignCall(timestamp, body))
}

// SignCall returns the value of SignatureHeader.
func (k Keys) SignCall(timestamp string, body []byte) string {
	h := hmac.New(sha256.New, k.Secret)
	h.Write([]byte(timestamp + "."))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// CheckCall accepts a call that was signed with the secret within MaxSkew. It
// does not remember calls: within that time one can be made again, so what it
// asks for must be idempotent, as ringing a bell is.
func (k Keys) CheckCall(timestamp, signature string, body []byte, now time.Time) error {
	if len(k.Secret) == 0 {
		return ErrNoSecret
	}
	if !hmac.Equal([]byte(strings.ToLower(signature)), []byte(k.SignCall(timestamp, body))) {
		return ErrCallSignature
	}
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return ErrCallSignature
	}
	if off := now.Sub(time.Unix(at, 0)); off > MaxSkew || off < -MaxSkew {
		return ErrCallTime
	}
	return nil
}
