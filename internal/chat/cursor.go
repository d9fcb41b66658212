package chat

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mark is how far one source has been read: every id up to Last has been handed
// on, but for the ids in Open, which were skipped and may still be committed
// (AUTO_INCREMENT order is not commit order; see DESIGN section 4).
type Mark struct {
	Last int64
	Open []int64 // ascending, each below Last; shared, never changed in place
}

// Has tells whether a reader at this mark has already seen the row id.
func (m Mark) Has(id int64) bool {
	if id > m.Last {
		return false
	}
	_, open := slices.BinarySearch(m.Open, id)
	return !open
}

// Cursor is the position of a client: one mark for each source it reads. The
// zero value stands nowhere. Its text is opaque to clients; with one source and
// no open ids it is that source's last row id.
//
// A Cursor is a value: methods never change it.
type Cursor struct {
	marks []namedMark // sorted by name, the primary source's (name "") first
	// tag stands for the states (status events) that a polling client has seen;
	// a stream is told them anew whenever it connects.
	tag uint32
}

type namedMark struct {
	source string
	mark   Mark
}

// Limits of a cursor's text. A cursor comes from a browser: what is longer is
// refused before it is looked at.
const (
	MaxCursorLength = 8 << 10
	// MaxOpen is how many open ids a cursor carries. With more than that in
	// doubt the oldest are left out, and a client that reconnects in that very
	// moment relies on the live connection having delivered them.
	MaxOpen    = 1024
	maxSources = 16
)

// ErrCursor is what every refused cursor text is.
var ErrCursor = errors.New("cursor is not one that this server gave out")

// At is the cursor of a reader of the primary source alone.
func At(m Mark) Cursor { return Cursor{marks: []namedMark{{"", m}}} }

// IsZero tells whether the cursor stands nowhere.
func (c Cursor) IsZero() bool { return len(c.marks) == 0 }

// Mark returns the position in a source; ok is false when the cursor has none.
func (c Cursor) Mark(source string) (m Mark, ok bool) {
	i, ok := c.find(source)
	if !ok {
		return Mark{}, false
	}
	return c.marks[i].mark, true
}

// Tag is the digest of the states that the client was last told; 0 for none.
func (c Cursor) Tag() uint32 { return c.tag }

// WithTag returns the cursor with the digest of states replaced.
func (c Cursor) WithTag(tag uint32) Cursor { return Cursor{c.marks, tag} }

// With returns the cursor with the position in one source replaced.
func (c Cursor) With(source string, m Mark) Cursor {
	i, ok := c.find(source)
	marks := slices.Clone(c.marks)
	if ok {
		marks[i].mark = m
	} else {
		marks = slices.Insert(marks, i, namedMark{source, m})
	}
	return Cursor{marks, c.tag}
}

func (c Cursor) find(source string) (int, bool) {
	return slices.BinarySearchFunc(c.marks, source, func(n namedMark, s string) int {
		return strings.Compare(n.source, s)
	})
}

// String is the text handed to clients: "1234", "1234-Aw" with open ids,
// "1234,other=77" with a second source, "1234~1x" with a digest of states. It
// holds no byte that an SSE field, an HTTP header or a query string would mind.
func (c Cursor) String() string {
	if len(c.marks) == 1 && c.marks[0].source == "" && len(c.marks[0].mark.Open) == 0 && c.tag == 0 {
		return strconv.FormatInt(c.marks[0].mark.Last, 10) // the common case, without a buffer
	}
	var b []byte
	for i, n := range c.marks {
		if i > 0 {
			b = append(b, ',')
		}
		if n.source != "" {
			b = append(append(b, n.source...), '=')
		}
		b = appendMark(b, n.mark)
	}
	if c.tag != 0 {
		b = strconv.AppendUint(append(b, '~'), uint64(c.tag), 36)
	}
	return string(b)
}

// appendMark writes the last id and, behind a dash, the open ones: base64url of
// the distances downward from Last as varints, because open ids lie close
// together and close to the end.
func appendMark(b []byte, m Mark) []byte {
	b = strconv.AppendInt(b, m.Last, 10)
	if len(m.Open) == 0 {
		return b
	}
	open := m.Open[max(0, len(m.Open)-MaxOpen):]
	var deltas []byte
	above := m.Last
	for _, id := range slices.Backward(open) {
		deltas = binary.AppendUvarint(deltas, uint64(above-id))
		above = id
	}
	return base64.RawURLEncoding.AppendEncode(append(b, '-'), deltas)
}

// ParseCursor reads a text that String wrote. The empty text is the zero
// cursor. Every other error is ErrCursor with the reason.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	if len(text) > MaxCursorLength {
		return Cursor{}, fmt.Errorf("%w: longer than %d bytes", ErrCursor, MaxCursorLength)
	}
	var c Cursor
	text, tag, tagged := strings.Cut(text, "~")
	for part := range strings.SplitSeq(text, ",") {
		source, rest, named := strings.Cut(part, "=")
		if !named {
			source, rest = "", part
		} else if _, _, err := SplitChannel(source + "/x"); err != nil {
			return Cursor{}, fmt.Errorf("%w: a source has no such name", ErrCursor)
		}
		if _, twice := c.Mark(source); twice || len(c.marks) == maxSources {
			return Cursor{}, fmt.Errorf("%w: a source twice, or too many", ErrCursor)
		}
		m, err := parseMark(rest)
		if err != nil {
			return Cursor{}, err
		}
		c = c.With(source, m)
	}
	if tagged {
		digest, err := strconv.ParseUint(tag, 36, 32)
		if err != nil || digest == 0 {
			return Cursor{}, fmt.Errorf("%w: digest of states is damaged", ErrCursor)
		}
		c.tag = uint32(digest)
	}
	return c, nil
}

func parseMark(text string) (Mark, error) {
	last, open, gaps := strings.Cut(text, "-")
	id, err := strconv.ParseUint(last, 10, 63)
	if err != nil || (len(last) > 1 && last[0] == '0') || last[0] == '+' {
		return Mark{}, fmt.Errorf("%w: not a row id", ErrCursor)
	}
	m := Mark{Last: int64(id)}
	if !gaps {
		return m, nil
	}
	deltas, err := base64.RawURLEncoding.Strict().DecodeString(open)
	if err != nil || len(deltas) == 0 {
		return Mark{}, fmt.Errorf("%w: open ids are damaged", ErrCursor)
	}
	above := m.Last
	for len(deltas) > 0 {
		d, n := binary.Uvarint(deltas)
		if n <= 0 || d == 0 || d >= uint64(above) || len(m.Open) == MaxOpen {
			return Mark{}, fmt.Errorf("%w: open ids are damaged", ErrCursor)
		}
		above -= int64(d)
		m.Open = append(m.Open, above)
		deltas = deltas[n:]
	}
	slices.Reverse(m.Open)
	return m, nil
}
