package wpauth_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"holdline/internal/wpauth"
)

func testNames(t *testing.T, v *vectors) {
	var siteURL, hash, loggedIn string
	v.decode(t, "siteurl", &siteURL)
	v.decode(t, "COOKIEHASH", &hash)
	v.decode(t, "LOGGED_IN_COOKIE", &loggedIn)
	names := wpauth.ResolveCookieNames(nil, siteURL, false)
	same(t, v, "COOKIEHASH", names.Hash, hash)
	same(t, v, "LOGGED_IN_COOKIE", names.LoggedIn, loggedIn)
	v.ran["siteurl"], v.ran["COOKIEHASH"], v.ran["LOGGED_IN_COOKIE"] = 1, 1, 1

	type single struct {
		Case           string
		OptionsRow     string `json:"options_row_siteurl"`
		Constants      map[string]string
		COOKIEHASH     string
		LoggedIn       string `json:"LOGGED_IN_COOKIE"`
		COOKIEPATH     string
		SITECOOKIEPATH string
	}
	each(t, v, "cookiehash", func(t *testing.T, e single) {
		names := wpauth.ResolveCookieNames(e.Constants, e.OptionsRow, false)
		same(t, v, e.Case+": COOKIEHASH", names.Hash, e.COOKIEHASH)
		same(t, v, e.Case+": LOGGED_IN_COOKIE", names.LoggedIn, e.LoggedIn)
		site, home := e.OptionsRow, "http://chat.example.test"
		if c, ok := e.Constants["WP_SITEURL"]; ok {
			site = c
		}
		if c, ok := e.Constants["WP_HOME"]; ok {
			home = c
		}
		same(t, v, e.Case+": COOKIEPATH", wpauth.CookiePath(home), e.COOKIEPATH)
		same(t, v, e.Case+": SITECOOKIEPATH", wpauth.CookiePath(site), e.SITECOOKIEPATH)
	})

	type seen struct {
		COOKIEHASH string
		Auth       string `json:"AUTH_COOKIE"`
		SecureAuth string `json:"SECURE_AUTH_COOKIE"`
		LoggedIn   string `json:"LOGGED_IN_COOKIE"`
	}
	type multi struct {
		Row     string `json:"sitemeta_siteurl"`
		Main    seen   `json:"constants_seen_on_main_site"`
		Team    seen   `json:"constants_seen_on_/team/"`
		SiteURL seen   `json:"with_WP_SITEURL_constant_https://other.example"`
	}
	each(t, v, "cookiehash_multisite", func(t *testing.T, e multi) {
		got := wpauth.ResolveCookieNames(nil, e.Row, true)
		same(t, v, "main site", seen{got.Hash, got.Auth, got.SecureAuth, got.LoggedIn}, e.Main)
		same(t, v, "/team/", seen{got.Hash, got.Auth, got.SecureAuth, got.LoggedIn}, e.Team)
		got = wpauth.ResolveCookieNames(map[string]string{"WP_SITEURL": "https://other.example"}, e.Row, true)
		same(t, v, "with WP_SITEURL", seen{got.Hash, got.Auth, got.SecureAuth, got.LoggedIn}, e.SiteURL)
	})
}

func testSalts(t *testing.T, v *vectors) {
	var keys map[string]string
	v.decode(t, "keys", &keys)
	for _, scheme := range []string{"auth", "secure_auth", "logged_in", "nonce"} {
		name := strings.ToUpper(scheme)
		got, _ := v.salts.Secret(wpauth.Scheme(scheme))
		same(t, v, "secret of "+scheme, got, keys[name+"_KEY"]+keys[name+"_SALT"])
		v.ran["keys"] += 2
	}

	type entry struct {
		Case        string
		Constants   map[string]string
		SiteOptions map[string]string `json:"site_options"`
		Salts       map[string]string `json:"wp_salt"`
		MyPlugin    string            `json:"wp_salt_scheme_myplugin"`
	}
	each(t, v, "salts", func(t *testing.T, e entry) {
		if len(e.Salts) != 4 {
			t.Fatalf("%s: %d schemes", e.Case, len(e.Salts))
		}
		salts, missing := wpauth.ResolveSalts(e.Constants, e.SiteOptions)
		if len(missing) > 0 {
			t.Errorf("%s: missing %v", e.Case, missing)
		}
		for scheme, want := range e.Salts {
			got, _ := salts.Secret(wpauth.Scheme(scheme))
			same(t, v, e.Case+": "+scheme, got, want)
		}
		got, _ := salts.Secret("myplugin")
		same(t, v, e.Case+": myplugin", got, e.MyPlugin)
	})
}

func testCookieTransport(t *testing.T, v *vectors) {
	type header struct {
		Header string                     `json:"cookie_header"`
		Want   map[string]json.RawMessage `json:"php_cookie_array"`
	}
	each(t, v, "cookie_header_parsing_php82", func(t *testing.T, e header) {
		want := make(map[string]string)
		for name, raw := range e.Want {
			var s string
			if json.Unmarshal(raw, &s) == nil {
				want[name] = s
				continue
			}
			var array map[string]string
			if err := json.Unmarshal(raw, &array); err != nil {
				t.Fatal(err)
			}
			for index, s := range array {
				want[name+"["+index+"]"] = s
			}
		}
		got := make(map[string]bool)
		for name := range wpauth.Cookies([]string{e.Header}) {
			got[name] = true
		}
		same(t, v, "number of cookies", len(got), len(want))
		for name, value := range want {
			s, ok := wpauth.LookupCookie([]string{e.Header}, name)
			same(t, v, "cookie "+name, s, value)
			if !ok {
				t.Errorf("cookie %s is not found", name)
			}
		}
	})

	type setCookie struct {
		Value  string
		Header string `json:"set_cookie_header"`
	}
	each(t, v, "set_cookie_encoding", func(t *testing.T, e setCookie) {
		pair, _, _ := strings.Cut(e.Header, ";")
		got, _ := wpauth.LookupCookie([]string{pair}, "c")
		same(t, v, pair, got, e.Value)
	})
}

func testCapabilities(t *testing.T, v *vectors) {
	t.Run("capabilities", func(t *testing.T) {
		var section struct {
			UserRoles string `json:"wp_user_roles"`
			Cases     []struct {
				Name   string
				Meta   *string `json:"capabilities_meta"`
				Result struct {
					Roles        []string
					Can          map[string]bool
					IsSuperAdmin bool `json:"is_super_admin"`
				}
			}
		}
		v.decode(t, "capabilities", &section)
		roles, err := wpauth.ParseRoles([]byte(section.UserRoles))
		if err != nil {
			t.Fatal(err)
		}
		v.ran["capabilities"]++ // wp_user_roles
		ran := 0
		for _, c := range section.Cases {
			var meta []byte
			if c.Meta != nil {
				meta = []byte(*c.Meta)
			}
			caps, err := roles.Of(meta)
			if (err != nil) != (c.Name == "not serialized") {
				t.Errorf("%s: error %v", c.Name, err)
			}
			if got := caps.Roles(); !slices.Equal(got, c.Result.Roles) {
				t.Errorf("%s: roles %q, WordPress has %q", c.Name, got, c.Result.Roles)
			}
			v.values++
			for capability, want := range c.Result.Can {
				same(t, v, c.Name+": "+capability, caps.Can(capability), want)
			}
			same(t, v, c.Name+": super admin of a single site", caps.Can("delete_users"), c.Result.IsSuperAdmin)
			ran++
		}
		if ran != 11 {
			t.Errorf("ran %d cases, want 11", ran)
		}
		v.ran["capabilities"]++ // cases
	})
}

func testApplicationPasswords(t *testing.T, v *vectors) {
	t.Run("application_passwords", func(t *testing.T) {
		var section map[string]json.RawMessage
		v.decode(t, "application_passwords", &section)
		for key, raw := range section {
			v.ran["application_passwords"]++
			if key == "wp_fast_hash" {
				testFastHash(t, v, raw)
				continue
			}
			var e struct {
				Plaintext string
				Item      struct{ UUID, Name string }
				Row       string `json:"usermeta__application_passwords"`
			}
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			got, err := wpauth.VerifyAppPassword([]byte(e.Row), e.Plaintext[:4]+" "+e.Plaintext[4:])
			if err != nil {
				t.Errorf("WordPress %s: %v", key, err)
			}
			same(t, v, "password of WordPress "+key, got, wpauth.AppPassword{UUID: e.Item.UUID, Name: e.Item.Name})
		}
	})
}

// testFastHash compares wp_fast_hash itself, which unlike the check of an
// application password does not strip the message.
func testFastHash(t *testing.T, v *vectors, raw json.RawMessage) {
	var messages []struct{ Message, Hash string }
	if err := json.Unmarshal(raw, &messages); err != nil {
		t.Fatal(err)
	}
	if len(messages) != 2 {
		t.Errorf("%d messages, want 2", len(messages))
	}
	for _, m := range messages {
		same(t, v, "wp_fast_hash of "+m.Message, wpauth.FastHash(m.Message), m.Hash)
	}
}

// testJWT is about the JSON Web Tokens of a plugin, which this package does not
// read: it shows that the library this program uses for them does.
func testJWT(t *testing.T, v *vectors) {
	t.Run("jwt", func(t *testing.T) {
		var section struct {
			Plugin    string
			Constants map[string]string
			Now       int64
			Token     string
			Header    map[string]any
			Payload   map[string]any
		}
		v.decode(t, "jwt", &section)
		now := at(section.Now)
		token, err := jwt.Parse(section.Token,
			func(*jwt.Token) (any, error) { return []byte(section.Constants["JWT_AUTH_SECRET_KEY"]), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(func() time.Time { return now }))
		if err != nil {
			t.Fatalf("%s: %v", section.Plugin, err)
		}
		same(t, v, "header", reflect.DeepEqual(token.Header, section.Header), true)
		same(t, v, "payload", reflect.DeepEqual(map[string]any(token.Claims.(jwt.MapClaims)), section.Payload), true)
		v.ran["jwt"] = reflect.TypeOf(section).NumField() // all keys of the section
	})
}
