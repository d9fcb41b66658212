package wpauth_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"holdline/internal/wpauth"
)

// vectors is testdata/wp-auth-vectors.json: values printed by WordPress itself
// (its key _how tells how). Every entry of every section must be run.
type vectors struct {
	sections map[string]json.RawMessage
	salts    wpauth.Salts // of the eight keys most sections use
	ran      map[string]int
	values   int // values of WordPress compared, over all sections
}

// elsewhere are the sections which other packages test.
var elsewhere = []string{"_how", "db_host", "wp_config"}

func loadVectors(t testing.TB) *vectors {
	t.Helper()
	data, err := os.ReadFile("../../testdata/wp-auth-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{ran: make(map[string]int)}
	if err := json.Unmarshal(data, &v.sections); err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	v.decode(t, "keys", &keys)
	var missing []string
	if v.salts, missing = wpauth.ResolveSalts(keys, nil); len(missing) > 0 {
		t.Fatalf("the test keys leave %v missing", missing)
	}
	return v
}

func (v *vectors) decode(t testing.TB, section string, into any) {
	t.Helper()
	if err := json.Unmarshal(v.sections[section], into); err != nil {
		t.Fatalf("section %s: %v", section, err)
	}
}

// same compares one value of WordPress with ours.
func same[T comparable](t *testing.T, v *vectors, what string, got, want T) {
	t.Helper()
	v.values++
	if got != want {
		t.Errorf("%s = %v, WordPress has %v", what, got, want)
	}
}

// each runs f for every entry of a section that is a list.
func each[T any](t *testing.T, v *vectors, section string, f func(t *testing.T, entry T)) {
	t.Run(section, func(t *testing.T) {
		var entries []T
		v.decode(t, section, &entries)
		for _, entry := range entries {
			f(t, entry)
			v.ran[section]++
		}
	})
}

// entries counts what a section of the file holds, without regard to its shape.
func entries(t *testing.T, raw json.RawMessage) int {
	t.Helper()
	var section any
	if err := json.Unmarshal(raw, &section); err != nil {
		t.Fatal(err)
	}
	switch x := section.(type) {
	case []any:
		return len(x)
	case map[string]any:
		return len(x)
	default:
		return 1
	}
}

func TestVectors(t *testing.T) {
	v := loadVectors(t)

	testNames(t, v)
	testSalts(t, v)
	testCookieTransport(t, v)
	testAuthCookies(t, v)
	testValidate(t, v)
	testSessions(t, v)
	testNonces(t, v)
	testCapabilities(t, v)
	testApplicationPasswords(t, v)
	testJWT(t, v)

	total := 0
	for _, section := range slices.Sorted(maps.Keys(v.sections)) {
		if slices.Contains(elsewhere, section) {
			continue
		}
		want := entries(t, v.sections[section])
		if v.ran[section] != want {
			t.Errorf("section %s: ran %d of %d entries", section, v.ran[section], want)
		}
		t.Logf("%-28s %3d entries", section, v.ran[section])
		total += v.ran[section]
	}
	t.Logf("%d entries, %d values of WordPress compared", total, v.values)
}

func at(unix int64) time.Time { return time.Unix(unix, 0) }

// userOf cuts a password hash as the SQL in the documentation of User does.
func userOf(id int64, login, pass string, sessions []byte) wpauth.User {
	return wpauth.User{
		ID:         id,
		Login:      login,
		PassPrefix: pass[:min(4, len(pass))],
		FragMid:    pass[min(8, len(pass)):min(12, len(pass))],
		FragEnd:    pass[max(0, len(pass)-4):],
		Sessions:   sessions,
	}
}

// ruleOf is the rule of a WordPress version of the vectors.
func ruleOf(t *testing.T, version string) wpauth.FragmentRule {
	t.Helper()
	switch version {
	case "6.1.9", "6.7.2":
		return wpauth.FragmentMiddle
	case "6.9.1":
		return wpauth.FragmentByHash
	}
	t.Fatalf("no rule for WordPress %s", version)
	return 0
}
