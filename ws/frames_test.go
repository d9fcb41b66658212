package ws

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestFramesAreRead has gobwas/ws read what we encode by ourselves.
func TestFramesAreRead(t *testing.T) {
	long := strings.Repeat("p", 130)
	tests := []struct {
		name  string
		frame []byte
		op    ws.OpCode
		want  string
	}{
		{"empty text", AppendText(nil, nil), ws.OpText, ""},
		{"text of 125", AppendText(nil, []byte(long[:125])), ws.OpText, long[:125]},
		{"text of 126", AppendText(nil, []byte(long[:126])), ws.OpText, long[:126]},
		{"text of 65535", AppendText(nil, bytes.Repeat([]byte("x"), 65535)), ws.OpText, strings.Repeat("x", 65535)},
		{"text of 65536", AppendText(nil, bytes.Repeat([]byte("x"), 65536)), ws.OpText, strings.Repeat("x", 65536)},
		{"ping", AppendPing(nil, []byte("a")), ws.OpPing, "a"},
		{"ping cut to its limit", AppendPing(nil, []byte(long)), ws.OpPing, long[:125]},
		{"pong", AppendPong(nil, nil), ws.OpPong, ""},
		{"pong cut to its limit", AppendPong(nil, []byte(long)), ws.OpPong, long[:125]},
		{"close", AppendClose(nil, CodeNormal, "bye"), ws.OpClose, "\x03\xe8bye"},
		{"close without reason", AppendClose(nil, CodeSlow, ""), ws.OpClose, "\x0f\xa8"},
		{"close without code", AppendClose(nil, CodeNoStatus, "never said"), ws.OpClose, ""},
		{"close with a code that is not for the wire", AppendClose(nil, CodeAbnormal, ""), ws.OpClose, ""},
		{"close with code 0", AppendClose(nil, 0, ""), ws.OpClose, ""},
		{"close reason cut to its limit", AppendClose(nil, CodeNormal, long), ws.OpClose, "\x03\xe8" + long[:123]},
		{"close reason cut between characters", AppendClose(nil, CodeNormal, long[:122]+"€"), ws.OpClose, "\x03\xe8" + long[:122]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := bytes.NewReader(tt.frame)
			h, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Fin || h.Rsv != 0 || h.Masked || h.OpCode != tt.op {
				t.Errorf("header %+v", h)
			}
			if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
				t.Error(err)
			}
			if size := ws.HeaderSize(h) + len(tt.want); len(tt.frame) != size {
				t.Errorf("%d bytes, the shortest form has %d", len(tt.frame), size)
			}
			if got := string(tt.frame[len(tt.frame)-r.Len():]); got != tt.want || h.Length != int64(len(tt.want)) {
				t.Errorf("payload %.40q of length %d, want %.40q", got, h.Length, tt.want)
			}
		})
	}
}

func TestFramesAreAppended(t *testing.T) {
	b := AppendPing([]byte("before"), nil)
	b = AppendText(b, []byte("x"))
	b = AppendClose(b, CodeNormal, "")
	if want := "before\x89\x00\x81\x01x\x88\x02\x03\xe8"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}
