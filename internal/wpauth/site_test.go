package wpauth_test

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdline/internal/wpauth"
)

func TestResolveSaltsMissingRows(t *testing.T) {
	tests := []struct {
		name      string
		constants map[string]string
		options   map[string]string
		missing   string
		usable    string // schemes with a secret
	}{
		{
			"nothing at all", nil, nil,
			"auth_key auth_salt secure_auth_key secure_auth_salt logged_in_key logged_in_salt nonce_key nonce_salt", "",
		},
		{
			"one half of a scheme",
			map[string]string{"LOGGED_IN_KEY": "k"},
			map[string]string{"nonce_key": "a", "nonce_salt": "b"},
			"auth_key auth_salt secure_auth_key secure_auth_salt logged_in_salt", "nonce",
		},
		{
			"rows WordPress takes for false",
			map[string]string{"AUTH_KEY": "1", "AUTH_SALT": "2", "SECURE_AUTH_KEY": "3", "SECURE_AUTH_SALT": "4", "NONCE_KEY": "5", "NONCE_SALT": "6"},
			map[string]string{"logged_in_key": "0", "logged_in_salt": ""},
			"logged_in_key logged_in_salt", "auth secure_auth nonce",
		},
		{
			"old SECRET_KEY and SECRET_SALT",
			map[string]string{"SECRET_KEY": "old", "SECRET_SALT": "salt"},
			nil,
			"secure_auth_salt logged_in_salt nonce_salt", "auth myplugin",
		},
		{
			"one text three times",
			map[string]string{"LOGGED_IN_KEY": "x", "LOGGED_IN_SALT": "x", "NONCE_KEY": "x"},
			nil,
			"auth_key auth_salt secure_auth_key secure_auth_salt logged_in_key logged_in_salt nonce_key nonce_salt", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			salts, missing := wpauth.ResolveSalts(tt.constants, tt.options)
			if got := strings.Join(missing, " "); got != tt.missing {
				t.Errorf("missing %q, want %q", got, tt.missing)
			}
			for _, scheme := range []string{"auth", "secure_auth", "logged_in", "nonce", "myplugin"} {
				secret, ok := salts.Secret(wpauth.Scheme(scheme))
				if want := slices.Contains(strings.Fields(tt.usable), scheme); ok != want || ok != (secret != "") {
					t.Errorf("secret of %s: %q, %v, want %v", scheme, secret, ok, want)
				}
			}
		})
	}
}

func TestSaltNames(t *testing.T) {
	if got := wpauth.SaltConstants(); len(got) != 10 || got[0] != "AUTH_KEY" || got[9] != "SECRET_SALT" {
		t.Errorf("constants %v", got)
	}
	if got := wpauth.SaltOptions(); len(got) != 9 || got[0] != "auth_key" || got[8] != "secret_key" {
		t.Errorf("options %v", got)
	}
}

func TestCookieNamesWithoutSiteURL(t *testing.T) {
	for _, siteURL := range []string{"", "/", `\`} {
		if got := wpauth.ResolveCookieNames(nil, siteURL, false); got.Hash != "" || got.LoggedIn != wpauth.LoggedInPrefix {
			t.Errorf("siteurl %q gives the names %+v", siteURL, got)
		}
	}
}

func TestFindAuthCookie(t *testing.T) {
	const name = "wordpress_logged_in_x"
	wire := name + "=" + url.PathEscape(goodCookie)
	tests := []struct {
		name    string
		headers []string
		want    error
	}{
		{"alone", []string{wire}, nil},
		{"among others", []string{"a=1; " + wire + "; b=2"}, nil},
		{"in the second header line", []string{"a=1", wire}, nil},
		{"dots for underscores", []string{strings.Replace(wire, "logged_in", "logged.in", 1)}, nil},
		{"first of two", []string{wire + "; " + name + "=junk"}, nil},
		{"second of two", []string{name + "=junk; " + wire}, wpauth.ErrMalformed},
		{"no header", nil, wpauth.ErrNoCookie},
		{"other cookies", []string{"a=1; wordpress_logged_in_=x"}, wpauth.ErrNoCookie},
		{"other letter case", []string{strings.ToUpper(wire)}, wpauth.ErrNoCookie},
		{"empty", []string{name + "="}, wpauth.ErrNoCookie},
		{"after a logout", []string{name + "=%20"}, wpauth.ErrNoCookie},
		{"an array for PHP", []string{name + "[0]=" + url.PathEscape(goodCookie)}, wpauth.ErrNoCookie},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := wpauth.FindAuthCookie(tt.headers, name)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if err == nil && (c.Login != "Agent Smith" || c.Expiration != goodUntil) {
				t.Errorf("login %q, expiration %d", c.Login, c.Expiration)
			}
		})
	}
}

func TestCookieValues(t *testing.T) {
	tests := []struct{ wire, want string }{
		{"", ""},
		{"a+b", "a+b"},
		{"%2B", "+"},
		{"%zz", "%zz"},
		{"%", "%"},
		{"%4", "%4"},
		{"%41", "A"},
		{"%4%41", "%4A"},
		{"%%41", "%A"},
		{"%7c%7C", "||"},
		{`"x"`, `"x"`},
		{"a=b", "a=b"},
		{"x ", "x "},
		{"%00", "\x00"},
		{"%ff", "\xff"},
		{"é", "é"},
	}
	for _, tt := range tests {
		t.Run(tt.wire, func(t *testing.T) {
			if got, ok := wpauth.LookupCookie([]string{"c=" + tt.wire}, "c"); got != tt.want || !ok {
				t.Errorf("%q decodes to %q, %v, want %q", tt.wire, got, ok, tt.want)
			}
		})
	}
	if got, ok := wpauth.LookupCookie([]string{";; =x; c"}, "c"); got != "" || !ok {
		t.Errorf("a cookie without = has the value %q, %v", got, ok)
	}
}

func TestSuperAdmins(t *testing.T) {
	admins, err := wpauth.ParseSuperAdmins([]byte(`a:3:{i:0;s:5:"admin";i:1;i:5;i:2;s:4:"Jane";}`))
	if err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]bool{"admin": true, "Jane": true, "jane": false, "5": false, "": false} {
		if admins.Includes(login) != want {
			t.Errorf("Includes(%q) = %v", login, !want)
		}
	}
	if admins, err := wpauth.ParseSuperAdmins(nil); err != nil || admins.Includes("admin") {
		t.Errorf("without a row: %v, %v", admins, err)
	}
	if _, err := wpauth.ParseSuperAdmins([]byte("admin")); err == nil {
		t.Error("a row that is not serialized is accepted")
	}
	super := wpauth.Capabilities{}.WithSuperAdmin()
	if !super.Can("anything") || super.Can("do_not_allow") {
		t.Error("a super admin can do everything but do_not_allow")
	}
}

func TestRolesThatCannotBeRead(t *testing.T) {
	for _, option := range []string{"", "administrator", `s:1:"x";`} {
		if _, err := wpauth.ParseRoles([]byte(option)); err == nil {
			t.Errorf("user_roles %q is accepted", option)
		}
	}
	roles, err := wpauth.ParseRoles([]byte(`a:2:{s:6:"editor";s:6:"broken";s:6:"author";a:1:{s:12:"capabilities";a:1:{s:4:"read";b:1;}}}`))
	if err != nil {
		t.Fatal(err)
	}
	caps, err := roles.Of([]byte(`a:2:{s:6:"editor";b:1;s:6:"author";b:0;}`))
	if err != nil || !caps.Can("read") || !caps.Can("editor") || caps.Can("author") {
		t.Errorf("capabilities %+v, %v", caps, err)
	}
	for _, meta := range []string{"editor", `s:6:"editor";`, `O:8:"stdClass":0:{}`} {
		caps, err := roles.Of([]byte(meta))
		if err == nil || caps.Can("read") || !caps.Can("exist") {
			t.Errorf("capabilities row %q: %+v, %v", meta, caps, err)
		}
	}
}

func TestAppPasswordRefusals(t *testing.T) {
	item := func(hash string) string {
		return `a:1:{i:0;a:1:{s:8:"password";s:` + strconv.Itoa(len(hash)) + `:"` + hash + `";}}`
	}
	const phpass = "$P$ByDPofWEcW8HeHKaQ5d2/kUXWCGJKU."
	tests := []struct {
		name, row, password string
		readable            bool
	}{
		{"no row", "", "x", true},
		{"wrong password", item(phpass), "sHLrHUomr3RIrwYEGdv8OZYx", true},
		{"empty password", item(phpass), " -_ ", true},
		{"very long password", item(phpass), strings.Repeat("a", 1<<20), true},
		{"unknown kind of hash", item("plain"), "plain", true},
		{"empty hash", item(""), "x", true},
		{"cost outside the alphabet", item("$P$!" + phpass[4:]), "sHLrHUomr3RIrwYEGdv8OZYr", true},
		{"hash without cost", item("$P$"), "sHLrHUomr3RIrwYEGdv8OZYr", true},
		{"hash cut off", item(phpass[:20]), "sHLrHUomr3RIrwYEGdv8OZYr", true},
		{"items are strings", `a:1:{i:0;s:1:"x";}`, "x", true},
		{"not serialized", "x", "x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wpauth.VerifyAppPassword([]byte(tt.row), tt.password)
			if err == nil || errors.Is(err, wpauth.ErrPassword) != tt.readable {
				t.Errorf("error = %v", err)
			}
		})
	}
	for _, cost := range []string{"4", "F"} { // 6 and 17
		if got := wpauth.Phpass("$P$"+cost+phpass[4:], "x"); got != "" {
			t.Errorf("cost %s gives the hash %s", cost, got)
		}
	}
	if _, err := wpauth.VerifyAppPassword([]byte(item(phpass)), "sHLr HUom r3RI rwYE Gdv8 OZYr"); err != nil {
		t.Errorf("the right password, as WordPress shows it: %v", err)
	}
}

func FuzzCookies(f *testing.F) {
	f.Add(`a=x+y%2Bz%20w; a=second; B=1; b=2; we.ird=3; arr[x]=4; q="quoted"; sp=a b; empty=; noval; pct=%zz%7C%7c; n%61me=5`)
	f.Add("wordpress_logged_in_x=" + url.PathEscape(goodCookie))
	f.Add(";;=;[=1; =2;%;a=%4")
	f.Fuzz(func(t *testing.T, header string) {
		first := make(map[string]string)
		pairs := 0
		for name, value := range wpauth.Cookies([]string{header}) {
			if pairs++; name == "" || strings.ContainsAny(name, ";=") {
				t.Fatalf("name %q", name)
			}
			if _, ok := first[name]; !ok {
				first[name] = value
			}
		}
		if pairs > strings.Count(header, ";")+1 {
			t.Fatalf("%d cookies in %q", pairs, header)
		}
		for name, want := range first {
			if got, ok := wpauth.LookupCookie([]string{header}, name); got != want || !ok {
				t.Fatalf("LookupCookie(%q) = %q, want the first, %q", name, got, want)
			}
		}
		// Where the strict decoder of the standard library has an answer it
		// must be ours.
		if value, err := url.PathUnescape(header); err == nil && !strings.Contains(header, ";") {
			if got, _ := wpauth.LookupCookie([]string{"c=" + header}, "c"); got != value {
				t.Fatalf("%q decodes to %q, want %q", header, got, value)
			}
		}
	})
}
