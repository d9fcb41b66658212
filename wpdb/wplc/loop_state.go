package wplc

import (
	"context"
	"slices"
	"strings"
	"time"

	"holdline/internal/phpser"
)

// loopTiming is how long PHP would hold a loop, and how often it looks.
type loopTiming struct {
	rounds int
	pause  time.Duration
}

// maxHold keeps a hold below the 120 seconds after which the plugin's JavaScript
// gives up; the settings allow 200 s.
const maxHold = 110 * time.Second

func (t loopTiming) hold() time.Duration { return min(time.Duration(t.rounds)*t.pause, maxHold) }

// loopTiming reads wplc_advanced_settings as ajax_new.php:32-63 does. 5.x has no
// settings.
func (s *Source) loopTiming(ctx context.Context) (loopTiming, error) {
	t := loopTiming{rounds: 55, pause: 500 * time.Millisecond}
	if s.facts.Version == 5 {
		return t, nil
	}
	settings, _, err := s.setting(ctx, "wplc_advanced_settings")
	if err != nil || !settings.Truthy() {
		return t, err
	}
	t.rounds = int(clamped(settings, "wplc_iterations", 10, 200, 55))
	t.pause = time.Duration(clamped(settings, "wplc_delay_between_loops", 250_000, 1_000_000, 500_000)) * time.Microsecond
	return t, nil
}

// clamped is a number among settings; what is no number counts as 0, as in PHP.
func clamped(settings phpser.Value, key string, lowest, highest, otherwise int64) int64 {
	v, ok := settings.Get(key)
	if !ok {
		return otherwise
	}
	n, _ := v.Number()
	return min(max(n, lowest), highest)
}

// LoopState is what PHP keeps in the variables of one request. The zero value is
// that of a new one, apart from Cursor: set it to what the client's last Answer
// that was written had.
type LoopState struct {
	Cursor LoopCursor

	began  time.Time
	timing loopTiming
	round  int   // the last one that was run
	agent  *bool // of the user, once known

	array phpArray // of the visitor's loop
	debug string
	held  string // what each round that passes adds to debug

	// PHP's writes are made by others, later. moved is one that the rows may not
	// show yet: who reads movedFrom takes it for movedTo.
	moved              bool
	movedFrom, movedTo int64
	late               []string // the column session before this request's write, see tabs
}

// clone is a copy on which a round can work and fail.
func (st *LoopState) clone() *LoopState {
	next := *st
	next.array = slices.Clone(st.array)
	return &next
}

// begin goes on to the round that PHP would be in. An event may come within the
// pause: then PHP would not have looked until the next round, so that is the one.
func (s *Source) begin(ctx context.Context, l *Loop, st *LoopState) error {
	if st.round == 0 {
		timing, err := s.loopTiming(ctx)
		if err != nil {
			return err
		}
		st.timing, st.began, st.round = timing, time.Now(), 1
		return nil
	}
	now := 1 + int(time.Since(st.began)/st.timing.pause)
	last := min(max(now, st.round+1), st.timing.rounds)
	if passed := last - st.round - 1; passed > 0 {
		st.debug += strings.Repeat(st.held, passed)
	}
	st.round = last
	return nil
}

// phpArray is a PHP array with string keys: a key keeps the place where it was
// first set.
type phpArray []phpField

type phpField struct {
	key   string
	value []byte // JSON
}

func (a *phpArray) set(key string, value []byte) {
	for i := range *a {
		if (*a)[i].key == key {
			(*a)[i].value = value
			return
		}
	}
	a.add(key, value)
}

// add is set for a key that is new: lists can be long.
func (a *phpArray) add(key string, value []byte) { *a = append(*a, phpField{key, value}) }

// isSet is PHP's isset: null is not.
func (a phpArray) isSet(key string) bool {
	return slices.ContainsFunc(a, func(f phpField) bool { return f.key == key && string(f.value) != "null" })
}

// json prints the array; an empty one is [] in PHP.
func (a phpArray) json() []byte {
	if len(a) == 0 {
		return []byte("[]")
	}
	size := 2
	for _, f := range a {
		size += len(f.key) + len(f.value) + 4
	}
	out := append(make([]byte, 0, size), '{')
	for i, f := range a {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, jsonText(f.key)...), ':')
		out = append(out, f.value...)
	}
	return append(out, '}')
}

// jsonText prints a string. Of bytes that are not UTF-8 PHP would make an empty
// answer, which the browser asks for again at once, for ever.
func jsonText(s string) []byte {
	out, err := phpser.AppendJSONString(make([]byte, 0, len(s)+2), s)
	if err != nil {
		out, _ = phpser.AppendJSONString(nil, strings.ToValidUTF8(s, "\uFFFD"))
	}
	return out
}
