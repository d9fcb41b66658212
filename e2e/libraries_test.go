//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// What sites have in their pages instead of the bare EventSource, as npm installs
// it. fetch-event-source sends its token in a header, which an EventSource cannot.
const (
	advised      = "fetch-event-source"       // with the handlers that its README advises
	bare         = "fetch-event-source, bare" // with an onmessage and nothing else
	reconnecting = "reconnecting-eventsource"
	inNode       = "npm eventsource"
)

// inPage are the libraries that need a browser, and their names in page.js.
var inPage = map[string]string{advised: "fetchAdvised", bare: "fetchBare", reconnecting: "reconnecting"}

// road is a client's own way through nginx.
type road struct {
	*front
	log string
}

// newRoads leads clients through nginx to a target: each through a port of its
// own, so that each one's requests can be counted.
func newRoads(t *testing.T, target string, clients ...string) map[string]*road {
	t.Helper()
	roads := make(map[string]*road)
	var fronts []*front
	dir := t.TempDir()
	for i, name := range clients {
		log := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		f := &front{name: name, config: "proxy_http_version 1.1; proxy_set_header Connection ''; access_log " + log + ";"}
		roads[name] = &road{f, log}
		fronts = append(fronts, f)
	}
	runNginx(t, target, fronts)
	return roads
}

// answers is how many requests got a status from nginx or from behind it.
func (r *road) answers(t *testing.T, status int) int {
	t.Helper()
	log, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), fmt.Sprintf(`" %d `, status)) // after the quoted request
}

// library is the libraries' common ground: a chat that they listen to.
type library struct {
	*site
	*journal
	desk    *desk
	chatID  int64
	channel string
	bearer  string
}

func newLibrary(t *testing.T) *library {
	t.Helper()
	l := &library{journal: newJournal(t)}
	l.desk = newDesk(t, l.journal)
	l.site = newSite(t, []string{l.desk.allowed})
	l.chatID, l.channel = l.chat()
	l.bearer = l.token(l.channel)
	return l
}

// open opens clients at addresses.
func (l *library) open(t *testing.T, at map[string]string) {
	t.Helper()
	var page []client
	for name, address := range at {
		url := endpoint("http", address, "sse", l.channel, l.bearer)
		if kind, ok := inPage[name]; ok {
			page = append(page, client{name, kind, url})
		} else {
			runNode(t, l.journal, client{name, "eventsource", url})
		}
	}
	if len(page) > 0 {
		runChromium(t, l.desk.allowed, page...)
	}
}

// openOn opens a client on each of the roads.
func (l *library) openOn(t *testing.T, roads map[string]*road) {
	t.Helper()
	at := make(map[string]string)
	for name, r := range roads {
		at[name] = r.address
	}
	l.open(t, at)
}

// noErrors checks that what the clients heard was in order in itself.
func (l *library) noErrors(t *testing.T, clients []string) {
	t.Helper()
	for _, name := range clients {
		if n := l.count(name, "error"); n > 0 {
			t.Errorf("%s reported %d errors", name, n)
		}
	}
}

// A killed server is nginx's 502, which ends an EventSource for good. The
// libraries come back from it with the id of the last event they heard.
func TestLibrariesSurviveKilledServerBehindNginx(t *testing.T) {
	l := newLibrary(t)
	survivors := []string{advised, bare, reconnecting}
	everybody := append([]string{inNode}, survivors...)
	roads := newRoads(t, l.listen, everybody...)
	l.openOn(t, roads)

	l.awaitType(t, everybody, "status")
	want := l.say(l.chatID, 1)
	l.awaitRow(t, everybody, want[0])
	for range 3 {
		before := make(map[string]int)
		for name, r := range roads {
			before[name] = r.answers(t, 502)
		}
		want = append(want, l.say(l.chatID, rowsOfARound/2)...) // in mid-stream
		l.kill()
		want = append(want, l.say(l.chatID, rowsOfARound/2)...)
		for _, name := range survivors {
			backstage.Eventually(t, name+" meets a 502", patience, func() bool { return roads[name].answers(t, 502) > before[name] })
		}
		l.awaitType(t, []string{inNode}, "closed")
		l.start()
		l.awaitRow(t, survivors, want[len(want)-1])
	}
	l.compare(t, survivors, want)
	l.noErrors(t, everybody)
	if n := roads[inNode].answers(t, 502); n != 1 {
		t.Errorf("%s, which a 502 ends, met %d", inNode, n)
	}
}

// The cable is between browser and nginx, and is cut at any byte.
func TestLibrariesSurviveCutCableBehindNginx(t *testing.T) {
	l := newLibrary(t)
	everybody := []string{advised, bare, inNode, reconnecting}
	cables, at := make(map[string]*relay), make(map[string]string)
	for name, r := range newRoads(t, l.listen, everybody...) {
		cables[name] = newRelay(t, r.address, rounds)
		at[name] = cables[name].address()
	}
	l.open(t, at)

	l.awaitType(t, everybody, "status")
	var want []int64
	backstage.Eventually(t, "every connection has been cut", patience, func() bool {
		want = append(want, l.say(l.chatID, 1)...)
		for _, c := range cables {
			if c.cuts.Load() > 0 {
				return false
			}
		}
		return len(want) >= rounds*rowsOfARound
	})
	want = append(want, l.say(l.chatID, 1)...)
	l.awaitRow(t, everybody, want[len(want)-1])
	l.compare(t, everybody, want)
	l.noErrors(t, everybody)
}

// A server that is stopped tells everybody when to come back, and breaks the
// streams off: to fetch-event-source one that ends in order is the end, unless
// its onclose throws.
func TestLibrariesFollowDrain(t *testing.T) {
	l := newLibrary(t)
	everybody := []string{advised, bare, inNode, reconnecting}
	roads := newRoads(t, l.listen, advised, bare, reconnecting)
	at := map[string]string{inNode: l.listen} // not behind nginx, whose 502 would end it
	for name, r := range roads {
		at[name] = r.address
	}
	l.open(t, at)

	l.awaitType(t, everybody, "status")
	want := l.say(l.chatID, rowsOfARound/2)
	l.awaitRow(t, everybody, want[len(want)-1])
	l.process.Stop(t, patience)
	l.awaitType(t, everybody, "reconnect")
	want = append(want, l.say(l.chatID, rowsOfARound/2)...)
	l.start()
	l.awaitRow(t, everybody, want[len(want)-1])
	want = append(want, l.say(l.chatID, rowsOfARound/2)...)
	l.awaitRow(t, everybody, want[len(want)-1])
	l.compare(t, everybody, want)
	l.noErrors(t, everybody)
}

// A bad token ends those who look at the answer. The others ask on, as they say
// they do, but no more than once in a while.
func TestLibrariesDoNotHammerWithBadToken(t *testing.T) {
	l := newLibrary(t)
	l.bearer = "not.a.token"
	roads := newRoads(t, l.listen, advised, bare, inNode, reconnecting)
	l.openOn(t, roads)

	l.awaitType(t, []string{advised}, "refused")
	l.awaitType(t, []string{inNode}, "closed")
	count := func(name string) int { return roads[name].answers(t, 401) }
	for name := range roads {
		backstage.Eventually(t, name+" is refused", patience, func() bool { return count(name) > 0 })
	}
	before := map[string]int{bare: count(bare), reconnecting: count(reconnecting)}
	since := time.Now()
	<-time.After(5 * time.Second)
	for _, name := range []string{advised, inNode} {
		if n := count(name); n != 1 {
			t.Errorf("%s asked %d times", name, n)
		}
	}
	// The first comes every second, the other after a random part of 3 s.
	after := map[string]int{bare: count(bare), reconnecting: count(reconnecting)}
	seconds := int(time.Since(since)/time.Second) + 1
	for name, most := range map[string]int{bare: 1 + seconds, reconnecting: 3 * seconds} {
		n := after[name] - before[name]
		t.Logf("%s asked %d times in %d s", name, n, seconds)
		if n > most {
			t.Errorf("%s asked %d times in %d s", name, n, seconds)
		}
	}
	for name := range roads {
		if n := l.count(name, "open") + l.count(name, "status"); n > 0 {
			t.Errorf("%s was let in", name)
		}
	}
}

// fetch-event-source leaves while its page is hidden, unless told otherwise, and
// goes on where it was when the page is seen again.
func TestHiddenPage(t *testing.T) {
	l := newLibrary(t)
	const thePage = "the page"
	roads := newRoads(t, l.listen, advised, bare)
	var clients []client
	for name, r := range roads {
		clients = append(clients, client{name, inPage[name], endpoint("http", r.address, "sse", l.channel, l.bearer)})
	}
	runChromium(t, l.desk.allowed, append(clients, client{thePage, "visibility", "/visibility"})...)

	everybody := []string{advised, bare}
	l.awaitType(t, everybody, "status")
	var want []int64
	for range 2 {
		want = append(want, l.say(l.chatID, 3)...)
		l.awaitRow(t, everybody, want[len(want)-1])
		seen := slices.Clone(want)
		l.desk.say(t, "hidden")
		backstage.Eventually(t, "one client leaves", patience, func() bool { return l.held() == 1 })
		want = append(want, l.say(l.chatID, 3)...)
		l.awaitRow(t, []string{bare}, want[len(want)-1])
		l.compare(t, []string{advised}, seen)
		l.desk.say(t, "visible")
		l.awaitRow(t, everybody, want[len(want)-1])
	}
	l.compare(t, everybody, want)
	l.noErrors(t, everybody)
}
