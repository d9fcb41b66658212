package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// filled makes a folder with one segment of n records of lane 1, and returns its
// path and where each frame begins.
func filled(t testing.TB, n int) (path string, offsets []int64) {
	t.Helper()
	dir := t.TempDir()
	s := mustRun(t, dir, Options{})
	for i := range n {
		mustPut(t, s, "1", fmt.Sprint(i), strings.Repeat("x", 50))
	}
	for _, e := range s.lanes["1"].queue {
		offsets = append(offsets, e.off)
	}
	mustClose(t, s)
	return segmentFiles(t, dir)[0], offsets
}

func TestDamage(t *testing.T) {
	body := "=" + strings.Repeat("x", 50)
	zero, one, two := "1/0"+body, "1/1"+body, "1/2"+body
	for _, c := range []struct {
		name   string
		damage func(b []byte, at []int64) []byte
		want   []string
		report Recovered
	}{
		{"none", func(b []byte, _ []int64) []byte { return b }, []string{zero, one, two}, Recovered{}},
		{"last byte missing", func(b []byte, _ []int64) []byte { return b[:len(b)-1] }, []string{zero, one}, Recovered{Torn: 94}},
		{"cut in a frame's head", func(b []byte, at []int64) []byte { return b[:at[2]+5] }, []string{zero, one}, Recovered{Torn: 5}},
		{"zeros at the end", func(b []byte, _ []int64) []byte { return append(b, make([]byte, 4096)...) }, []string{zero, one, two}, Recovered{Torn: 4096}},
		{"a flipped bit in a body", func(b []byte, at []int64) []byte { b[at[1]+60] ^= 4; return b }, []string{zero, two}, Recovered{Corrupt: 1, Skipped: 95}},
		{"a damaged length", func(b []byte, at []int64) []byte { b[at[1]+9] = 0xff; return b }, []string{zero, two}, Recovered{Corrupt: 1, Skipped: 95}},
		{"a damaged marker", func(b []byte, at []int64) []byte { b[at[1]] ^= 1; return b }, []string{zero, two}, Recovered{Corrupt: 1, Skipped: 95}},
		{"two damaged", func(b []byte, at []int64) []byte { b[at[0]+60]++; b[at[1]+60]++; return b }, []string{two}, Recovered{Corrupt: 2, Skipped: 190}},
		{"a hole", func(b []byte, at []int64) []byte { clear(b[at[0]:at[2]]); return b }, []string{two}, Recovered{Corrupt: 1, Skipped: 190}},
		{"no records", func(b []byte, _ []int64) []byte { return b[:headerSize] }, nil, Recovered{}},
		{"an empty file", func([]byte, []int64) []byte { return nil }, nil, Recovered{}},
		{"half a header", func(b []byte, _ []int64) []byte { return b[:headerSize/2] }, nil, Recovered{Torn: 16}},
		{"all zeros", func(b []byte, _ []int64) []byte { return make([]byte, 100) }, nil, Recovered{Torn: 100}},
		{"a damaged header", func(b []byte, _ []int64) []byte { b[20]++; return b }, nil, Recovered{SetAside: []string{"0000000000000001.spool.bad"}}},
		{"another file", func([]byte, []int64) []byte { return bytes.Repeat([]byte("hello "), 99) }, nil, Recovered{SetAside: []string{"0000000000000001.spool.bad"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, offsets := filled(t, 3)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.damage(data, offsets), 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustRun(t, filepath.Dir(path), Options{})
			report := s.Recovered()
			c.report.Records, c.report.Segments = len(c.want), report.Segments
			if d := cmp.Diff(c.report, report); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
			mustPut(t, s, "2", "new", "y") // and it goes on behind the damage
			mustClose(t, s)
			s = mustOpen(t, filepath.Dir(path), Options{})
			if s.Recovered().Torn > 0 {
				t.Errorf("the torn end was not cut off: %+v", s.Recovered())
			}
			if d := cmp.Diff(append(c.want, "2/new=y"), drain(t, s)); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

// Whoever writes a message knows the format, but not the file's marker: a frame in
// a body must not become a message of somebody else when the one around it is
// damaged.
func TestForgedFrameInBody(t *testing.T) {
	dir := t.TempDir()
	s := mustRun(t, dir, Options{})
	forged := appendFrame(nil, newMarker(), item{kind: kindPut, seq: 77, lane: "victim", id: "f", body: []byte("I agree")})
	mustPut(t, s, "1", "a", strings.Repeat(string(forged), 20))
	mustPut(t, s, "1", "b", "honest")
	mustClose(t, s)
	path := segmentFiles(t, dir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[headerSize+9] ^= 0x40 // the length of the record around it
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir, Options{})
	if got := drain(t, s); !cmp.Equal(got, []string{"1/b=honest"}) {
		t.Errorf("handed out: %v", got)
	}
}

func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := mustRun(t, dir, Options{})
	mustPut(t, s, "1", "a", "x")
	mustPut(t, s, "1", "b", "y")
	f, err := os.OpenFile(segmentFiles(t, dir)[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, headerSize+frameHead+fixedSize+2); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	recs := mustTake(t, s, 1)
	if len(recs) != 1 || recs[0].ID != "a" || recs[0].Lane != "1" || recs[0].Err == nil {
		t.Fatalf("a damaged record must say so: %+v", recs)
	}
	if err := s.Refuse(recs[0].Seq, 0); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, s); !cmp.Equal(got, []string{"1/b=y"}) {
		t.Errorf("the lane did not go on: %v", got)
	}
}

func TestNewerFormat(t *testing.T) {
	path, _ := filled(t, 1)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[8] = 2
	binary.LittleEndian.PutUint32(data[28:], crc32.Checksum(data[:28], castagnoli))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Dir(path), Options{}); !errors.Is(err, errVersion) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
		t.Errorf("the file was touched: %v", err)
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	path, _ := filled(t, 1)
	dir := filepath.Dir(path)
	for _, name := range []string{"notes.txt", "1.spool", "00000000000000AB.spool", "zzzzzzzzzzzzzzzz.spool", "0000000000000009.spool.bad"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, dir, Options{})
	if r := s.Recovered(); r.Damaged() || r.Records != 1 || r.Segments != 1 {
		t.Errorf("%+v", r)
	}
	huge := s.segmentPath(50)
	mustClose(t, s)
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil { // sparse
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a file of a terabyte: %v", err)
	}
}

// segmentOf makes a segment's bytes for the fuzzer, with a marker that it can see.
func segmentOf(m marker, items ...item) []byte {
	b := appendHeader(nil, m, time.Unix(0, 0))
	for _, it := range items {
		b = appendFrame(b, m, it)
	}
	return b
}

// What the frames of one client id mean, in whatever order a failing disk let
// them be written.
func TestReplayOfOneKey(t *testing.T) {
	frame := func(k kind, seq uint64) item {
		return item{kind: k, seq: seq, time: time.Now().UnixNano(), lane: "1", id: "a", body: []byte(fmt.Sprint(seq))}
	}
	for _, c := range []struct {
		name  string
		items []item
		want  []string
	}{
		{"put", []item{frame(kindPut, 1)}, []string{"1/a=1"}},
		{"put, stored", []item{frame(kindPut, 1), frame(kindStored, 1)}, nil},
		{"put, refused", []item{frame(kindPut, 1), frame(kindRefused, 1)}, nil},
		{"put, withdrawn", []item{frame(kindPut, 1), frame(kindWithdrawn, 1)}, nil},
		{"carried, both copies there", []item{frame(kindPut, 1), frame(kindPut, 1)}, []string{"1/a=1"}},
		{"carried, then stored", []item{frame(kindPut, 1), frame(kindPut, 1), frame(kindStored, 1)}, nil},
		{"withdrawn, put again", []item{frame(kindPut, 1), frame(kindWithdrawn, 1), frame(kindPut, 2)}, []string{"1/a=2"}},
		{"put again, the first's mark was owed", []item{frame(kindPut, 1), frame(kindPut, 2), frame(kindWithdrawn, 1)}, []string{"1/a=2"}},
		{"the first's mark was lost", []item{frame(kindPut, 1), frame(kindPut, 2)}, []string{"1/a=2"}},
		{"the first's mark was lost, the second stored", []item{frame(kindPut, 1), frame(kindPut, 2), frame(kindStored, 2)}, nil},
		{"mark without its record", []item{frame(kindStored, 1)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "0000000000000001.spool"), segmentOf(newMarker(), c.items...), 0o600); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, drain(t, mustOpen(t, dir, Options{}))); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	m := marker{1, 2, 3, 4, 5, 6, 7, 8}
	a := item{kind: kindPut, seq: 1, time: 1, lane: "wplc/1", id: "a", body: []byte("hello")}
	b := item{kind: kindPut, seq: 2, time: 2, lane: "wplc/1", id: "b", body: []byte("world")}
	again := a
	again.seq = 3
	good := segmentOf(m, a, b)
	f.Add([]byte{})
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(good[:headerSize-1])
	f.Add(segmentOf(m, a, b, item{kind: kindStored, seq: 1, ref: 9, lane: "wplc/1", id: "a"}))
	f.Add(segmentOf(m, item{kind: kindRefused, seq: 1, lane: "wplc/1", id: "a"}, a))
	f.Add(segmentOf(m, a, again, a, item{kind: kindWithdrawn, seq: 3, lane: "wplc/1", id: "a"}))
	f.Add(segmentOf(m, item{kind: kindPut, seq: 1<<64 - 1, time: -1}, item{kind: 9}))
	f.Add(append(append(bytes.Clone(good), m[:]...), 0xff, 0xff, 0xff, 0xff))
	for _, at := range []int{headerSize, headerSize + 9, headerSize + 13, headerSize + 40, headerSize + frameHead + 25} {
		bad := bytes.Clone(good)
		bad[at] ^= 0x80
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000001.spool"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, Options{disk: newTestDisk()}) // which does not wait for the disk
		if err != nil {
			if errors.Is(err, errVersion) {
				return
			}
			t.Fatal(err)
		}
		r := s.Recovered()
		if s.bytes+r.Torn != int64(len(data)) && len(r.SetAside) == 0 {
			t.Errorf("%d bytes kept and %d cut off, of %d", s.bytes, r.Torn, len(data))
		}
		if got := len(drain(t, s)); got != r.Records {
			t.Errorf("%d records handed out, %d recovered", got, r.Records)
		}
		mustClose(t, s)
		s = mustOpen(t, dir, Options{disk: newTestDisk()})
		if r := s.Recovered(); r.Records != 0 || r.Torn != 0 {
			t.Errorf("after all was stored: %+v", r)
		}
		mustClose(t, s)
	})
}

// scan alone, with frames repaired by the fuzzer's own checksum, so that it gets
// behind the checksum to the fields.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x01aaaaaaaabbbbbbbbcccccccc\x03\x02laneidbody"))
	f.Add(bytes.Repeat([]byte{0xff}, fixedSize))
	f.Add(append(bytes.Repeat([]byte{1}, 25), 255, 255))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		m := marker{1, 2, 3, 4, 5, 6, 7, 8}
		data := appendHeader(nil, m, time.Unix(0, 0))
		frame := append(bytes.Clone(m[:]), 0, 0, 0, 0, 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(frame[8:], uint32(len(payload)))
		binary.LittleEndian.PutUint32(frame[12:], frameSum(m, frame[8:12], payload))
		frame = append(frame, payload...)
		data = append(data, frame...)
		read := int64(0)
		d := scan(data, m, func(_ int64, size int, it item) {
			if again := appendFrame(nil, m, it); !bytes.Equal(again, data[headerSize+read:][:size]) {
				t.Errorf("%+v is written as %x, read from %x", it, again, data[headerSize+read:][:size])
			}
			read += int64(size)
		})
		if headerSize+read+d.skipped+d.torn != int64(len(data)) {
			t.Errorf("%d read, %+v, of %d", read, d, len(data))
		}
	})
}
