package phpser

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Errors of [AppendJSON] and [AppendJSONString]. On either, PHP's json_encode
// returns false and a plugin that echoes the result sends an empty body.
var (
	ErrInvalidUTF8 = errors.New("text is not valid UTF-8, which JSON cannot carry")
	ErrNotFinite   = errors.New("number is infinite or NaN, which JSON cannot carry")
)

// AppendJSON appends v to dst as PHP 7.1 or later prints it with json_encode
// and no flags: an array whose keys are 0, 1, 2, … becomes a JSON list (so
// does the empty array), any other an object in the same order; floats have
// the fewest digits that read back equal (serialize_precision=-1).
// On error the returned slice is dst unchanged.
func AppendJSON(dst []byte, v Value) ([]byte, error) {
	out, err := appendValue(dst, v)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// appendValue recurses at most MaxDepth times: only Parse makes arrays.
func appendValue(dst []byte, v Value) ([]byte, error) {
	switch v.kind {
	case Bool:
		return strconv.AppendBool(dst, v.num != 0), nil
	case Int:
		return strconv.AppendInt(dst, int64(v.num), 10), nil
	case Float:
		return appendFloat(dst, math.Float64frombits(v.num))
	case String:
		return AppendJSONString(dst, v.str)
	case Array:
		return appendArray(dst, v)
	default:
		return append(dst, "null"...), nil
	}
}

func appendArray(dst []byte, v Value) ([]byte, error) {
	list := v.isList()
	open, shut := byte('{'), byte('}')
	if list {
		open, shut = '[', ']'
	}
	var err error
	for i := range v.arr {
		if i == 0 {
			dst = append(dst, open)
		} else {
			dst = append(dst, ',')
		}
		if !list {
			if dst, err = AppendJSONString(dst, v.arr[i].key.String()); err != nil {
				return nil, err
			}
			dst = append(dst, ':')
		}
		if dst, err = appendValue(dst, v.arr[i].value); err != nil {
			return nil, err
		}
	}
	if len(v.arr) == 0 {
		dst = append(dst, open)
	}
	return append(dst, shut), nil
}

// AppendJSONString appends s to dst in quotes, as PHP's json_encode prints a
// string with no flags: "/" becomes "\/", every character beyond ASCII becomes
// \uXXXX in lower-case hex (two of them beyond U+FFFF), while < > & ' and DEL
// stay. On error (s is not UTF-8) the returned slice is dst unchanged.
func AppendJSONString(dst []byte, s string) ([]byte, error) {
	out := append(dst, '"')
	done := 0 // s[:done] is already in out
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '/' {
			i++
			continue
		}
		out = append(out, s[done:i]...)
		if c < utf8.RuneSelf {
			out = appendEscape(out, c)
			i++
		} else {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return dst, ErrInvalidUTF8
			}
			out = appendRune(out, r)
			i += size
		}
		done = i
	}
	out = append(out, s[done:]...)
	return append(out, '"'), nil
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\', '/':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return appendHex(dst, uint16(c))
}

func appendRune(dst []byte, r rune) []byte {
	if r <= math.MaxUint16 {
		return appendHex(dst, uint16(r))
	}
	hi, lo := utf16.EncodeRune(r)
	return appendHex(appendHex(dst, uint16(hi)), uint16(lo))
}

func appendHex(dst []byte, u uint16) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}

// appendFloat follows zend_gcvt with 17 digits and mode 0, which
// serialize_precision=-1 selects: plain notation from 1e-4 up to, not
// including, 1e17, else d.ddde±x with at least one digit after the point.
func appendFloat(dst []byte, f float64) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, ErrNotFinite
	}
	if abs := math.Abs(f); f == 0 || (abs >= 1e-4 && abs < 1e17) {
		return strconv.AppendFloat(dst, f, 'f', -1, 64), nil
	}
	// strconv writes -d.ddde-07; PHP wants a point and no zero in the exponent.
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	dst = append(dst, mantissa...)
	if !strings.Contains(mantissa, ".") {
		dst = append(dst, ".0"...)
	}
	dst = append(dst, 'e', exponent[0])
	return append(dst, strings.TrimLeft(exponent[1:], "0")...), nil
}
