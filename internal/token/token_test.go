package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

var now = time.Unix(1_780_000_000, 0)

func keys() Keys { return Keys{Secret: []byte(strings.Repeat("k", 32))} }

func signed(t *testing.T, method jwt.SigningMethod, key any, body jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, body).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokenRoundTrip(t *testing.T) {
	want := Claims{Subject: "ann", Channels: []string{"wplc/42", "bm/*"}, Expires: now.Add(time.Hour)}
	text, err := keys().Mint(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keys().Verify(text, now)
	if err != nil {
		t.Fatal(err)
	}
	want.Expires = want.Expires.Add(leeway) // until when it is accepted
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestVerifyEdDSA(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := jwt.MapClaims{"channels": []string{"wplc/1"}, "exp": now.Add(time.Hour).Unix()}
	text := signed(t, jwt.SigningMethodEdDSA, private, body)
	if _, err := (Keys{Public: public}).Verify(text, now); err != nil {
		t.Fatal(err)
	}
	if _, err := keys().Verify(text, now); !errors.Is(err, ErrInvalid) {
		t.Fatalf("a server without that public key said %v", err)
	}
	// The public key is no secret: who signs with it by HMAC must get nowhere.
	forged := signed(t, jwt.SigningMethodHS256, []byte(public), body)
	if _, err := (Keys{Public: public}).Verify(forged, now); !errors.Is(err, ErrInvalid) {
		t.Fatalf("algorithm confusion: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	secret := keys().Secret
	good := jwt.MapClaims{"sub": "ann", "channels": []string{"wplc/42"}, "exp": now.Add(time.Hour).Unix()}
	with := func(key string, value any) jwt.MapClaims {
		m := jwt.MapClaims{}
		for k, v := range good {
			m[k] = v
		}
		if m[key] = value; value == nil {
			delete(m, key)
		}
		return m
	}
	many := strings.Split(strings.Repeat("wplc/1 ", maxChannels+1), " ")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"channels":["wplc/42"],"exp":9999999999}`)) + "."
	hs := jwt.SigningMethodHS256
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"alg none", none, ErrInvalid},
		{"alg HS512 with the right secret", signed(t, jwt.SigningMethodHS512, secret, good), ErrInvalid},
		{"another secret", signed(t, hs, []byte("other"), good), ErrInvalid},
		{"expired", signed(t, hs, secret, with("exp", now.Add(-time.Minute).Unix())), ErrExpired},
		{"no expiry", signed(t, hs, secret, with("exp", nil)), ErrInvalid},
		{"not yet valid", signed(t, hs, secret, with("nbf", now.Add(time.Hour).Unix())), ErrInvalid},
		{"no channels", signed(t, hs, secret, with("channels", nil)), ErrInvalid},
		{"channels not a list", signed(t, hs, secret, with("channels", "wplc/42")), ErrInvalid},
		{"a channel with a line break", signed(t, hs, secret, with("channels", []string{"wplc/4\n2"})), ErrInvalid},
		{"everything at once", signed(t, hs, secret, with("channels", []string{"*"})), ErrInvalid},
		{"too many channels", signed(t, hs, secret, with("channels", many)), ErrInvalid},
		{"empty", "", ErrInvalid},
		{"garbage", "a.b.c", ErrInvalid},
		{"too long", strings.Repeat("a", maxLength+1), ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := keys().Verify(tt.text, now); !errors.Is(err, tt.want) {
				t.Fatalf("Verify = %+v, %v; want %v", c, err, tt.want)
			}
		})
	}
	if _, err := (Keys{}).Verify("x", now); !errors.Is(err, ErrNoSecret) {
		t.Fatal("a server without a secret must refuse every token")
	}
}

func TestBinding(t *testing.T) {
	want := Binding{Channels: []string{"wplc/42", "wplc/43"}, Expires: now.Add(time.Hour)}
	value, err := keys().Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keys().CheckBinding(value, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	jwtText, err := keys().Mint(Claims{Channels: []string{"wplc/42"}, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	other := Keys{Secret: []byte(strings.Repeat("o", 32))}
	foreign, err := other.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, forged := range map[string]string{
		"another chat":       strings.Replace(value, "wplc/42", "wplc/41", 1),
		"a later expiry":     strings.Replace(value, "178", "179", 1),
		"no signature":       value[:strings.LastIndexByte(value, '.')],
		"empty signature":    value[:strings.LastIndexByte(value, '.')+1],
		"another secret":     foreign,
		"a token":            jwtText,
		"empty":              "",
		"one dot":            ".",
		"too long":           strings.Repeat("x", 5000),
		"another version":    "v2" + value[2:],
		"a cut signature":    value[:len(value)-1],
		"case of signature":  strings.ToUpper(value),
		"trailing line feed": value + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := keys().CheckBinding(forged, now); err == nil {
				t.Fatalf("accepted: %+v", b)
			}
		})
	}
	if _, err := keys().CheckBinding(value, want.Expires); !errors.Is(err, ErrBinding) {
		t.Fatal("accepted after its time")
	}
}

func TestSignRefusesChannelsThatWouldNotParse(t *testing.T) {
	for _, channels := range [][]string{nil, {"wplc/4.2+wplc/1"}, {"x"}, {"wplc/4\n2"}} {
		if v, err := keys().Sign(Binding{Channels: channels, Expires: now.Add(time.Hour)}); err == nil {
			t.Errorf("signed %q as %q", channels, v)
		}
	}
}

func TestCall(t *testing.T) {
	stamp, body := "1780000000", []byte(`{}`)
	good := keys().SignCall(stamp, body)
	for _, tt := range []struct {
		name, stamp, signature, body string
		at                           time.Time
		want                         error
	}{
		{"right", stamp, good, "{}", now, nil},
		{"right, upper case", stamp, strings.ToUpper(good), "{}", now, nil},
		{"five minutes late", stamp, good, "{}", now.Add(MaxSkew), nil},
		{"too late", stamp, good, "{}", now.Add(MaxSkew + time.Second), ErrCallTime},
		{"from the future", stamp, good, "{}", now.Add(-MaxSkew - time.Second), ErrCallTime},
		{"another body", stamp, good, "{ }", now, ErrCallSignature},
		{"another time", "1780000001", good, "{}", now, ErrCallSignature},
		{"no signature", stamp, "", "{}", now, ErrCallSignature},
		{"no number", "soon", keys().SignCall("soon", body), "{}", now, ErrCallSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := keys().CheckCall(tt.stamp, tt.signature, []byte(tt.body), tt.at); !errors.Is(err, tt.want) {
				t.Fatalf("CheckCall: %v, want %v", err, tt.want)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	good, err := keys().Mint(Claims{Channels: []string{"wplc/42"}, Expires: now.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJjaGFubmVscyI6WyJ3cGxjLzEiXX0.")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := keys().Verify(text, now)
		if err == nil && text != good {
			t.Fatalf("accepted a token that nobody signed: %+v", c)
		}
	})
}

func FuzzCheckBinding(f *testing.F) {
	good, err := keys().Sign(Binding{Channels: []string{"wplc/42"}, Expires: now.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("v1.0.x.y")
	f.Fuzz(func(t *testing.T, value string) {
		if b, err := keys().CheckBinding(value, now); err == nil && value != good {
			t.Fatalf("accepted a binding that nobody signed: %+v", b)
		}
	})
}
