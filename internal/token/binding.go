package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"holdline/internal/chat"
)

// BindingCookie is the name of the cookie that binds chats to a browser. It is
// HttpOnly and SameSite=Lax; the plugin itself knows a visitor by a small
// integer alone, which anybody can guess.
const BindingCookie = "holdline_visitor"

// ErrBinding is a cookie that this server did not sign, or whose time is over.
var ErrBinding = errors.New("the visitor cookie is not valid")

// MaxBound is how many chats one browser may hold at a time.
const MaxBound = 16

// Binding says that a browser began these chats.
type Binding struct {
	Channels []string
	Expires  time.Time
}

// Sign writes the cookie's value: version, expiry, channels and a signature,
// "v1.1766380000.wplc/42+wplc/43.SIGNATURE".
func (k Keys) Sign(b Binding) (string, error) {
	if len(k.Secret) == 0 {
		return "", ErrNoSecret
	}
	if len(b.Channels) == 0 || len(b.Channels) > MaxBound {
		return "", ErrBinding
	}
	for _, name := range b.Channels {
		if _, _, err := chat.SplitChannel(name); err != nil {
			return "", ErrBinding
		}
	}
	text := "v1." + strconv.FormatInt(b.Expires.Unix(), 10) + "." + strings.Join(b.Channels, "+")
	return text + "." + k.signature(text), nil
}

// CheckBinding reads a cookie's value that Sign wrote.
func (k Keys) CheckBinding(value string, now time.Time) (Binding, error) {
	if len(k.Secret) == 0 {
		return Binding{}, ErrNoSecret
	}
	dot := strings.LastIndexByte(value, '.')
	if dot < 0 || len(value) > 4096 || !hmac.Equal([]byte(value[dot+1:]), []byte(k.signature(value[:dot]))) {
		return Binding{}, ErrBinding
	}
	parts := strings.SplitN(value[:dot], ".", 3)
	if len(parts) != 3 || parts[0] != "v1" {
		return Binding{}, ErrBinding
	}
	expires, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || now.Unix() >= expires {
		return Binding{}, ErrBinding
	}
	return Binding{Channels: strings.Split(parts[2], "+"), Expires: time.Unix(expires, 0)}, nil
}

// signature is an HMAC-SHA256 under a key of its own purpose, so that no token,
// wake call or cookie can stand for another.
func (k Keys) signature(text string) string {
	return base64.RawURLEncoding.EncodeToString(mac(k.Secret, "holdline visitor binding", text))
}

func mac(secret []byte, purpose, text string) []byte {
	key := hmac.New(sha256.New, secret)
	key.Write([]byte(purpose))
	h := hmac.New(sha256.New, key.Sum(nil))
	h.Write([]byte(text))
	return h.Sum(nil)
}
