package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A segment file is a header and frames, all little-endian:
//
//	header: magic(8) version(2) zero(2) marker(8) created(8, Unix ns) crc32c(4)
//	frame:  marker(8) length(4) crc32c(4) payload(length)
//	payload: kind(1) seq(8) time(8, Unix ns) ref(8) lane length(1) id length(1) lane id body
//
// The marker is random for each file and never leaves it. It finds the next frame
// after a damaged one, and because nobody outside can know it, a body cannot hold
// bytes that pass for a frame when the frame around it is damaged.
const (
	magic      = "HOLDSPOL"
	version    = 1
	headerSize = 32
	frameHead  = 16
	fixedSize  = 27

	maxName    = 255 // bytes of a lane or client id: their lengths are one byte
	maxBody    = 1 << 20
	maxPayload = fixedSize + 2*maxName + maxBody
	minSegment = 1 << 10
	maxSegment = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kind is what an item says.
type kind byte

const (
	kindPut       kind = iota + 1 // a record
	kindStored                    // its mark: done
	kindRefused                   // its mark: refused
	kindWithdrawn                 // its mark: never acknowledged, because the disk failed
)

// item is one frame's meaning.
type item struct {
	kind kind
	seq  uint64
	time int64
	ref  int64 // of a stored mark
	lane string
	id   string
	body []byte // of a record; as read, it shares the input's memory
}

func (it item) frameSize() int64 {
	return int64(frameHead + fixedSize + len(it.lane) + len(it.id) + len(it.body))
}

type marker [8]byte

func newMarker() marker {
	var m marker
	_, _ = rand.Read(m[:]) // crypto/rand: Read never returns an error since Go 1.24
	return m
}

var (
	errHeader  = errors.New("its header is damaged")
	errVersion = errors.New("it was written by a newer Holdline")
)

func appendHeader(dst []byte, m marker, created time.Time) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = append(dst, 0, 0)
	dst = append(dst, m[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(created.UnixNano()))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// parseHeader wants a whole header. The version is looked at only when the
// checksum is right: a damaged file is not a newer one.
func parseHeader(b []byte) (marker, error) {
	if len(b) < headerSize || string(b[:8]) != magic ||
		crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		return marker{}, errHeader
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != version {
		return marker{}, fmt.Errorf("%w (format %d, this one knows %d): start that one, or empty the folder", errVersion, v, version)
	}
	return marker(b[12:20]), nil
}

// frameSum covers the marker too, so that a frame counts in its own file only.
func frameSum(m marker, length, payload []byte) uint32 {
	sum := crc32.Update(crc32.Checksum(m[:], castagnoli), castagnoli, length)
	return crc32.Update(sum, castagnoli, payload)
}

func appendFrame(dst []byte, m marker, it item) []byte {
	start := len(dst)
	dst = append(dst, m[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(it.frameSize()-frameHead))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, byte(it.kind))
	dst = binary.LittleEndian.AppendUint64(dst, it.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(it.time))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(it.ref))
	dst = append(dst, byte(len(it.lane)), byte(len(it.id)))
	dst = append(dst, it.lane...)
	dst = append(dst, it.id...)
	dst = append(dst, it.body...)
	frame := dst[start:]
	binary.LittleEndian.PutUint32(frame[12:], frameSum(m, frame[8:12], frame[frameHead:]))
	return dst
}

var errFrame = errors.New("its checksum is wrong")

// parseFrame reads the frame at the start of b and its size.
func parseFrame(b []byte, m marker) (item, int, error) {
	if len(b) < frameHead || marker(b[:8]) != m {
		return item{}, 0, errFrame
	}
	length := binary.LittleEndian.Uint32(b[8:])
	if length < fixedSize || length > maxPayload || int(length) > len(b)-frameHead {
		return item{}, 0, errFrame
	}
	size := frameHead + int(length)
	payload := b[frameHead:size]
	if frameSum(m, b[8:12], payload) != binary.LittleEndian.Uint32(b[12:]) {
		return item{}, 0, errFrame
	}
	it := item{
		kind: kind(payload[0]),
		seq:  binary.LittleEndian.Uint64(payload[1:]),
		time: int64(binary.LittleEndian.Uint64(payload[9:])),
		ref:  int64(binary.LittleEndian.Uint64(payload[17:])),
	}
	lane, id := int(payload[25]), int(payload[26])
	rest := payload[fixedSize:]
	if it.kind < kindPut || it.kind > kindWithdrawn || lane+id > len(rest) {
		return item{}, 0, errFrame
	}
	it.lane, it.id, it.body = string(rest[:lane]), string(rest[lane:lane+id]), rest[lane+id:]
	return it, size, nil
}

// damage is what scan could not read.
type damage struct {
	corrupt int   // frames that good ones follow
	skipped int64 // bytes of those
	torn    int64 // bytes after the last good frame
}

// scan calls found for each good frame of a segment's bytes, whose header is
// good. It steps over what it cannot read to the next marker.
func scan(data []byte, m marker, found func(off int64, size int, it item)) damage {
	var d damage
	good := headerSize // the end of what was read
	for at := headerSize; at < len(data); {
		it, size, err := parseFrame(data[at:], m)
		if err != nil {
			step := bytes.Index(data[at+1:], m[:])
			if step < 0 {
				break
			}
			at += 1 + step
			continue
		}
		if at > good {
			d.corrupt += max(1, bytes.Count(data[good:at], m[:]))
			d.skipped += int64(at - good)
		}
		found(int64(at), size, it)
		at += size
		good = at
	}
	d.torn = int64(len(data) - good)
	return d
}
