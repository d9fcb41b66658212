package wpauth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"holdline/internal/wpauth"
)

// A genuine cookie of the vectors, valid until goodUntil.
const (
	goodCookie = "Agent Smith|1768438923|kT3vB8qZ1xW5yN7mR2sL9dF4gH6jP0cA8eU5iO3tY1q|7f422008f550c9e52b712c7ff3a80bd18ce3e7e905928dc0098a45bbaa0e7ca1"
	goodToken  = "kT3vB8qZ1xW5yN7mR2sL9dF4gH6jP0cA8eU5iO3tY1q"
	goodUntil  = 1768438923
)

func goodUser(sessionEnd int64) wpauth.User {
	row := fmt.Appendf(nil, `a:1:{s:64:"%s";a:1:{s:10:"expiration";i:%d;}}`, sha256Hex(goodToken), sessionEnd)
	return userOf(2, "Agent Smith", agentSmithPass, row)
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestParseAuthCookieMalformed(t *testing.T) {
	const mac = "7f422008f550c9e52b712c7ff3a80bd18ce3e7e905928dc0098a45bbaa0e7ca1"
	tests := []struct{ name, value string }{
		{"empty", ""},
		{"three fields", "admin|1768438923|" + mac},
		{"five fields", goodCookie + "|"},
		{"no login", "|1768438923|token|" + mac},
		{"long login", strings.Repeat("a", 241) + "|1768438923|token|" + mac},
		{"no token", "admin|1768438923||" + mac},
		{"long token", "admin|1768438923|" + strings.Repeat("t", 257) + "|" + mac},
		{"no expiration", "admin||token|" + mac},
		{"negative expiration", "admin|-1768438923|token|" + mac},
		{"signed expiration", "admin|+1768438923|token|" + mac},
		{"expiration beyond any date", "admin|999999999999|token|" + mac},
		{"expiration with letters", "admin|1768438923x|token|" + mac},
		{"short signature", "admin|1768438923|token|" + mac[1:]},
		{"upper-case signature", "admin|1768438923|token|" + strings.ToUpper(mac)},
		{"a million fields", strings.Repeat("|", 1_000_000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := wpauth.ParseAuthCookie(tt.value); !errors.Is(err, wpauth.ErrMalformed) {
				t.Errorf("error = %v, want ErrMalformed", err)
			}
		})
	}
}

func TestVerifyReasons(t *testing.T) {
	salts := loadVectors(t).salts
	good := wpauth.Check{Now: at(goodUntil)}
	withSessions := func(row string) wpauth.User {
		u := goodUser(goodUntil)
		u.Sessions = []byte(row)
		return u
	}
	nobody := goodUser(goodUntil)
	nobody.ID = 0
	tests := []struct {
		name     string
		verifier wpauth.Verifier
		user     wpauth.User
		check    wpauth.Check
		want     error
	}{
		{"good", wpauth.Verifier{Salts: salts}, goodUser(goodUntil), good, nil},
		{"no secrets", wpauth.Verifier{}, goodUser(goodUntil), good, wpauth.ErrSecretMissing},
		{"expired", wpauth.Verifier{Salts: salts}, goodUser(goodUntil), wpauth.Check{Now: at(goodUntil + 1)}, wpauth.ErrExpired},
		{"session shorter than the cookie", wpauth.Verifier{Salts: salts}, goodUser(goodUntil - 1), good, wpauth.ErrExpired},
		{"no such user", wpauth.Verifier{Salts: salts}, wpauth.User{}, good, wpauth.ErrUnknownUser},
		{"user without id", wpauth.Verifier{Salts: salts}, nobody, good, wpauth.ErrUnknownUser},
		{"other scheme", wpauth.Verifier{Salts: salts}, goodUser(goodUntil), wpauth.Check{Scheme: wpauth.SchemeAuth, Now: at(0)}, wpauth.ErrSignature},
		{"rule before 6.8", wpauth.Verifier{Salts: salts, Fragment: wpauth.FragmentMiddle}, goodUser(goodUntil), good, wpauth.ErrSignature},
		{"no session row", wpauth.Verifier{Salts: salts}, withSessions(""), good, wpauth.ErrNoSession},
		{"session row is a string", wpauth.Verifier{Salts: salts}, withSessions(`s:1:"x";`), good, wpauth.ErrNoSession},
		{"session row is cut off", wpauth.Verifier{Salts: salts}, withSessions(`a:1:{s:64:"`), good, wpauth.ErrNoSession},
		{"session with an infinite end", wpauth.Verifier{Salts: salts}, withSessions(`a:1:{s:64:"` + sha256Hex(goodToken) + `";a:1:{s:10:"expiration";d:INF;}}`), good, wpauth.ErrNoSession},
		{"session end is no number", wpauth.Verifier{Salts: salts}, withSessions(`a:1:{s:64:"` + sha256Hex(goodToken) + `";a:1:{s:10:"expiration";s:5:"never";}}`), good, wpauth.ErrNoSession},
		{"session is true", wpauth.Verifier{Salts: salts}, withSessions(`a:1:{s:64:"` + sha256Hex(goodToken) + `";b:1;}`), good, wpauth.ErrNoSession},
		{"token stored in the clear", wpauth.Verifier{Salts: salts}, withSessions(`a:1:{s:43:"` + goodToken + `";i:1768438923;}`), good, wpauth.ErrNoSession},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := verify(goodCookie, tt.verifier, tt.user, tt.check)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if err != nil && id != (wpauth.Identity{}) {
				t.Error("an identity came with the error")
			}
			if err != nil && strings.Contains(err.Error(), goodToken) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestIdentityExpiresAtTheEarlier(t *testing.T) {
	verifier := wpauth.Verifier{Salts: loadVectors(t).salts}
	tests := []struct {
		name            string
		sessionEnd, now int64
		grace           bool
		want            int64
	}{
		{"session ends first", goodUntil - 100, goodUntil - 200, false, goodUntil - 100},
		{"cookie ends first", goodUntil + 100, goodUntil - 200, false, goodUntil},
		{"in the grace hour", goodUntil + 7200, goodUntil + 3600, true, goodUntil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := verify(goodCookie, verifier, goodUser(tt.sessionEnd), wpauth.Check{Now: at(tt.now), Grace: tt.grace})
			if err != nil {
				t.Fatal(err)
			}
			if id.Expires.Unix() != tt.want || id.UserID != 2 || id.Login != "Agent Smith" {
				t.Errorf("identity %d %s until %d, want 2 Agent Smith until %d", id.UserID, id.Login, id.Expires.Unix(), tt.want)
			}
		})
	}
}

func TestPlusAsSpace(t *testing.T) {
	c, err := wpauth.ParseAuthCookie(strings.Replace(goodCookie, " ", "+", 1))
	if err != nil {
		t.Fatal(err)
	}
	verifier := wpauth.Verifier{Salts: loadVectors(t).salts}
	check := wpauth.Check{Now: at(goodUntil)}
	if _, err := verifier.Verify(c, goodUser(goodUntil), check); !errors.Is(err, wpauth.ErrUnknownUser) {
		t.Errorf("with the plus sign: %v", err)
	}
	plain, changed := c.PlusAsSpace()
	if _, err := verifier.Verify(plain, goodUser(goodUntil), check); err != nil || !changed {
		t.Errorf("with the space: %v, changed %v", err, changed)
	}
	if _, changed := plain.PlusAsSpace(); changed {
		t.Error("a login without a plus sign was changed")
	}
}

func TestReason(t *testing.T) {
	seen := map[string]bool{}
	for _, err := range []error{
		nil, wpauth.ErrNoCookie, wpauth.ErrMalformed, wpauth.ErrExpired, wpauth.ErrUnknownUser, wpauth.ErrSignature,
		wpauth.ErrNoSession, wpauth.ErrSecretMissing, wpauth.ErrPassword, errors.New("connection refused"),
	} {
		wrapped := err
		if err != nil {
			wrapped = fmt.Errorf("check login: %w", err)
		}
		reason := wpauth.Reason(wrapped)
		if seen[reason] || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%v has the reason %q, repeated or not a plain word", err, reason)
		}
		seen[reason] = true
	}
}

// Nothing that holds a secret or a token may show it, however it is printed.
func TestSecretsDoNotPrint(t *testing.T) {
	v := loadVectors(t)
	c, err := wpauth.ParseAuthCookie(goodCookie)
	if err != nil {
		t.Fatal(err)
	}
	id, err := wpauth.Verifier{Salts: v.salts}.Verify(c, goodUser(goodUntil), wpauth.Check{Now: at(goodUntil)})
	if err != nil {
		t.Fatal(err)
	}
	nonces, err := wpauth.NewNonces(v.salts, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{v.salts, wpauth.Verifier{Salts: v.salts}, c, &c, goodUser(goodUntil), id, id.Holder(), nonces} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{fmt.Sprint(value), fmt.Sprintf("%+v %#v %s %q %x", value, value, value, value, value), log.String(), string(asJSON)} {
			for _, secret := range []string{goodToken, "test-vector", "7f422008", "DM2n", sha256Hex(goodToken), "6b5433"} {
				if strings.Contains(text, secret) {
					t.Errorf("%T prints %q in %s", value, secret, text)
				}
			}
		}
	}
}

func TestNonceEdges(t *testing.T) {
	salts := loadVectors(t).salts
	if _, err := wpauth.NewNonces(wpauth.Salts{}, 0); !errors.Is(err, wpauth.ErrSecretMissing) {
		t.Errorf("without salts: %v", err)
	}
	for _, life := range []time.Duration{-time.Hour, time.Millisecond} {
		if _, err := wpauth.NewNonces(salts, life); err == nil {
			t.Errorf("a life of %v is accepted", life)
		}
	}
	holder := wpauth.Holder{UID: "2", Token: goodToken}
	nonces, err := wpauth.NewNonces(salts, 3*time.Second) // ticks every 1.5 s
	if err != nil {
		t.Fatal(err)
	}
	made := nonces.Create("chat_send", holder, at(300))
	for second, want := range map[int64]wpauth.NonceAge{299: wpauth.NonceFresh, 300: wpauth.NonceFresh, 301: wpauth.NonceOld, 302: wpauth.NonceInvalid} {
		if got := nonces.Verify(made, "chat_send", holder, at(second)); got != want {
			t.Errorf("at %d the nonce made at 300 has age %d, want %d", second, got, want)
		}
	}
	tests := []struct {
		name, nonce, action string
		holder              wpauth.Holder
		from                wpauth.Nonces
	}{
		{"empty", "", "chat_send", holder, nonces},
		{"other letter case", strings.ToUpper(made), "chat_send", holder, nonces},
		{"other action", made, "chat_read", holder, nonces},
		{"other user", made, "chat_send", wpauth.Holder{UID: "3", Token: goodToken}, nonces},
		{"other session", made, "chat_send", wpauth.Holder{UID: "2"}, nonces},
		{"one digit more", made + "0", "chat_send", holder, nonces},
		{"zero Nonces", wpauth.Nonces{}.Create("chat_send", holder, at(300)), "chat_send", holder, wpauth.Nonces{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.from.Verify(tt.nonce, tt.action, tt.holder, at(300)); got != wpauth.NonceInvalid {
				t.Errorf("age %d, want invalid", got)
			}
		})
	}
	for cookie, want := range map[string]string{"": "", "a|b|c": "", "a|b|c|d": "c", "a|b|c|d|e": "", "a|b|0|d": "", "|||": ""} {
		if got := wpauth.VisitorHolder(cookie); got.Token != want || got.UID != "0" {
			t.Errorf("VisitorHolder(%q) = uid %s, token %q, want token %q", cookie, got.UID, got.Token, want)
		}
	}
}

func FuzzAuthCookie(f *testing.F) {
	salts := loadVectors(f).salts
	verifier := wpauth.Verifier{Salts: salts}
	f.Add(goodCookie)
	f.Add(goodCookie + "|x")
	f.Add("Agent+Smith" + goodCookie[len("Agent Smith"):])
	f.Add("admin|01768438923|t|" + strings.Repeat("0", 64))
	f.Add("|||")
	f.Add("admin|18446744073709551616|t|x")
	f.Fuzz(func(t *testing.T, value string) {
		wpauth.VisitorHolder(value)
		c, err := wpauth.ParseAuthCookie(value)
		if err != nil {
			if !errors.Is(err, wpauth.ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if c.Login == "" || c.Expiration < 0 || strings.Count(value, "|") != 3 {
			t.Fatalf("accepted %q", value)
		}
		user := goodUser(goodUntil)
		if _, err := verifier.Verify(c, user, wpauth.Check{Now: at(goodUntil)}); err == nil && value != goodCookie {
			t.Fatalf("forged: %q", value)
		}
		user.Login = c.Login
		_, _ = verifier.Verify(c, user, wpauth.Check{Grace: true})
	})
}

func FuzzSessions(f *testing.F) {
	f.Add([]byte(goodUser(goodUntil).Sessions))
	f.Add([]byte(`a:1:{s:64:"x";O:8:"stdClass":0:{}}`))
	f.Add([]byte(`a:2:{i:0;i:1;i:1;a:1:{s:10:"expiration";d:1E+300;}}`))
	f.Fuzz(func(t *testing.T, row []byte) {
		sessions, err := wpauth.ParseSessions(row)
		if err != nil {
			if !errors.Is(err, wpauth.ErrNoSession) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if end, err := sessions.Check(goodToken, at(goodUntil)); err == nil && end < goodUntil {
			t.Fatalf("session over since %d", end)
		}
	})
}
