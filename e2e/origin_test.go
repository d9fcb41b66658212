//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A page of a listed origin reads over all transports, one of another origin
// over none, though both come with a good token.
func TestOnlyListedOriginsRead(t *testing.T) {
	j := newJournal(t)
	d := newDesk(t, j)
	s := newSite(t, []string{d.allowed})
	id, channel := s.chat()
	token := s.token(channel)
	// The clients of a page, named after whose page it is.
	clients := func(whose string) (list []client, names []string) {
		list = []client{
			{whose + " EventSource", "eventsource", endpoint("http", s.listen, "sse", channel, token)},
			{whose + " polyfill", "polyfill", endpoint("http", s.listen, "sse", channel, token)},
			{whose + " WebSocket", "websocket", endpoint("ws", s.listen, "ws", channel, token)},
			{whose + " fetch", "poll", endpoint("http", s.listen, "poll", channel, token)},
			{whose + " fetch-event-source", "fetchAdvised", endpoint("http", s.listen, "sse", channel, token)},
		}
		for _, c := range list {
			names = append(names, c.Name)
		}
		return list, names
	}
	own, ownNames := clients("listed")
	other, otherNames := clients("foreign")
	runChromium(t, d.allowed, own...)
	runChromium(t, d.foreign, other...)

	j.awaitType(t, ownNames, "status")
	// Each transport has its own way to say no.
	refusals := map[string]string{otherNames[0]: "closed", otherNames[1]: "again", otherNames[2]: "closed", otherNames[3]: "error", otherNames[4]: "again"}
	for name, how := range refusals {
		j.awaitType(t, []string{name}, how)
	}
	rows := s.say(id, 10)
	j.awaitRow(t, ownNames, rows[len(rows)-1])
	j.compare(t, ownNames, rows)
	j.compare(t, otherNames, nil)
	for _, name := range otherNames {
		if j.count(name, "open")+j.count(name, "status") > 0 {
			t.Errorf("%s was let in", name)
		}
	}

	// A page is not told why its WebSocket failed, so ask as it did.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, resp, err := websocket.Dial(ctx, endpoint("ws", s.listen, "ws", channel, token), &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {d.foreign}}, Subprotocols: []string{"holdline.v1"},
	})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a WebSocket from a foreign page: %v, not a 403", err)
	}
}
