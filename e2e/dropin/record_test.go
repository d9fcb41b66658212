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
	site  string // the front's address
	mu    sync.Mutex
	lines []string
}

var (
	cidInText  = regexp.MustCompile(`cid=('?)\d+`)
	timeInText = regexp.MustCompile(`\d\d \w{3} \d{4} \d\d:\d\d:\d\d`)
	windowName = regexp.MustCompile(`WP_Live_Chat_\d+`)
)

// add notes a line.
func (r *record) add(line string) {
	line = strings.ReplaceAll(line, r.site, "SITE")
	line = cidInText.ReplaceAllString(line, "cid=${1}N")
	line = timeInText.ReplaceAllString(line, "TIME")
	line = windowName.ReplaceAllString(line, "WP_Live_Chat_N")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// say notes one message as an answer had it: text, and all other keys with their types.
func (r *record) say(message json.RawMessage) {
	var m map[string]any
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.UseNumber()
	if err := decoder.Decode(&m); err != nil {
		r.add("no message: " + string(message))
		return
	}
	if other, ok := m["other"].(map[string]any); ok {
		for _, key := range []string{"datetime", "datetimeUTC"} {
			if _, ok := other[key].(json.Number); ok {
				other[key] = "TIME"
			}
		}
	}
	r.add("says " + encode(m))
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
	end := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.count(text) < want {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%q came %d times, want %d; seen so far:\n%s", text, r.count(text), want, strings.Join(r.all(), "\n"))
		}
	}
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
