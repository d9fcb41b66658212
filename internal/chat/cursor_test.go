package chat

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCursorText(t *testing.T) {
	many := make([]int64, MaxOpen+5)
	for i := range many {
		many[i] = int64(1000 + 2*i)
	}
	for _, tt := range []struct {
		name   string
		cursor Cursor
		want   string
	}{
		{"nowhere", Cursor{}, ""},
		{"empty table", At(Mark{}), "0"},
		{"one source", At(Mark{Last: 1234}), "1234"},
		{"one open id", At(Mark{Last: 1234, Open: []int64{1231}}), "1234-Aw"},
		{"two sources", At(Mark{Last: 7}).With("bm", Mark{Last: 9, Open: []int64{2, 8}}), "7,bm=9-AQY"},
		{"largest id", At(Mark{Last: 1<<63 - 1}), "9223372036854775807"},
		{"digest of states", At(Mark{Last: 12}).WithTag(71), "12~1z"},
		{"open ids down to the first", At(Mark{Last: 3, Open: []int64{1, 2}}), "3-AQE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cursor.String(); got != tt.want {
				t.Fatalf("String() = %q, want %q", got, tt.want)
			}
			back, err := ParseCursor(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.cursor.String(), back.String()); diff != "" {
				t.Fatal(diff)
			}
		})
	}
	t.Run("more open ids than a cursor carries", func(t *testing.T) {
		back, err := ParseCursor(At(Mark{Last: 5000, Open: many}).String())
		if err != nil {
			t.Fatal(err)
		}
		m, _ := back.Mark("")
		if diff := cmp.Diff(many[5:], m.Open); diff != "" {
			t.Fatal("the newest must be kept:", diff)
		}
	})
}

func TestParseCursorRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"letters":                "abc",
		"negative":               "-5",
		"plus sign":              "+5",
		"leading zero":           "007",
		"spaces":                 " 5",
		"over int64":             "9223372036854775808",
		"empty open ids":         "5-",
		"open id at zero":        "3-Aw",
		"open id below zero":     "3-BQ",
		"distance zero":          "3-AA",
		"cut varint":             "300-gA",
		"padded base64":          "3-AQ==",
		"source twice":           "5,6",
		"named source twice":     "bm=5,bm=6",
		"source with a bad name": "b m=5",
		"empty part":             "5,",
		"empty digest":           "5~",
		"digest zero":            "5~0",
		"digest over 32 bits":    "5~zzzzzzzz",
		"two digests":            "5~1~2",
		"newline":                "5\nid: 6",
		"too long":               "1," + strings.Repeat("a", MaxCursorLength),
		"too many sources":       "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := ParseCursor(text); !errors.Is(err, ErrCursor) {
				t.Fatalf("ParseCursor(%.40q) = %v, %v", text, c, err)
			}
		})
	}
}

func TestMarkHas(t *testing.T) {
	m := Mark{Last: 10, Open: []int64{4, 7}}
	for id, want := range map[int64]bool{1: true, 4: false, 5: true, 7: false, 10: true, 11: false} {
		if got := m.Has(id); got != want {
			t.Errorf("Has(%d) = %v", id, got)
		}
	}
}

func TestCursorWithLeavesTheOriginalAlone(t *testing.T) {
	a := At(Mark{Last: 1})
	b := a.With("", Mark{Last: 2}).With("bm", Mark{Last: 3})
	if a.String() != "1" || b.String() != "2,bm=3" {
		t.Fatalf("a = %s, b = %s", a, b)
	}
}

func TestSplitChannel(t *testing.T) {
	for channel, ok := range map[string]bool{
		"wplc/42": true, "wplc/agents": true, "bm/thread/7": true, "a/b-C.d_e": true,
		"": false, "wplc": false, "/42": false, "wplc/": false, "WPLC/42": false,
		"wplc/4 2": false, "wplc/4\n2": false, "wplc/é": false,
		"wplc/" + strings.Repeat("x", MaxChannelLength): false,
	} {
		if _, _, err := SplitChannel(channel); (err == nil) != ok {
			t.Errorf("SplitChannel(%q): %v", channel, err)
		}
	}
}

func TestViewerHasGrant(t *testing.T) {
	v := Viewer{Granted: []string{"wplc/42", "bm/*"}}
	for channel, want := range map[string]bool{
		"wplc/42": true, "wplc/421": false, "wplc/4": false, "bm/1": true, "bm/thread/7": true, "bmx/1": false, "wplc/agents": false,
	} {
		if got := v.HasGrant(channel); got != want {
			t.Errorf("HasGrant(%q) = %v", channel, got)
		}
	}
}

// A cursor comes from a browser: whatever is accepted must mean the same when
// it is written again, or a client's position would drift with each reconnect.
func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "0", "1234", "1234-Aw", "7,bm=9-AQY", "3-AQE", "9223372036854775807", "1-", "5,5", "12~1z", "7,bm=9-AQY~a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			return
		}
		again, err := ParseCursor(c.String())
		if err != nil || again.String() != c.String() {
			t.Fatalf("%q became %q became %q (%v)", text, c, again, err)
		}
		if m, ok := c.Mark(""); ok {
			for _, id := range m.Open {
				if id <= 0 || id >= m.Last || m.Has(id) {
					t.Fatalf("%q: open id %d of %+v", text, id, m)
				}
			}
		}
	})
}
