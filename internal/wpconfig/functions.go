package wpconfig

import (
	"crypto/md5" // configurations use it for COOKIEHASH
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// compute evaluates a function without side effects. Doubt about an argument
// carries over to the result.
func (e *evaluator) compute(name string, args []any) any {
	known := make([]any, len(args))
	var why string
	size := 0
	for i, arg := range args {
		if u, ok := arg.(unknown); ok {
			return u
		}
		if reason, ok := doubt(arg); ok && why == "" {
			why = reason
		}
		known[i] = plain(arg)
		s, _ := text(arg)
		size += len(s)
	}
	if !e.spend(size / 4) {
		return nil
	}
	fn, ok := pureFunctions[name]
	if !ok {
		return e.unknownf("%s() is not run by Holdline", name)
	}
	v, ok := fn(arguments(known))
	if s, isText := v.(string); isText {
		e.spend(len(s) / 4)
	} else if list, isArray := v.(*array); isArray {
		e.spend(8 * len(list.keys))
	}
	switch {
	case !ok:
		return e.unknownf("%s() with these arguments", name)
	case why != "":
		return doubtful{v, why}
	}
	return v
}

// arguments gives typed access; the second result is false for a missing or
// unsuitable argument.
type arguments []any

func (a arguments) text(i int) (string, bool) {
	if i >= len(a) {
		return "", false
	}
	return text(a[i])
}

func (a arguments) int(i int) (int, bool) {
	if i >= len(a) {
		return 0, false
	}
	n, ok := integer(a[i])
	return int(n), ok && n >= math.MinInt32 && n <= math.MaxInt32
}

func (a arguments) array(i int) (*array, bool) {
	if i >= len(a) {
		return nil, false
	}
	v, ok := a[i].(*array)
	return v, ok
}

type pureFunction func(arguments) (any, bool)

var pureFunctions = map[string]pureFunction{
	"md5":           textFunction(md5Hex),
	"sha1":          textFunction(sha1Hex),
	"hash":          hashFunction,
	"base64_encode": textFunction(func(s string) any { return base64.StdEncoding.EncodeToString([]byte(s)) }),
	"base64_decode": base64Decode,
	"bin2hex":       textFunction(func(s string) any { return hex.EncodeToString([]byte(s)) }),
	"strtolower":    textFunction(func(s string) any { return mapASCII(s, 'A', 'Z', 'a'-'A') }),
	"strtoupper":    textFunction(func(s string) any { return mapASCII(s, 'a', 'z', 'A'-'a') }),
	"strlen":        textFunction(func(s string) any { return int64(len(s)) }),
	"rawurldecode":  urlDecode(url.PathUnescape),
	"urldecode":     urlDecode(url.QueryUnescape),
	"trim":          trimFunction(strings.Trim),
	"ltrim":         trimFunction(strings.TrimLeft),
	"rtrim":         trimFunction(strings.TrimRight),
	"chop":          trimFunction(strings.TrimRight),

	"str_contains":    pairFunction(func(s, t string) any { return strings.Contains(s, t) }),
	"str_starts_with": pairFunction(func(s, t string) any { return strings.HasPrefix(s, t) }),
	"str_ends_with":   pairFunction(func(s, t string) any { return strings.HasSuffix(s, t) }),
	"strpos":          pairFunction(position),
	"stripos": pairFunction(func(s, t string) any {
		return position(mapASCII(s, 'A', 'Z', 'a'-'A'), mapASCII(t, 'A', 'Z', 'a'-'A'))
	}),

	"substr":      substr,
	"str_replace": strReplace,
	"explode":     explode,
	"implode":     implode,
	"join":        implode,
	"sprintf":     sprintf,
	"dirname":     dirname,
	"basename":    textFunction(func(s string) any { return strings.TrimPrefix(path.Base("/"+s), "/") }),
	"parse_url":   parseURL,
	"in_array":    inArray,

	"array_key_exists": arrayKeyExists,
	"count":            func(a arguments) (any, bool) { v, ok := a.array(0); return countOf(v), ok },
	"intval":           intval,
	"strval":           func(a arguments) (any, bool) { return a.text(0) },
	"boolval":          func(a arguments) (any, bool) { return truthArg(a) },
	"is_string":        typeTest(func(v any) bool { _, ok := v.(string); return ok }),
	"is_array":         typeTest(func(v any) bool { _, ok := v.(*array); return ok }),
	"is_null":          typeTest(func(v any) bool { return v == nil }),
	"is_bool":          typeTest(func(v any) bool { _, ok := v.(bool); return ok }),
	"is_int":           typeTest(func(v any) bool { _, ok := v.(int64); return ok }),
	"filter_var":       filterVar,
	"preg_replace":     pregReplace,
	"preg_match":       pregMatch,
}

func textFunction(fn func(string) any) pureFunction {
	return func(a arguments) (any, bool) {
		s, ok := a.text(0)
		if !ok || len(a) != 1 {
			return nil, false
		}
		return fn(s), true
	}
}

func pairFunction(fn func(s, t string) any) pureFunction {
	return func(a arguments) (any, bool) {
		s, ok := a.text(0)
		t, tok := a.text(1)
		if !ok || !tok || len(a) != 2 {
			return nil, false
		}
		return fn(s, t), true
	}
}

func typeTest(test func(any) bool) pureFunction {
	return func(a arguments) (any, bool) {
		if len(a) != 1 {
			return nil, false
		}
		return test(a[0]), true
	}
}

func intval(a arguments) (any, bool) {
	if len(a) != 1 {
		return nil, false
	}
	n, ok := integer(a[0])
	return n, ok
}

func truthArg(a arguments) (any, bool) {
	if len(a) != 1 {
		return nil, false
	}
	return truth(a[0])
}

func mapASCII(s string, first, last byte, delta int) string {
	out := []byte(s)
	for i, c := range out {
		if c >= first && c <= last {
			out[i] = byte(int(c) + delta)
		}
	}
	return string(out)
}

func position(s, t string) any {
	if i := strings.Index(s, t); i >= 0 {
		return int64(i)
	}
	return false
}

func countOf(a *array) any {
	if a == nil {
		return nil
	}
	return int64(len(a.keys))
}

func md5Hex(s string) any {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sha1Hex(s string) any {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func hashFunction(a arguments) (any, bool) {
	algorithm, _ := a.text(0)
	s, ok := a.text(1)
	if !ok || len(a) != 2 {
		return nil, false
	}
	switch mapASCII(algorithm, 'A', 'Z', 'a'-'A') {
	case "md5":
		return md5Hex(s), true
	case "sha1":
		return sha1Hex(s), true
	case "sha256":
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:]), true
	}
	return nil, false
}

func base64Decode(a arguments) (any, bool) {
	s, ok := a.text(0)
	if !ok {
		return nil, false
	}
	// PHP takes much else leniently; only the strict form is certain here.
	raw, err := base64.StdEncoding.DecodeString(s)
	return string(raw), err == nil
}

func urlDecode(decode func(string) (string, error)) pureFunction {
	return func(a arguments) (any, bool) {
		s, ok := a.text(0)
		if !ok {
			return nil, false
		}
		out, err := decode(s)
		return out, err == nil
	}
}

func trimFunction(trim func(s, cutset string) string) pureFunction {
	return func(a arguments) (any, bool) {
		s, ok := a.text(0)
		set := " \n\r\t\v\x00"
		if len(a) > 1 {
			var given bool
			set, given = a.text(1)
			ok = ok && given
		}
		for i := range len(set) {
			// Ranges a..z, and bytes that Go would take as parts of a rune.
			ok = ok && set[i] < 0x80
		}
		if !ok || strings.Contains(set, "..") {
			return nil, false
		}
		return trim(s, set), true
	}
}

func substr(a arguments) (any, bool) {
	s, ok := a.text(0)
	start, startOK := a.int(1)
	length := len(s)
	if len(a) > 2 && a[2] != nil {
		var given bool
		length, given = a.int(2)
		ok = ok && given
	}
	if !ok || !startOK {
		return nil, false
	}
	if start < 0 {
		start = max(0, len(s)+start)
	}
	start = min(start, len(s))
	end := start + length
	if length < 0 {
		end = len(s) + length
	}
	return s[start:min(max(start, end), len(s))], true
}

func strReplace(a arguments) (any, bool) {
	search, ok1 := a.text(0)
	replace, ok2 := a.text(1)
	subject, ok3 := a.text(2)
	if !ok1 || !ok2 || !ok3 || len(a) != 3 {
		return nil, false
	}
	if search == "" {
		return subject, true
	}
	if len(subject)+strings.Count(subject, search)*len(replace) > maxText {
		return nil, false
	}
	return strings.ReplaceAll(subject, search, replace), true
}

func explode(a arguments) (any, bool) {
	separator, ok := a.text(0)
	s, sok := a.text(1)
	limit := -1
	if len(a) > 2 {
		n, given := a.int(2)
		ok = ok && given && n > 0
		limit = n
	}
	if !ok || !sok || separator == "" {
		return nil, false
	}
	list := newArray()
	for _, part := range strings.SplitN(s, separator, limit) {
		list.set(list.next, part)
	}
	return list, true
}

func implode(a arguments) (any, bool) {
	glue, ok := a.text(0)
	list, lok := a.array(1)
	if !ok || !lok {
		return nil, false
	}
	size := 0
	parts := make([]string, len(list.keys))
	for i, key := range list.keys {
		if parts[i], ok = textArg([]any{list.values[key]}, 0); !ok {
			return nil, false
		}
		size += len(parts[i]) + len(glue)
	}
	return strings.Join(parts, glue), size <= maxText
}

// sprintf knows %s, %d and %%.
func sprintf(a arguments) (any, bool) {
	format, ok := a.text(0)
	if !ok {
		return nil, false
	}
	var b strings.Builder
	next := 1
	for {
		before, after, found := strings.Cut(format, "%")
		b.WriteString(before)
		if !found {
			return b.String(), b.Len() <= maxText
		}
		if after == "" {
			return nil, false
		}
		switch after[0] {
		case '%':
			b.WriteByte('%')
		case 's':
			s, ok := a.text(next)
			if !ok || b.Len()+len(s) > maxText {
				return nil, false
			}
			b.WriteString(s)
			next++
		case 'd':
			n, ok := a.int(next)
			if !ok {
				return nil, false
			}
			b.WriteString(strconv.Itoa(n))
			next++
		default:
			return nil, false
		}
		format = after[1:]
	}
}

func dirname(a arguments) (any, bool) {
	s, ok := a.text(0)
	levels := 1
	if len(a) > 1 {
		var given bool
		levels, given = a.int(1)
		ok = ok && given && levels >= 1
	}
	if !ok {
		return nil, false
	}
	for range min(levels, 100) {
		s = parent(s)
	}
	return s, true
}

// parent is PHP's dirname(), which unlike path.Dir leaves ".." alone.
func parent(s string) string {
	trimmed := strings.TrimRight(s, "/")
	i := strings.LastIndexByte(trimmed, '/')
	switch {
	case s == "":
		return ""
	case trimmed == "":
		return "/"
	case i < 0:
		return "."
	}
	if dir := strings.TrimRight(trimmed[:i], "/"); dir != "" {
		return dir
	}
	return "/"
}

func inArray(a arguments) (any, bool) {
	list, ok := a.array(1)
	if !ok || len(a) > 3 {
		return nil, false
	}
	same := equal
	if len(a) == 3 && a[2] == true {
		same = identical
	}
	for _, key := range list.keys {
		if _, doubted := doubt(list.values[key]); doubted {
			return nil, false
		}
		yes, known := same(a[0], list.values[key])
		if !known {
			return nil, false
		}
		if yes {
			return true, true
		}
	}
	return false, true
}

func arrayKeyExists(a arguments) (any, bool) {
	list, ok := a.array(1)
	if !ok {
		return nil, false
	}
	key, ok := arrayKey(a[0])
	_, exists := list.values[key]
	return exists, ok
}

func filterVar(a arguments) (any, bool) {
	s, ok := a.text(0)
	if !ok || len(a) != 2 || a[1] != phpConstants["FILTER_VALIDATE_BOOLEAN"] {
		return nil, false
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "true", "on", "yes":
		return true, true
	}
	return false, true
}
