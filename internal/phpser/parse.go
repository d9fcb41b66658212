package phpser

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits of [Parse]. WordPress values stay far below them; they keep a hostile
// or damaged row from costing more than a few megabytes and a shallow stack.
const (
	MaxBytes = 4 << 20 // length of the serialized text
	MaxDepth = 16      // arrays within arrays
	MaxItems = 100_000 // array entries in total
)

// Errors of [Parse]; test with errors.Is. The text of the error returned also
// says at which byte.
var (
	// ErrSyntax means the text is not what serialize() writes: cut off,
	// damaged, or read over a connection with another charset, which changes
	// the byte lengths.
	ErrSyntax = errors.New("not valid PHP serialized data")
	// ErrUnsupported means an object, enum, reference or escaped string.
	ErrUnsupported = errors.New("PHP objects and references are not read")
	// ErrLimit means one of MaxBytes, MaxDepth and MaxItems is exceeded.
	ErrLimit = errors.New("PHP serialized data is too large")
)

// phpSpace is what PHP's trim() removes.
const phpSpace = " \t\n\r\x00\x0b"

// minElement is the length of the shortest array entry, `i:0;N;`.
const minElement = 6

// Parse reads one serialized value. White space around it is ignored, as
// WordPress's maybe_unserialize() does; anything else after it is an error.
//
// Parse is stricter than PHP in two points, both of which serialize() never
// writes: an int beyond 64 bits is an error instead of the nearest int, and so
// are bytes after the value.
//
// A duplicate key keeps the place of the first entry and takes the value of the
// last, as in PHP. The result does not alias data.
func Parse(data []byte) (Value, error) {
	if len(data) > MaxBytes {
		return Value{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrLimit, len(data), MaxBytes)
	}
	// One copy for all: the strings of the result are slices of it.
	p := parser{in: string(bytes.Trim(data, phpSpace))}
	v, err := p.value(0)
	if err != nil {
		return Value{}, fmt.Errorf("read PHP value at byte %d: %w", p.pos, err)
	}
	if p.pos != len(p.in) {
		return Value{}, fmt.Errorf("read PHP value: %w: the value ends at byte %d of %d", ErrSyntax, p.pos, len(p.in))
	}
	return v, nil
}

type parser struct {
	in    string
	pos   int
	items int
}

// value reads one value; depth is the number of arrays around it.
func (p *parser) value(depth int) (Value, error) {
	tag, err := p.tag()
	if err != nil {
		return Value{}, err
	}
	switch tag {
	case 'N':
		return Value{}, nil
	case 'b':
		return p.bool()
	case 'i':
		n, err := p.int()
		return Value{kind: Int, num: uint64(n)}, err
	case 'd':
		return p.float()
	case 's':
		s, err := p.string()
		return Value{kind: String, str: s}, err
	default:
		return p.array(depth)
	}
}

// tag reads the type letter and the byte after it.
func (p *parser) tag() (byte, error) {
	rest := p.in[p.pos:]
	if len(rest) < 2 {
		return 0, fmt.Errorf("%w: the text ends where a value should begin", ErrSyntax)
	}
	tag, after := rest[0], byte(':')
	switch tag {
	case 'N':
		after = ';'
	case 'b', 'i', 'd', 's', 'a':
	case 'O', 'C', 'E', 'r', 'R', 'S':
		return 0, fmt.Errorf("%w: type %q", ErrUnsupported, tag)
	default:
		return 0, fmt.Errorf("%w: unknown type %q", ErrSyntax, tag)
	}
	if rest[1] != after {
		return 0, fmt.Errorf("%w: type %q is followed by %q", ErrSyntax, tag, rest[1])
	}
	p.pos += 2
	return tag, nil
}

func (p *parser) bool() (Value, error) {
	s, err := p.until(';', len("0"))
	if err != nil {
		return Value{}, err
	}
	switch s {
	case "0":
		return Value{kind: Bool}, nil
	case "1":
		return Value{kind: Bool, num: 1}, nil
	}
	return Value{}, fmt.Errorf("%w: bool %q", ErrSyntax, s)
}

func (p *parser) int() (int64, error) {
	// PHP takes any number of leading zeros; 32 bytes are plenty.
	s, err := p.until(';', 32)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: int %q", ErrSyntax, s)
	}
	return n, nil
}

func (p *parser) float() (Value, error) {
	// The longest double PHP writes with serialize_precision=100 has about
	// 110 digits, plus sign, point and up to 308 zeros.
	s, err := p.until(';', 512)
	if err != nil {
		return Value{}, err
	}
	f, ok := parseFloat(s)
	if !ok {
		return Value{}, fmt.Errorf("%w: a float that is no number", ErrSyntax)
	}
	return Value{kind: Float, num: math.Float64bits(f)}, nil
}

// parseFloat takes the forms of PHP's var_unserializer.re, which leave out
// the hexadecimal, underscored and lower-case words strconv knows.
func parseFloat(s string) (float64, bool) {
	switch s {
	case "INF":
		return math.Inf(1), true
	case "-INF":
		return math.Inf(-1), true
	case "NAN":
		return math.NaN(), true
	}
	if strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	// Out of range is ±Inf in both languages.
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// string reads LEN:"BYTES"; where LEN counts bytes and BYTES is not escaped.
func (p *parser) string() (string, error) {
	n, err := p.length()
	if err != nil {
		return "", err
	}
	rest := p.in[p.pos:]
	// Comparing this way round cannot overflow: n is not negative.
	if n > len(rest)-len(`"";`) {
		return "", fmt.Errorf("%w: a string of %d bytes in the last %d", ErrSyntax, n, len(rest))
	}
	if rest[0] != '"' || rest[n+1:n+3] != `";` {
		return "", fmt.Errorf("%w: the length of a string, %d, is wrong (was the row read with another charset?)", ErrSyntax, n)
	}
	p.pos += n + len(`"";`)
	return rest[1 : n+1], nil
}

func (p *parser) array(depth int) (Value, error) {
	if depth >= MaxDepth {
		return Value{}, fmt.Errorf("%w: arrays more than %d deep", ErrLimit, MaxDepth)
	}
	n, err := p.length()
	if err != nil {
		return Value{}, err
	}
	if err := p.expect('{'); err != nil {
		return Value{}, err
	}
	// Both tests come before the slice is made, so a large count costs nothing.
	if n > (len(p.in)-p.pos)/minElement {
		return Value{}, fmt.Errorf("%w: an array of %d entries in the last %d bytes", ErrSyntax, n, len(p.in)-p.pos)
	}
	if p.items += n; p.items > MaxItems {
		return Value{}, fmt.Errorf("%w: more than %d array entries", ErrLimit, MaxItems)
	}
	b := builder{arr: make([]element, 0, n)}
	for range n {
		key, err := p.key()
		if err != nil {
			return Value{}, err
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		b.set(key, v)
	}
	if err := p.expect('}'); err != nil {
		return Value{}, err
	}
	return Value{kind: Array, arr: b.arr}, nil
}

func (p *parser) key() (Key, error) {
	tag, err := p.tag()
	if err != nil {
		return Key{}, err
	}
	switch tag {
	case 'i':
		n, err := p.int()
		return IntKey(n), err
	case 's':
		s, err := p.string()
		return StringKey(s), err
	}
	return Key{}, fmt.Errorf("%w: type %q as an array key", ErrSyntax, tag)
}

// length reads decimal digits and the colon after them.
func (p *parser) length() (int, error) {
	s, err := p.until(':', 20)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: length %q", ErrSyntax, s)
	}
	return int(n), nil
}

func (p *parser) expect(c byte) error {
	if p.pos >= len(p.in) || p.in[p.pos] != c {
		return fmt.Errorf("%w: expected %q", ErrSyntax, c)
	}
	p.pos++
	return nil
}

// until returns the text before the next stop, at most limit bytes of it, and
// steps over stop.
func (p *parser) until(stop byte, limit int) (string, error) {
	window := p.in[p.pos:]
	if len(window) > limit+1 {
		window = window[:limit+1]
	}
	i := strings.IndexByte(window, stop)
	if i < 0 {
		return "", fmt.Errorf("%w: no %q where one is due", ErrSyntax, stop)
	}
	p.pos += i + 1
	return window[:i], nil
}

// builder collects the entries of one array and resolves duplicate keys.
type builder struct {
	arr   []element
	index map[Key]int // nil while arr is short enough to look through
}

// indexFrom is the array length from which a map beats looking through.
const indexFrom = 16

func (b *builder) set(key Key, v Value) {
	if i, ok := b.find(key); ok {
		b.arr[i].value = v
		return
	}
	if b.index != nil {
		b.index[key] = len(b.arr)
	}
	b.arr = append(b.arr, element{key, v})
	if b.index == nil && len(b.arr) == indexFrom {
		b.index = make(map[Key]int, cap(b.arr))
		for i := range b.arr {
			b.index[b.arr[i].key] = i
		}
	}
}

func (b *builder) find(key Key) (int, bool) {
	if b.index != nil {
		i, ok := b.index[key]
		return i, ok
	}
	for i := range b.arr {
		if b.arr[i].key == key {
			return i, true
		}
	}
	return 0, false
}
