package wplc

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"
	_ "time/tzdata" // a machine without zoneinfo must not fail the tests
)

// zone reads a WordPress time zone: a name, or gmt_offset as "+05:45".
func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	var sign byte
	var h, m int
	if n, _ := fmt.Sscanf(name, "%c%02d:%02d", &sign, &h, &m); n == 3 {
		seconds := h*3600 + m*60
		if sign == '-' {
			seconds = -seconds
		}
		return time.FixedZone(name, seconds)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestDatetimesAroundTurnsOfTheClockAreThoseOfPHP(t *testing.T) {
	raw, err := os.ReadFile("testdata/dates.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string][][2]any
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 10 {
		t.Fatalf("only %d zones in the golden file", len(golden))
	}
	for name, pairs := range golden {
		loc := zone(t, name)
		for _, pair := range pairs {
			digits, want := pair[0].(string), int64(pair[1].(float64))
			if got := utc(digits, loc).Unix(); got != want {
				t.Errorf("%s %s: %d, PHP says %d (%+d s)", name, digits, got, want, got-want)
			}
		}
	}
}

func TestDatetimes(t *testing.T) {
	helsinki := zone(t, "Europe/Helsinki")
	for _, tc := range []struct {
		digits string
		want   string
	}{
		{"2019-03-19 10:31:00", "2019-03-19T08:31:00Z"}, // winter: 1552984260
		{"2019-07-01 09:00:00", "2019-07-01T06:00:00Z"}, // summer: 1561960800
		{"0000-00-00 00:00:00", ""},
		{"2019-00-00 00:00:00", ""},
		{"2019-02-30 00:00:00", ""},
		{"0000-01-01 00:00:00", ""},
		{"0001-01-01 00:00:00", ""}, // in UTC the year before
		{"9999-12-31 23:59:59", "9999-12-31T21:59:59Z"},
		{"2019-03-19", ""},
		{"", ""},
		{"2019-03-19 10:31:00; DROP", ""},
	} {
		got := utc(tc.digits, helsinki)
		want := time.Time{}
		if tc.want != "" {
			want, _ = time.Parse(time.RFC3339, tc.want)
		}
		if !got.Equal(want) {
			t.Errorf("%q: %v, want %v", tc.digits, got, want)
		}
		if got.IsZero() != (tc.want == "") {
			t.Errorf("%q: zero is %v", tc.digits, got.IsZero())
		}
	}
	if got := utc("9999-12-31 23:59:59", zone(t, "-03:30")); !got.IsZero() {
		t.Errorf("a year that JSON cannot carry: %v", got)
	}
}
