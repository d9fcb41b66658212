package wordpress

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// An ordered map is checked against a plain list of entries.
func TestOrderedKeepsTheNewestInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := ordered[int, string]{most: rapid.IntRange(1, 8).Draw(t, "most"), merge: func(older, newer string) string { return older + newer }}
		var model, out []entry[int, string]
		add := func(list []entry[int, string], e entry[int, string]) []entry[int, string] {
			if i := slices.IndexFunc(list, func(old entry[int, string]) bool { return old.key == e.key }); i >= 0 {
				list[i].value += e.value
				return list
			}
			list = append(list, e)
			return list[max(0, len(list)-o.most):]
		}
		value := 'a'
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				e := entry[int, string]{rapid.IntRange(0, 12).Draw(t, "key"), string(value)}
				value++
				before := o.len()
				isNew := !slices.ContainsFunc(model, func(old entry[int, string]) bool { return old.key == e.key })
				if dropped := o.put(e.key, e.value); (dropped == 1) != (isNew && before == o.most) {
					t.Fatalf("dropped %d of %d", dropped, before)
				}
				model = add(model, e)
			},
			"take": func(t *rapid.T) {
				if len(out) > 0 {
					return // one load at a time
				}
				n := rapid.IntRange(0, 9).Draw(t, "n")
				out = o.take(n)
				n = min(n, len(model))
				if d := cmp.Diff(slices.Clone(model[:n]), slices.Clone(out), cmp.AllowUnexported(entry[int, string]{}), equateEmpty); d != "" {
					t.Fatal(d)
				}
				model = slices.Clone(model[n:])
			},
			"back": func(t *rapid.T) {
				since := model
				model = nil
				for _, e := range append(slices.Clone(out), since...) {
					model = add(model, e)
				}
				o.back(out)
				out = nil
			},
			"remove": func(t *rapid.T) {
				key := rapid.IntRange(0, 12).Draw(t, "key")
				before := len(model)
				model = slices.DeleteFunc(model, func(e entry[int, string]) bool { return e.key == key })
				if o.remove(key) != (len(model) < before) {
					t.Fatalf("remove %d", key)
				}
			},
			"": func(t *rapid.T) {
				var got []entry[int, string]
				for _, key := range o.order {
					got = append(got, entry[int, string]{key, o.of[key]})
				}
				if d := cmp.Diff(model, got, cmp.AllowUnexported(entry[int, string]{}), equateEmpty); d != "" || len(o.of) != len(o.order) {
					t.Fatal(d)
				}
			},
		})
	})
}

// equateEmpty takes an empty list for none.
var equateEmpty = cmp.FilterValues(func(a, b []entry[int, string]) bool { return len(a) == 0 && len(b) == 0 },
	cmp.Comparer(func(_, _ []entry[int, string]) bool { return true }))

func TestVisitsMerge(t *testing.T) {
	older := Visit{Session: "1", URL: ptr("/a"), UA: ptr("x"), IP: "192.0.2.7"}
	tests := []struct {
		name        string
		newer, want Visit
	}{
		{"all is new", Visit{"2", ptr("/b"), ptr("y"), "192.0.2.8"}, Visit{"2", ptr("/b"), ptr("y"), "192.0.2.8"}},
		{"nothing is new", Visit{}, older},
		{"empty texts are texts", Visit{URL: ptr(""), UA: ptr("")}, Visit{Session: "1", URL: ptr(""), UA: ptr("")}},
		{"an address alone is not stored", Visit{Session: "2", IP: "192.0.2.8"}, Visit{"2", older.URL, older.UA, older.IP}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, tt.newer.over(older)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestClipKeepsWholeCharacters(t *testing.T) {
	tests := []struct{ text, want string }{
		{"short", "short"},
		{"exactly ten", "exactly te"},
		{"12345678é0", "12345678é"},
		{"123456789é", "123456789"},
		{"1234567😀", "1234567"},
		{"bad \xff", ""}, // as WordPress does
		{strings.Repeat("x", 9) + "\xc3", ""},
	}
	for _, tt := range tests {
		if got := clip(tt.text, 10); got != tt.want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, always(0, ""))
		for i := range int64(25_000) {
			w.courier.Beat(beat(i+1, 3, ""))
			w.courier.Move(Transition{i + 1, 1, 8, Visit{}})
			w.courier.Missed(i + 1)
			w.courier.Read(5*i+1, 5*i+2, 5*i+3, 5*i+4, 5*i+5)
		}
		s := w.stats()
		if s.Queued != mostBeats+mostMoves+mostRead+mostMissed || s.Dropped != 5_000+20_000+24_000+25_000 {
			t.Errorf("%+v", s)
		}
		w.behave(works)
		w.pass(time.Minute)
		if got := w.calls[len(w.calls)-1].Read; len(got) == 0 || got[len(got)-1] != 125_000 {
			t.Errorf("the newest did not arrive last: %v", got[max(0, len(got)-3):])
		}
		if after := w.stats(); after.Queued != 0 || after.Dropped != s.Dropped {
			t.Errorf("after the recovery: %+v", after)
		}
	})
}
