package wpauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/internal/wpauth"
)

const agentSmithPass = "$wp$2y$10$jAXl3Vh8oTSTSNGy0mKXj.cR2y2NBpBsCjZXRbTbhZmXl2IyDM2n."

// uidOrFalse is a user id, or 0 where PHP returned false or died.
type uidOrFalse int64

func (u *uidOrFalse) UnmarshalJSON(data []byte) error {
	switch s := string(data); s {
	case "false", `"PHP fatal error"`:
		*u = 0
		return nil
	default:
		n, err := strconv.ParseInt(s, 10, 64)
		*u = uidOrFalse(n)
		return err
	}
}

// textOrNumber is an action or a user id, which PHP code gives as either.
type textOrNumber string

func (a *textOrNumber) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		*a = textOrNumber(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(a))
}

// verify parses and verifies in one go, as a request handler does.
func verify(cookie string, v wpauth.Verifier, user wpauth.User, check wpauth.Check) (wpauth.Identity, error) {
	c, err := wpauth.ParseAuthCookie(cookie)
	if err != nil {
		return wpauth.Identity{}, err
	}
	return v.Verify(c, user, check)
}

func testAuthCookies(t *testing.T, v *vectors) {
	type entry struct {
		WP, Cookie, Token, Scheme string
		UID                       int64
		Login                     string `json:"user_login"`
		Pass                      string `json:"user_pass"`
		Expiration                int64
	}
	each(t, v, "auth_cookies", func(t *testing.T, e entry) {
		name := fmt.Sprintf("%s %s %s %q", e.WP, e.Scheme, e.Login, e.Pass)
		row := fmt.Appendf(nil, `a:1:{s:64:"%s";i:%d;}`, sha256Hex(e.Token), e.Expiration+60)
		user := userOf(e.UID, e.Login, e.Pass, row)
		check := wpauth.Check{Scheme: wpauth.Scheme(e.Scheme), Now: at(e.Expiration)}
		for _, rule := range []wpauth.FragmentRule{ruleOf(t, e.WP), wpauth.FragmentEither} {
			id, err := verify(e.Cookie, wpauth.Verifier{Salts: v.salts, Fragment: rule}, user, check)
			if err != nil {
				t.Errorf("%s, rule %d: %v", name, rule, err)
			}
			same(t, v, name, id.UserID, e.UID)
			same(t, v, name+" expiration", id.Expires.Unix(), e.Expiration)
			same(t, v, name+" token", id.Holder().Token, e.Token)
		}
		// The next hex digit in each place must break the signature.
		forged := []byte(e.Cookie)
		last := len(forged) - 1
		forged[last] = "123456789abcdef0"[strings.IndexByte("0123456789abcdef", forged[last])]
		if _, err := verify(string(forged), wpauth.Verifier{Salts: v.salts}, user, check); !errors.Is(err, wpauth.ErrSignature) {
			t.Errorf("%s with another last digit: %v", name, err)
		}
	})
}

type dbState struct {
	ID       int64
	Login    string  `json:"user_login"`
	Pass     string  `json:"user_pass"`
	Sessions *string `json:"session_tokens"`
}

func (s dbState) user() wpauth.User {
	var row []byte
	if s.Sessions != nil {
		row = []byte(*s.Sessions)
	}
	return userOf(s.ID, s.Login, s.Pass, row)
}

// validateReasons gives the reason we name where WordPress just says false, by
// the beginning of the vector's note.
func validateReasons() map[string]error {
	return map[string]error{
		"cookie made by 6.7.2 rules":                              wpauth.ErrSignature,
		"auth-scheme cookie presented":                            wpauth.ErrSignature,
		"one second past expiration, GET":                         wpauth.ErrExpired,
		"one second past expiration, POST":                        wpauth.ErrExpired,
		"one second past expiration, DOING_AJAX":                  wpauth.ErrExpired,
		"tampered hmac":                                           wpauth.ErrSignature,
		"username in other letter case":                           wpauth.ErrUnknownUser,
		"5 fields":                                                wpauth.ErrMalformed,
		"expiration altered":                                      wpauth.ErrSignature,
		"upper-case hex hmac":                                     wpauth.ErrMalformed,
		"session row expiration pushed 2h later than cookie, GET": wpauth.ErrExpired,
		"same, +3601 s":                                           wpauth.ErrExpired,
		"this session destroyed":                                  wpauth.ErrNoSession,
		"last session destroyed":                                  wpauth.ErrNoSession,
		"user_pass changed in the last 4":                         wpauth.ErrSignature,
	}
}

func testValidate(t *testing.T, v *vectors) {
	type entry struct {
		WP, Scheme, Cookie, Method, Note string
		DB                               dbState `json:"db_state"`
		Now                              int64
		AJAX                             bool       `json:"doing_ajax"`
		UID                              uidOrFalse `json:"result_uid"`
	}
	reasons := validateReasons()
	each(t, v, "validate", func(t *testing.T, e entry) {
		check := wpauth.Check{Scheme: wpauth.Scheme(e.Scheme), Now: at(e.Now), Grace: e.AJAX || e.Method == "POST"}
		id, err := verify(e.Cookie, wpauth.Verifier{Salts: v.salts, Fragment: ruleOf(t, e.WP)}, e.DB.user(), check)
		same(t, v, e.Note, uidOrFalse(id.UserID), e.UID)
		if e.UID != 0 {
			if err != nil {
				t.Errorf("%s: %v", e.Note, err)
			}
			return
		}
		for note, want := range reasons {
			if strings.HasPrefix(e.Note, note) {
				delete(reasons, note)
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", e.Note, err, want)
				}
				return
			}
		}
		t.Errorf("no reason listed for %q", e.Note)
	})
	if len(reasons) > 0 {
		t.Errorf("reasons not met: %v", reasons)
	}
}

func testSessions(t *testing.T, v *vectors) {
	type stored struct {
		WP, Token string
		Session   struct{ Expiration int64 }
		Row       string `json:"meta_value"`
	}
	each(t, v, "sessions", func(t *testing.T, e stored) {
		sessions, err := wpauth.ParseSessions([]byte(e.Row))
		if err != nil {
			t.Fatal(err)
		}
		end, err := sessions.Check(e.Token, at(e.Session.Expiration))
		if err != nil {
			t.Errorf("%s %s: %v", e.WP, e.Token, err)
		}
		same(t, v, e.Token, end, e.Session.Expiration)
	})

	t.Run("session_states", func(t *testing.T) { testSessionStates(t, v) })

	var validRow string
	type parsing struct {
		Name, Token, Cookie string
		Row                 string `json:"meta_value"`
		Now                 int64
		UID                 uidOrFalse `json:"validates_to"`
	}
	verifier := wpauth.Verifier{Salts: v.salts}
	each(t, v, "session_tokens_parsing", func(t *testing.T, e parsing) {
		user := userOf(2, "Agent Smith", agentSmithPass, []byte(e.Row))
		id, err := verify(e.Cookie, verifier, user, wpauth.Check{Now: at(e.Now)})
		same(t, v, e.Name, uidOrFalse(id.UserID), e.UID)
		if e.UID == 0 && !errors.Is(err, wpauth.ErrNoSession) && !errors.Is(err, wpauth.ErrExpired) {
			t.Errorf("%s: %v", e.Name, err)
		}
		if e.Name == "float expiration" {
			validRow = e.Row
		}
	})

	// The caller reads the row with the lowest umeta_id; the others never
	// count.
	type duplicate struct {
		Rows      []string `json:"rows_in_umeta_id_order"`
		Validates bool
	}
	const token = "kT3vB8qZ1xW5yN7mR2sL9dF4gH6jP0cA8eU5iO3tY1q"
	each(t, v, "duplicate_session_rows", func(t *testing.T, e duplicate) {
		row := strings.ReplaceAll(e.Rows[0], "(row with the valid session)", validRow)
		sessions, err := wpauth.ParseSessions([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		_, err = sessions.Check(token, at(1767229383))
		same(t, v, strings.Join(e.Rows, ", "), err == nil, e.Validates)
	})
}

// testSessionStates: two sessions, of which the first is destroyed.
func testSessionStates(t *testing.T, v *vectors) {
	type row struct {
		Value string `json:"meta_value"`
	}
	var states struct {
		Two   []row             `json:"two_sessions_row"`
		After []json.RawMessage `json:"after_destroying_first_then_second"`
	}
	v.decode(t, "session_states", &states)
	const first, second = "70e9e3851635c594447f6498a7da6c6d1825320930db5fbe2793012d63ea0314", "a4008f0ffc62a27a2f84046cd005f32f7d9c7ab3a4710119afbf07a260a388f2"
	has := func(value string) [2]bool {
		sessions, err := wpauth.ParseSessions([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		_, a := sessions[first]
		_, b := sessions[second]
		return [2]bool{a, b}
	}
	if len(states.Two) != 1 || len(states.After) != 2 {
		t.Fatalf("%d and %d rows", len(states.Two), len(states.After))
	}
	same(t, v, "both sessions", has(states.Two[0].Value), [2]bool{true, true})
	var value string
	if err := json.Unmarshal(states.After[0], &value); err != nil {
		t.Fatal(err)
	}
	same(t, v, "first destroyed", has(value), [2]bool{false, true})
	var rows []row
	if err := json.Unmarshal(states.After[1], &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	same(t, v, "first destroyed, read back", has(rows[0].Value), [2]bool{false, true})
	v.ran["session_states"] = 2
}

func testNonces(t *testing.T, v *vectors) {
	var loggedIn string
	v.decode(t, "LOGGED_IN_COOKIE", &loggedIn)
	type created struct {
		Who     string
		Now     int64
		Cookies map[string]string
		UID     textOrNumber
		Token   string `json:"session_token"`
		Action  textOrNumber
		Nonce   string
	}
	each(t, v, "nonces", func(t *testing.T, e created) {
		life := time.Duration(0)
		if strings.Contains(e.Who, "nonce_life filtered to 3600") {
			life = time.Hour
		}
		nonces, err := wpauth.NewNonces(v.salts, life)
		if err != nil {
			t.Fatal(err)
		}
		// The token comes from the browser's cookie, verified or not.
		holder := wpauth.VisitorHolder(e.Cookies[loggedIn])
		same(t, v, e.Who+": token", holder.Token, e.Token)
		holder.UID = string(e.UID)
		same(t, v, e.Who+": nonce", nonces.Create(string(e.Action), holder, at(e.Now)), e.Nonce)
		same(t, v, e.Who+": verified", nonces.Verify(e.Nonce, string(e.Action), holder, at(e.Now)), wpauth.NonceFresh)
	})

	type verified struct {
		Now                  int64
		Nonce, Token, Action string
		UID                  textOrNumber
		Result               uidOrFalse
	}
	nonces, err := wpauth.NewNonces(v.salts, 0)
	if err != nil {
		t.Fatal(err)
	}
	each(t, v, "verify_nonce", func(t *testing.T, e verified) {
		holder := wpauth.Holder{UID: string(e.UID), Token: e.Token}
		got := nonces.Verify(e.Nonce, e.Action, holder, at(e.Now))
		same(t, v, fmt.Sprintf("age at %d", e.Now), got, wpauth.NonceAge(e.Result))
	})
}
