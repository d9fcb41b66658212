package ws

import (
	"strings"
	"testing"
	"unsafe"
)

func TestDecoderAllocatesOnlyWhatArrived(t *testing.T) {
	var d Decoder
	if err := d.Feed(wire(claim(textFin, 64, DefaultMaxMessage), masked("abc")), &record{}); err != nil {
		t.Fatal(err)
	}
	if got := cap(d.p.msg); got > 3 {
		t.Errorf("%d bytes set aside for 3 that came", got)
	}
}

func TestIdleCost(t *testing.T) {
	if got := unsafe.Sizeof(Decoder{}); got > 16 {
		t.Errorf("an idle Decoder is %d bytes, want at most 16", got)
	}
	if got := unsafe.Sizeof(Session{}); got > 48 {
		t.Errorf("an idle Session is %d bytes, want at most 48", got)
	}
	pong := client(pongFin, "")
	var d Decoder
	heard := new(silence)
	buf := make([]byte, len(pong))
	if n := testing.AllocsPerRun(100, func() {
		copy(buf, pong)
		if err := d.Feed(buf, heard); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per pong, want none", n)
	}
}

// silence hears and forgets.
type silence struct{}

func (*silence) Text([]byte)        {}
func (*silence) Ping([]byte)        {}
func (*silence) Pong([]byte)        {}
func (*silence) Close(Code, string) {}

func BenchmarkFeedPong(b *testing.B) {
	pong := client(pongFin, "")
	buf := make([]byte, len(pong))
	var d Decoder
	heard := new(silence)
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, pong)
		if err := d.Feed(buf, heard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFeedText4K(b *testing.B) {
	text := client(textFin, strings.Repeat("x", 4096))
	buf := make([]byte, len(text))
	var d Decoder
	heard := new(silence)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		copy(buf, text)
		if err := d.Feed(buf, heard); err != nil {
			b.Fatal(err)
		}
	}
}
