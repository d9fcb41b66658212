package wpconfig

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// PHP values are nil, bool, int64, float64, string and *array, and two that
// PHP does not have:
//
//   - unknown: nobody but PHP can tell.
//   - doubtful: known if PHP's environment is the one given to Load, but it comes
//     straight from a variable that is missing there, so it must not be used.

type unknown struct{ why string }

type doubtful struct {
	value any
	why   string
}

// dotenvLoader is what Dotenv::create…() and new Dotenv() return.
type dotenvLoader struct {
	dir      any
	files    []string
	first    bool // stop at the first file that exists
	override bool // beats the real environment
}

// array is PHP's ordered map. It is copied on assignment, as PHP does.
type array struct {
	keys   []any // int64 or string
	values map[any]any
	next   int64
}

func newArray() *array { return &array{values: map[any]any{}} }

func (a *array) set(key, value any) {
	if n, ok := key.(int64); ok && n >= a.next && n < math.MaxInt64 {
		a.next = n + 1
	}
	if _, ok := a.values[key]; !ok {
		a.keys = append(a.keys, key)
	}
	a.values[key] = value
}

func (a *array) clone() *array {
	c := &array{keys: append([]any(nil), a.keys...), values: make(map[any]any, len(a.values)), next: a.next}
	for k, v := range a.values {
		c.values[k] = v
	}
	return c
}

// arrayKey converts as PHP does: "7" and true become integers, null becomes "".
func arrayKey(v any) (any, bool) {
	switch v := plain(v).(type) {
	case int64:
		return v, true
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && strconv.FormatInt(n, 10) == v {
			return n, true
		}
		return v, true
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case nil:
		return "", true
	}
	return nil, false
}

// plain drops the doubt from a value, for uses that only test it.
func plain(v any) any {
	if d, ok := v.(doubtful); ok {
		return d.value
	}
	return v
}

// doubt returns the reason why a value must not be used, and whether there is one.
func doubt(v any) (string, bool) {
	switch v := v.(type) {
	case unknown:
		return v.why, true
	case doubtful:
		return v.why, true
	}
	return "", false
}

// truth is PHP's conversion to bool; ok is false when only PHP knows.
func truth(v any) (result, ok bool) {
	switch v := plain(v).(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case int64:
		return v != 0, true
	case float64:
		return v != 0, true
	case string:
		return v != "" && v != "0", true
	case *array:
		return len(v.keys) > 0, true
	case dotenvLoader:
		return true, true
	}
	return false, false
}

// text is PHP's conversion to string. Floats are refused: their text depends on
// the ini setting "precision".
func text(v any) (string, bool) {
	switch v := plain(v).(type) {
	case nil:
		return "", true
	case bool:
		if v {
			return "1", true
		}
		return "", true
	case int64:
		return strconv.FormatInt(v, 10), true
	case string:
		return v, true
	}
	return "", false
}

// integer is PHP's conversion to int of values that are integers in disguise.
func integer(v any) (int64, bool) {
	switch v := plain(v).(type) {
	case nil:
		return 0, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func numeric(s string) (float64, bool) {
	s = strings.Trim(s, " \t\n\r\v\f")
	if s == "" || strings.ContainsAny(s, "xXpP_iInN") { // Go's extra forms
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// identical is PHP's ===.
func identical(a, b any) (result, ok bool) {
	a, b = plain(a), plain(b)
	if !scalar(a) || !scalar(b) {
		return false, false
	}
	return a == b, true
}

func scalar(v any) bool {
	switch v.(type) {
	case nil, bool, int64, float64, string:
		return true
	}
	return false
}

// equal is PHP 8's == for scalars.
func equal(a, b any) (result, ok bool) {
	a, b = plain(a), plain(b)
	if !scalar(a) || !scalar(b) {
		return false, false
	}
	_, aBool := a.(bool)
	_, bBool := b.(bool)
	aText, aIsText := a.(string)
	bText, bIsText := b.(string)
	switch {
	case aIsText && bIsText:
		x, xok := numeric(aText)
		y, yok := numeric(bText)
		return xok && yok && x == y || aText == bText, true
	case a == nil && bIsText, b == nil && aIsText:
		return aText == bText, true
	case aBool || bBool || a == nil || b == nil:
		x, _ := truth(a)
		y, _ := truth(b)
		return x == y, true
	}
	x, xok := float(a)
	y, yok := float(b)
	if xok && yok {
		return x == y, true
	}
	// A number against a text that is none: PHP 8 compares as texts.
	s, sok := text(a)
	t, tok := text(b)
	return s == t, sok && tok
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case string:
		return numeric(v)
	}
	return 0, false
}

// arithmetic does integers; anything else is left to PHP.
func arithmetic(op string, a, b int64) (int64, error) {
	switch op {
	case "|":
		return a | b, nil
	case "&":
		return a & b, nil
	case "^":
		return a ^ b, nil
	case "+":
		if sum := a + b; (sum > a) == (b > 0) {
			return sum, nil
		}
	case "-":
		if diff := a - b; (diff < a) == (b > 0) {
			return diff, nil
		}
	case "*":
		if product := a * b; a == 0 || product/a == b && (a != -1 || b != math.MinInt64) {
			return product, nil
		}
	case "/":
		if b != 0 && b != -1 && a%b == 0 {
			return a / b, nil
		}
	case "%":
		if b > 0 {
			return a % b, nil
		}
	case "<<":
		if b >= 0 && b < 64 {
			return a << b, nil
		}
	case ">>":
		if b >= 0 && b < 64 {
			return a >> b, nil
		}
	}
	return 0, fmt.Errorf("%d %s %d is not an integer", a, op, b)
}
