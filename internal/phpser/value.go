// Package phpser reads the output of PHP's serialize() and prints it again as
// PHP's json_encode() would. WordPress keeps options, user meta and the chat
// plugins' free-form columns in that format.
//
// Only plain data is read: null, booleans, integers, floats, strings and
// arrays. Objects, enums and references are refused: WordPress itself never
// writes them into the rows this program reads, a visitor may well try to, and
// guessing at them helps nobody but an attacker.
//
// All functions are pure and safe for concurrent use; a [Value] is immutable.
package phpser

import (
	"iter"
	"math"
	"strconv"
	"strings"
)

// Kind is the PHP type of a [Value].
type Kind uint8

// The kinds of PHP data this package reads.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Array
)

// String returns the name of the kind as PHP's gettype() spells it in current
// versions of its error messages.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "bool"
	case Int:
		return "int"
	case Float:
		return "float"
	case String:
		return "string"
	case Array:
		return "array"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one PHP value. The zero Value is null.
type Value struct {
	kind Kind
	num  uint64 // Bool: 0 or 1; Int: two's complement; Float: IEEE 754 bits
	str  string
	arr  []element
}

// element is one entry of an array, in PHP's insertion order.
type element struct {
	key   Key
	value Value
}

// Kind returns the PHP type of v.
func (v Value) Kind() Kind { return v.kind }

// Bool returns the value of a PHP bool; ok is false for any other kind.
// See [Value.Truthy] for PHP's cast.
func (v Value) Bool() (b, ok bool) { return v.num != 0, v.kind == Bool }

// Int returns the value of a PHP int; ok is false for any other kind.
// See [Value.Number] for numbers which plugins stored as text.
func (v Value) Int() (n int64, ok bool) {
	if v.kind != Int {
		return 0, false
	}
	return int64(v.num), true
}

// Float returns the value of a PHP float; ok is false for any other kind.
// It may be infinite or NaN.
func (v Value) Float() (f float64, ok bool) {
	if v.kind != Float {
		return 0, false
	}
	return math.Float64frombits(v.num), true
}

// Text returns the bytes of a PHP string, which need not be UTF-8; ok is false
// for any other kind.
func (v Value) Text() (s string, ok bool) { return v.str, v.kind == String }

// Truthy is PHP's (bool) cast: false for null, false, 0, 0.0, "", "0" and the
// empty array.
func (v Value) Truthy() bool {
	switch v.kind {
	case Bool, Int:
		return v.num != 0
	case Float:
		return math.Float64frombits(v.num) != 0
	case String:
		return v.str != "" && v.str != "0"
	case Array:
		return len(v.arr) > 0
	default:
		return false
	}
}

// Number returns an int, a float cut to its whole part, or a decimal string as
// an integer, because plugins store time stamps and ids in all three ways.
// ok is false for every other kind and for what does not fit in 64 bits.
func (v Value) Number() (n int64, ok bool) {
	switch v.kind {
	case Int:
		return int64(v.num), true
	case Float:
		f := math.Trunc(math.Float64frombits(v.num))
		// -2^63 is exact as a float64, 2^63-1 is not: hence >= and <.
		if !(f >= math.MinInt64 && f < math.MaxInt64) {
			return 0, false
		}
		return int64(f), true
	case String:
		n, err := strconv.ParseInt(v.str, 10, 64)
		return n, err == nil
	default:
		return 0, false
	}
}

// Len returns the number of entries of an array, 0 for any other kind.
func (v Value) Len() int { return len(v.arr) }

// Get returns the entry of an array whose key is the string key, which PHP
// treats as the int key when it is a canonical decimal ("7", not "07"). ok is
// false when v is no array or has no such key. It looks at every entry in turn.
func (v Value) Get(key string) (value Value, ok bool) {
	k := StringKey(key)
	for i := range v.arr {
		if v.arr[i].key == k {
			return v.arr[i].value, true
		}
	}
	return Value{}, false
}

// All yields the entries of an array in PHP's order, nothing for other kinds.
func (v Value) All() iter.Seq2[Key, Value] {
	return func(yield func(Key, Value) bool) {
		for i := range v.arr {
			if !yield(v.arr[i].key, v.arr[i].value) {
				return
			}
		}
	}
}

// isList tells whether the keys are 0, 1, 2, … in this order (PHP's
// array_is_list), which decides between [] and {} in JSON.
func (v Value) isList() bool {
	for i := range v.arr {
		if v.arr[i].key != IntKey(int64(i)) {
			return false
		}
	}
	return true
}

// Key is the key of an array entry: an int or a string. Keys compare with ==.
type Key struct {
	n     int64
	s     string
	isStr bool
}

// IntKey returns the int key n.
func IntKey(n int64) Key { return Key{n: n} }

// StringKey returns the key PHP uses for the string s: an int key when s is the
// canonical decimal form of a 64-bit integer, otherwise s itself.
func StringKey(s string) Key {
	if n, ok := canonicalInt(s); ok {
		return Key{n: n}
	}
	return Key{s: s, isStr: true}
}

// Int returns the value of an int key; ok is false for a string key.
func (k Key) Int() (n int64, ok bool) { return k.n, !k.isStr }

// String returns a string key as it is and an int key in decimal.
func (k Key) String() string {
	if k.isStr {
		return k.s
	}
	return strconv.FormatInt(k.n, 10)
}

// canonicalInt follows ZEND_HANDLE_NUMERIC_STR: no leading zero, no plus sign,
// no "-0", nothing outside the 64-bit range.
func canonicalInt(s string) (int64, bool) {
	if s == "" || len(s) > len("-9223372036854775808") {
		return 0, false
	}
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' {
		return 0, false
	}
	if digits[0] == '0' && s != "0" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
