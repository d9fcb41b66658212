package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, written 1048576, 1024KiB or 1MiB.
type ByteSize int64

// The units a ByteSize may be written in.
const (
	KiB ByteSize = 1 << 10
	MiB ByteSize = 1 << 20
	GiB ByteSize = 1 << 30
)

// byteUnits is from large to small, the order String tries them in.
var byteUnits = [...]struct {
	name string
	size ByteSize
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// ParseByteSize reads what String writes. Decimal units (MB, kB) are refused: people mean either 1000 or 1024 by them.
func ParseByteSize(text string) (ByteSize, error) {
	unit := ByteSize(1)
	for _, u := range byteUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = number, u.size
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && ByteSize(n) > math.MaxInt64/unit:
		return 0, errors.New("is too large")
	case err != nil:
		return 0, errors.New("is not a size")
	}
	return ByteSize(n) * unit, nil
}

// String writes the size in the largest unit that divides it.
func (b ByteSize) String() string {
	for _, u := range byteUnits {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
