package sse

import (
	"strings"
	"testing"

	"holdline/internal/chat"
	"holdline/internal/hub"
)

// A client that takes a cut event for a whole one must not learn the id of what
// it has not got.
func TestIDIsTheLastOfAnEvent(t *testing.T) {
	d := &hub.Delivery{Events: []chat.Event{{Type: chat.TypeMessage, Cursor: "17", Body: "Hello"}, {Type: chat.TypeStatus}}}
	blocks := strings.SplitAfter(string(encode(d)), "\n\n")
	if len(blocks) != 3 || blocks[2] != "" {
		t.Fatalf("%d events: %q", len(blocks)-1, blocks)
	}
	if first := blocks[0]; !strings.HasPrefix(first, "event: message\ndata: {") || !strings.HasSuffix(first, "}\nid: 17\n\n") {
		t.Errorf("%q", first)
	}
	if second := blocks[1]; !strings.HasPrefix(second, "event: status\ndata: {") || strings.Contains(second, "id: ") {
		t.Errorf("an event without a cursor: %q", second)
	}
}
