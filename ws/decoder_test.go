package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"
)

// record hears a Decoder and writes down one line per event.
type record struct{ lines []string }

func (r *record) Text(msg []byte)     { r.lines = append(r.lines, "text "+string(msg)) }
func (r *record) Ping(payload []byte) { r.lines = append(r.lines, "ping "+string(payload)) }
func (r *record) Pong(payload []byte) { r.lines = append(r.lines, "pong "+string(payload)) }
func (r *record) Close(code Code, reason string) {
	r.lines = append(r.lines, fmt.Sprintf("close %d %s", code, reason))
}

// decode feeds the bytes in pieces that end at the cuts, and gives events and
// error as lines.
func decode(t testing.TB, d *Decoder, b []byte, cuts ...int) []string {
	t.Helper()
	var heard record
	b = bytes.Clone(b) // Feed overwrites it
	var err error
	from := 0
	for _, cut := range append(cuts, len(b)) {
		err = d.Feed(b[from:cut], &heard)
		if d.p != nil && int64(cap(d.p.msg)) > d.limit() {
			t.Fatalf("%d bytes are set aside for a message, the limit is %d", cap(d.p.msg), d.limit())
		}
		from = cut
	}
	if err != nil {
		var fault *CloseError
		if !errors.As(err, &fault) {
			t.Fatalf("Feed = %T %v, want a *CloseError", err, err)
		}
		heard.lines = append(heard.lines, fmt.Sprintf("error %d %s", fault.Code, fault.Reason))
	}
	return heard.lines
}

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// client encodes one frame as a browser does: masked. first is the first byte of
// the frame, FIN, RSV and opcode as they shall be.
func client(first byte, payload string) []byte {
	head := []byte{first}
	switch n := len(payload); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n <= math.MaxUint16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	head = append(head, testMask[:]...)
	body := []byte(payload)
	ws.Cipher(body, testMask, 0)
	return append(head, body...)
}

// claim encodes the header of a frame that says it is n bytes long, in the length
// form asked for (7, 16 or 64 bits), whatever would be the shortest.
func claim(first byte, bits int, n uint64) []byte {
	head := []byte{first}
	switch bits {
	case 7:
		head = append(head, 0x80|byte(n))
	case 16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), n)
	}
	return append(head, testMask[:]...)
}

// First bytes of frames.
const (
	fin       = 0x80
	textFin   = fin | byte(ws.OpText)
	textPart  = byte(ws.OpText)
	binaryFin = fin | byte(ws.OpBinary)
	contFin   = fin | byte(ws.OpContinuation)
	contPart  = byte(ws.OpContinuation)
	closeFin  = fin | byte(ws.OpClose)
	pingFin   = fin | byte(ws.OpPing)
	pongFin   = fin | byte(ws.OpPong)
)

func closing(code uint16, reason string) []byte {
	return client(closeFin, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func wire(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func repeat(n int, frame []byte) []byte { return bytes.Repeat(frame, n) }

func TestDecoderRefusesBadFrames(t *testing.T) {
	const limit = 2000
	big := strings.Repeat("x", limit)
	tests := []struct {
		name string
		wire []byte
		want Code
	}{
		// Section 5.2, first byte.
		{"reserved bit 1, as compression would set it", client(textFin|0x40, "a"), CodeProtocol},
		{"reserved bit 2", client(textFin|0x20, "a"), CodeProtocol},
		{"reserved bit 3", client(textFin|0x10, "a"), CodeProtocol},
		{"reserved bit on a ping", client(pingFin|0x40, ""), CodeProtocol},
		{"reserved bit on a continuation", wire(client(textPart, "a"), client(contFin|0x40, "b")), CodeProtocol},
		{"reserved data opcode 3", client(fin|3, "a"), CodeProtocol},
		{"reserved data opcode 4", client(fin|4, "a"), CodeProtocol},
		{"reserved data opcode 5", client(fin|5, "a"), CodeProtocol},
		{"reserved data opcode 6", client(fin|6, "a"), CodeProtocol},
		{"reserved data opcode 7", client(fin|7, "a"), CodeProtocol},
		{"reserved control opcode 11", client(fin|11, ""), CodeProtocol},
		{"reserved control opcode 12", client(fin|12, ""), CodeProtocol},
		{"reserved control opcode 13", client(fin|13, ""), CodeProtocol},
		{"reserved control opcode 14", client(fin|14, ""), CodeProtocol},
		{"reserved control opcode 15", client(fin|15, ""), CodeProtocol},
		{"binary message", client(binaryFin, "a"), CodeUnsupported},
		{"binary message in fragments", client(byte(ws.OpBinary), "a"), CodeUnsupported},

		// Section 5.1: every frame of a client is masked.
		{"text without a mask", AppendText(nil, []byte("a")), CodeProtocol},
		{"empty text without a mask", AppendText(nil, nil), CodeProtocol},
		{"ping without a mask", AppendPing(nil, nil), CodeProtocol},
		{"close without a mask", AppendClose(nil, CodeNormal, ""), CodeProtocol},

		// Section 5.2, length.
		{"16-bit length for 0 bytes", claim(textFin, 16, 0), CodeProtocol},
		{"16-bit length for 125 bytes", claim(textFin, 16, 125), CodeProtocol},
		{"64-bit length for 125 bytes", claim(textFin, 64, 125), CodeProtocol},
		{"64-bit length for 65535 bytes", claim(textFin, 64, 65535), CodeProtocol},
		{"64-bit length with only the top bit", claim(textFin, 64, 1<<63), CodeProtocol},
		{"64-bit length with all bits", claim(textFin, 64, math.MaxUint64), CodeProtocol},

		// Our limit of the size, from the header alone.
		{"one byte over the limit", claim(textFin, 16, limit+1), CodeTooBig},
		{"65536 bytes announced", claim(textFin, 64, 65536), CodeTooBig},
		{"the most a length can say", claim(textFin, 64, math.MaxInt64), CodeTooBig},
		{"the most in a fragment after a byte", wire(client(textPart, "a"), claim(contFin, 64, math.MaxInt64)), CodeTooBig},
		{"fragments that together are one byte over", wire(client(textPart, big), client(contPart, ""), claim(contFin, 7, 1)), CodeTooBig},

		// Section 5.5: control frames.
		{"ping of 126 bytes", claim(pingFin, 16, 126), CodeProtocol},
		{"pong of 65536 bytes", claim(pongFin, 64, 65536), CodeProtocol},
		{"close of 126 bytes", claim(closeFin, 16, 126), CodeProtocol},
		{"ping of 4 bytes in a 16-bit length", claim(pingFin, 16, 4), CodeProtocol},
		{"fragmented ping", client(byte(ws.OpPing), "a"), CodeProtocol},
		{"fragmented pong", client(byte(ws.OpPong), "a"), CodeProtocol},
		{"fragmented close", client(byte(ws.OpClose), ""), CodeProtocol},

		// Section 5.4: fragments.
		{"continuation of nothing", client(contFin, "a"), CodeProtocol},
		{"unfinished continuation of nothing", client(contPart, "a"), CodeProtocol},
		{"continuation after a whole message", wire(client(textFin, "a"), client(contFin, "b")), CodeProtocol},
		{"continuation after the last fragment", wire(client(textPart, "a"), client(contFin, "b"), client(contFin, "c")), CodeProtocol},
		{"text inside a message", wire(client(textPart, "a"), client(textFin, "b")), CodeProtocol},
		{"text inside a message behind a ping", wire(client(textPart, "a"), client(pingFin, ""), client(textPart, "b")), CodeProtocol},
		{"binary inside a message", wire(client(textPart, "a"), client(binaryFin, "b")), CodeProtocol},
		{"too many fragments", wire(client(textPart, ""), repeat(maxFragments, client(contPart, "a"))), CodePolicy},
		{"too many empty fragments", wire(client(textPart, "a"), repeat(maxEmptyFragments+1, client(contPart, ""))), CodePolicy},
		{"too many empty fragments, spread", wire(client(textPart, ""), repeat(maxEmptyFragments, wire(client(contPart, "a"), client(contPart, "")))), CodePolicy},

		// Section 8.1: text is UTF-8.
		{"lone continuation byte", client(textFin, "a\x80"), CodeInvalidData},
		{"byte that UTF-8 never has", client(textFin, "a\xff"), CodeInvalidData},
		{"overlong slash", client(textFin, "\xc0\xaf"), CodeInvalidData},
		{"overlong slash of three bytes", client(textFin, "\xe0\x80\xaf"), CodeInvalidData},
		{"surrogate", client(textFin, "\xed\xa0\x80"), CodeInvalidData},
		{"above U+10FFFF", client(textFin, "\xf4\x90\x80\x80"), CodeInvalidData},
		{"message that ends inside a character", client(textFin, "ab\xe2\x82"), CodeInvalidData},
		{"fragments that end inside a character", wire(client(textPart, "\xe2"), client(contFin, "\x82")), CodeInvalidData},
		{"character that its second fragment spoils", wire(client(textPart, "\xe2\x82"), client(contFin, "x")), CodeInvalidData},
		{"bad byte in the first fragment, no last one", client(textPart, "ok\xc0"), CodeInvalidData},
		{"surrogate seen at its second byte, no third", wire(client(textPart, "\xed"), client(contPart, "\xa0")), CodeInvalidData},
		{"character cut by nothing but an empty end", wire(client(textPart, "\xf0\x9f\x98"), client(contFin, "")), CodeInvalidData},

		// Sections 5.5.1 and 7.4: close frames.
		{"close with one byte", client(closeFin, "\x03"), CodeProtocol},
		{"close code 0", closing(0, ""), CodeProtocol},
		{"close code 999", closing(999, ""), CodeProtocol},
		{"close code 1004, without a meaning", closing(1004, ""), CodeProtocol},
		{"close code 1005, never on the wire", closing(1005, ""), CodeProtocol},
		{"close code 1006, never on the wire", closing(1006, ""), CodeProtocol},
		{"close code 1015, never on the wire", closing(1015, ""), CodeProtocol},
		{"close code 1016, not registered", closing(1016, ""), CodeProtocol},
		{"close code 2999, kept for the standard", closing(2999, ""), CodeProtocol},
		{"close code 5000, outside of every range", closing(5000, ""), CodeProtocol},
		{"close code 65535", closing(65535, ""), CodeProtocol},
		{"close reason that is not UTF-8", closing(1000, "\xff"), CodeInvalidData},
		{"close reason that ends inside a character", closing(1000, "bye\xe2\x82"), CodeInvalidData},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := wire(client(textFin, "before"), tt.wire)
			for _, b := range [][]byte{tt.wire, before, wire(tt.wire, client(textFin, "after"))} {
				d := &Decoder{MaxMessage: limit}
				whole := decode(t, d, b)
				if len(whole) == 0 || !strings.HasPrefix(whole[len(whole)-1], fmt.Sprintf("error %d ", tt.want)) {
					t.Fatalf("events %q, want the last to be error %d", whole, tt.want)
				}
				if d.Pending() {
					t.Error("memory is kept for a connection that has failed")
				}
				d = &Decoder{MaxMessage: limit}
				if diff := cmp.Diff(whole, decode(t, d, b, everyByte(len(b))...)); diff != "" {
					t.Errorf("byte by byte the verdict is another (-whole +bytes):\n%s", diff)
				}
			}
		})
	}
}

func everyByte(n int) []int {
	cuts := make([]int, 0, n)
	for i := 1; i < n; i++ {
		cuts = append(cuts, i)
	}
	return cuts
}

func TestDecoderTakesGoodFrames(t *testing.T) {
	const limit = 1000
	big := strings.Repeat("x", limit)
	long := strings.Repeat("p", 125)
	tests := []struct {
		name string
		wire []byte
		want []string
	}{
		{"nothing", nil, nil},
		{"empty text", client(textFin, ""), []string{"text "}},
		{"example of RFC 6455 section 5.7", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []string{"text Hello"}},
		{"as big as allowed", client(textFin, big), []string{"text " + big}},
		{"as big as allowed, in two", wire(client(textPart, big[1:]), client(contFin, "x")), []string{"text " + big}},
		{"every kind of character", client(textFin, "κόσμε\u0000\ufffd\U0010ffff"), []string{"text κόσμε\u0000\ufffd\U0010ffff"}},
		{"character over four fragments", wire(client(textPart, "\xf0"), client(contPart, "\x9f"), client(contPart, "\x98"), client(contFin, "\x80")), []string{"text 😀"}},
		{"controls between fragments", wire(client(textPart, "\xe2"), client(pingFin, "1"), client(contPart, "\x82"), client(pongFin, ""), client(contFin, "\xac")), []string{"ping 1", "pong ", "text €"}},
		{"empty fragments", wire(client(textPart, ""), client(contPart, ""), client(contFin, "")), []string{"text "}},
		{"as many fragments as allowed", wire(client(textPart, ""), repeat(900, client(contPart, "x")), repeat(15, client(contPart, "")), client(contFin, "x")), []string{"text " + big[:901]}},
		{"more fragments than allowed, but of many messages", repeat(maxFragments, wire(client(textPart, ""), client(contFin, ""))), slices.Repeat([]string{"text "}, maxFragments)},
		{"longest ping and pong", wire(client(pingFin, long), client(pongFin, long)), []string{"ping " + long, "pong " + long}},
		{"controls need not be text", client(pingFin, "\xff\x00"), []string{"ping \xff\x00"}},
		{"close without a code", client(closeFin, ""), []string{"close 1005 "}},
		{"close with a reason", closing(1000, "bye €"), []string{"close 1000 bye €"}},
		{"close with the longest reason", closing(1001, long[:123]), []string{"close 1001 " + long[:123]}},
		{"close inside a message", wire(client(textPart, "a"), closing(1001, "")), []string{"close 1001 "}},
		{"whatever follows a close", wire(closing(3000, ""), client(textFin, "late"), []byte("\xff\xff")), []string{"close 3000 "}},
	}
	for _, code := range []uint16{1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3999, 4000, 4999} {
		tests = append(tests, struct {
			name string
			wire []byte
			want []string
		}{fmt.Sprintf("close code %d", code), closing(code, ""), []string{fmt.Sprintf("close %d ", code)}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &Decoder{MaxMessage: limit}
			if diff := cmp.Diff(tt.want, decode(t, d, tt.wire)); diff != "" {
				t.Errorf("whole (-want +got):\n%s", diff)
			}
			if d.Pending() {
				t.Error("memory is kept although everything is whole")
			}
			d = &Decoder{MaxMessage: limit}
			if diff := cmp.Diff(tt.want, decode(t, d, tt.wire, everyByte(len(tt.wire))...)); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

// script holds every kind of frame and every length form.
func script() (b []byte, want []string) {
	middle, big := strings.Repeat("é", 100), strings.Repeat("0123456789abcde€", 3640)+strings.Repeat("x", 16)
	b = wire(
		client(textFin, "one"),
		client(pingFin, "beat"),
		client(textFin, middle),
		client(textPart, "fr\xf0\x9f"), client(pongFin, ""), client(contPart, "\x98"), client(pingFin, ""), client(contPart, ""), client(contFin, "\x80ag"),
		client(textFin, ""),
		client(textFin, big),
		closing(1001, "leaving"),
	)
	return b, []string{"text one", "ping beat", "text " + middle, "pong ", "ping ", "text fr😀ag", "text ", "text " + big, "close 1001 leaving"}
}

func TestDecoderSplitAnywhere(t *testing.T) {
	b, want := script()
	for cut := range len(b) {
		// The middle of the big message is no different from its first kilobyte.
		if cut > 700 && cut < len(b)-40 && cut%997 != 0 {
			continue
		}
		got := decode(t, new(Decoder), b, cut)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cut at byte %d (-want +got):\n%s", cut, diff)
		}
	}
	if diff := cmp.Diff(want, decode(t, new(Decoder), b, everyByte(len(b))...)); diff != "" {
		t.Fatalf("byte by byte (-want +got):\n%s", diff)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		cuts := randomCuts(rnd, len(b))
		if diff := cmp.Diff(want, decode(t, new(Decoder), b, cuts...)); diff != "" {
			t.Fatalf("cut at %v (-want +got):\n%s", cuts, diff)
		}
	}
}

// randomCuts gives rising positions within n bytes, from many to few.
func randomCuts(rnd *rand.Rand, n int) []int {
	step := 1 + rnd.IntN(1+n/2)
	var cuts []int
	for at := rnd.IntN(step + 1); at < n; at += rnd.IntN(step + 1) {
		cuts = append(cuts, at)
		if len(cuts) > 4*n {
			break
		}
	}
	return cuts
}

func TestDecoderEveryPairOfCuts(t *testing.T) {
	b := wire(client(textPart, "\xe2\x82"), client(pingFin, "p"), client(contFin, "\xac"), client(textFin, "x"))
	want := []string{"ping p", "text €", "text x"}
	for i := range len(b) {
		for j := i; j < len(b); j++ {
			if diff := cmp.Diff(want, decode(t, new(Decoder), b, i, j)); diff != "" {
				t.Fatalf("cut at %d and %d (-want +got):\n%s", i, j, diff)
			}
		}
	}
}

func TestDecoderRepeatsItsError(t *testing.T) {
	var d Decoder
	var heard record
	first := d.Feed(client(binaryFin, ""), &heard)
	again := d.Feed(client(textFin, "x"), &heard)
	if first == nil || again != first || len(heard.lines) != 0 {
		t.Errorf("first %v, then %v and %q; want the same error and no event", first, again, heard.lines)
	}
}

func TestDecoderFailsBeforeTheRestArrives(t *testing.T) {
	tests := []struct {
		name string
		wire []byte
	}{
		{"bad opcode, two bytes", client(fin|3, "")[:2]},
		{"too big, without its mask", claim(textFin, 64, 1<<20)[:10]},
		{"bad text in a frame that goes on", wire(claim(textFin, 16, 500), masked("a\xff"))},
		{"impossible character, still one byte short", wire(claim(textFin, 16, 500), masked("\xf4\x90"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := new(Decoder).Feed(tt.wire, &record{}); err == nil {
				t.Error("no error yet")
			}
		})
	}
}

func masked(s string) []byte {
	b := []byte(s)
	ws.Cipher(b, testMask, 0)
	return b
}

func TestDecoderDefaultLimit(t *testing.T) {
	if err := new(Decoder).Feed(claim(textFin, 64, DefaultMaxMessage), &record{}); err != nil {
		t.Errorf("a message of the default limit: %v", err)
	}
	if err := new(Decoder).Feed(claim(textFin, 64, DefaultMaxMessage+1), &record{}); err == nil {
		t.Error("a message over the default limit is taken")
	}
}

func FuzzDecoder(f *testing.F) {
	all, _ := script()
	f.Add(all[:400], uint64(1))
	f.Add(wire(client(textPart, "\xe2\x82"), client(pingFin, ""), client(contFin, "\xac"), closing(1000, "x")), uint64(2))
	f.Add(claim(textFin, 64, 1<<63), uint64(3))
	f.Add(wire(client(textPart, "a"), repeat(20, client(contPart, ""))), uint64(4))
	f.Add(client(closeFin, "\x03"), uint64(5))
	f.Add(client(binaryFin, "\xff"), uint64(6))
	f.Add([]byte("\x01\x02\xf0\x9f\x89\x01p\x00\x00\x80\x02\x98\x80\x81\x01a\x88\x02\x03\xe8"), uint64(7)) // for framed
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		const limit = 512
		for _, b := range [][]byte{b, framed(b)} {
			want := decode(t, &Decoder{MaxMessage: limit}, b)
			for _, line := range want {
				if text, ok := strings.CutPrefix(line, "text "); ok && (len(text) > limit || !utf8.ValidString(text)) {
					t.Fatalf("message %q is too long or not UTF-8", text)
				}
			}
			if diff := cmp.Diff(want, decode(t, &Decoder{MaxMessage: limit}, b, everyByte(len(b))...)); diff != "" {
				t.Fatalf("byte by byte (-whole +bytes):\n%s", diff)
			}
			cuts := randomCuts(rand.New(rand.NewPCG(seed, 0)), len(b))
			if diff := cmp.Diff(want, decode(t, &Decoder{MaxMessage: limit}, b, cuts...)); diff != "" {
				t.Fatalf("cut at %v (-whole +cut):\n%s", cuts, diff)
			}
		}
	})
}

// framed makes well-formed frames of random bytes, so that the fuzzer gets past
// the header: each is one first byte, one length and that many bytes of payload.
func framed(b []byte) (frames []byte) {
	for len(b) >= 2 {
		n := min(int(b[1]), len(b)-2)
		frames = append(frames, client(b[0], string(b[2:2+n]))...)
		b = b[2+n:]
	}
	return frames
}
