package dropin_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// record is what a person saw in a window, in order. Ids, times and the site's
// address are taken out, so that records of two sites can be compared.
type record struct {
	sites *strings.Replacer // takes the fronts' addresses out
	mu    sync.Mutex
	lines []string
}

var (
	cidInText  = regexp.MustCompile(`cid=('?)\d+`)
	timeInText = regexp.MustCompile(`\d\d \w{3} \d{4} \d\d:\d\d:\d\d`)
	windowName = regexp.MustCompile(`WP_Live_Chat_\d+`)
)

// newRecord is empty. One WordPress has the addresses of both fronts: what Holdline
// makes itself has the stored one, whichever front it came through.
func (s *stage) newRecord() *record {
	return &record{sites: strings.NewReplacer(s.site.URL, "SITE", s.site.ApacheURL, "SITE")}
}

// add notes a line, and returns it as it is kept.
func (r *record) add(line string) string {
	line = r.sites.Replace(line)
	line = cidInText.ReplaceAllString(line, "cid=${1}N")
	line = timeInText.ReplaceAllString(line, "TIME")
	line = windowName.ReplaceAllString(line, "WP_Live_Chat_N")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	return line
}

// say notes one message as an answer had it: text, and all other keys with their
// types. It returns the line.
func (r *record) say(message json.RawMessage) (line string) {
	var m map[string]any
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.UseNumber()
	if err := decoder.Decode(&m); err != nil {
		return r.add("no message: " + string(message))
	}
	if other, ok := m["other"].(map[string]any); ok {
		for _, key := range []string{"datetime", "datetimeUTC"} {
			if _, ok := other[key].(json.Number); ok {
				other[key] = "TIME"
			}
		}
	}
	return r.add("says " + encode(m))
}

// encode writes JSON whose keys are in the order of the alphabet.
func encode(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// count is how many lines have the text.
func (r *record) count(text string) (n int) {
	for _, line := range r.all() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// await waits for a line with the text, or for the n-th one.
func (r *record) await(t *testing.T, text string, n ...int) {
	t.Helper()
	want := 1
	if len(n) > 0 {
		want = n[0]
	}
	began, end := time.Now(), time.After(time.Minute)
	if !r.comes(end, text, want) {
		t.Fatalf("%q came %d times, want %d; seen so far:\n%s", text, r.count(text), want, strings.Join(r.all(), "\n"))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Logf("%q took %v", text, took.Round(100*time.Millisecond))
	}
}

// comes waits until the text came n times, or for the end.
func (r *record) comes(end <-chan time.Time, text string, n int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.count(text) < n {
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
	return true
}

// entry is one member of a JSON object.
type entry struct {
	key   string
	value json.RawMessage
}

// entries are an object's members in the order in which $.each sees them: keys that
// are numbers come first, by value.
func entries(object json.RawMessage) []entry {
	var m map[string]json.RawMessage
	if json.Unmarshal(object, &m) != nil {
		return nil // null, [] and texts have none
	}
	var all []entry
	for key, value := range m {
		all = append(all, entry{key, value})
	}
	slices.SortFunc(all, func(a, b entry) int {
		x, _ := strconv.Atoi(a.key)
		y, _ := strconv.Atoi(b.key)
		return x - y
	})
	return all
}
