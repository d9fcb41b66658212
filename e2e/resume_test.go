//go:build e2e

package e2e

import (
	"slices"
	"testing"

	"holdline/e2e/backstage"
)

const (
	rounds       = 5
	rowsOfARound = 40
)

// Every client comes back by itself, with the id of the last event it heard,
// and misses and repeats nothing.
func TestEveryClientSurvivesKilledServer(t *testing.T) {
	j := newJournal(t)
	d := newDesk(t, j)
	s := newSite(t, []string{d.allowed})
	id, channel := s.chat()
	token := s.token(channel)
	at := func(scheme, transport string) string { return endpoint(scheme, s.listen, transport, channel, token) }

	runNode(t, j, client{"npm eventsource", "eventsource", at("http", "sse")})
	runChromium(t, d.allowed,
		client{"Chromium EventSource", "eventsource", at("http", "sse")},
		client{"event-source-polyfill", "polyfill", at("http", "sse")},
		client{"Chromium WebSocket", "websocket", at("ws", "ws")},
		client{"Chromium fetch", "poll", at("http", "poll")})
	runTail(t, s, j, "holdline tail", s.listen, channel)
	runR3labs(t, j, "r3labs", at("http", "sse"))
	streams := []string{"npm eventsource", "Chromium EventSource", "event-source-polyfill", "Chromium WebSocket", "holdline tail", "r3labs"}
	everybody := append([]string{"Chromium fetch"}, streams...)

	// The state of the chat is the first word: from there on no row may be lost,
	// even if the first of them comes while the server is away.
	j.awaitType(t, everybody, "status")
	var want []int64
	for range rounds {
		s.kill()
		want = append(want, s.say(id, rowsOfARound/2)...)
		s.start()
		j.awaitRow(t, everybody, want[len(want)-1])
		// In mid-stream: some of these are heard before the next cut, some after.
		want = append(want, s.say(id, rowsOfARound/2)...)
	}
	s.kill()
	s.start()
	j.awaitRow(t, everybody, want[len(want)-1])
	j.compare(t, everybody, want)
}

// The same with connections that are cut at any byte, in the middle of events,
// chunks and frames. r3labs' client takes the first half of a cut event for a
// whole one, which tail keeps from it.
func TestEveryClientSurvivesCutConnections(t *testing.T) {
	j := newJournal(t)
	d := newDesk(t, j)
	s := newSite(t, []string{d.allowed})
	id, channel := s.chat()
	token := s.token(channel)
	relays := make(map[string]*relay)
	at := func(name, scheme, transport string) string {
		relays[name] = newRelay(t, s.listen, rounds)
		return endpoint(scheme, relays[name].address(), transport, channel, token)
	}

	runNode(t, j, client{"npm eventsource", "eventsource", at("npm eventsource", "http", "sse")})
	runChromium(t, d.allowed,
		client{"Chromium EventSource", "eventsource", at("Chromium EventSource", "http", "sse")},
		client{"event-source-polyfill", "polyfill", at("event-source-polyfill", "http", "sse")},
		client{"Chromium WebSocket", "websocket", at("Chromium WebSocket", "ws", "ws")},
		client{"Chromium fetch", "poll", at("Chromium fetch", "http", "poll")})
	relays["holdline tail"] = newRelay(t, s.listen, rounds)
	runTail(t, s, j, "holdline tail", relays["holdline tail"].address(), channel)
	var everybody []string
	for name := range relays {
		everybody = append(everybody, name)
	}
	slices.Sort(everybody)

	j.awaitType(t, everybody, "status")
	var want []int64
	cutAll := func() bool {
		want = append(want, s.say(id, 1)...)
		for _, r := range relays {
			if r.cuts.Load() > 0 {
				return false
			}
		}
		return len(want) >= rounds*rowsOfARound
	}
	backstage.Eventually(t, "every connection has been cut", patience, cutAll)
	want = append(want, s.say(id, 1)...)
	j.awaitRow(t, everybody, want[len(want)-1])
	j.compare(t, everybody, want)
}
