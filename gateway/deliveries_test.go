package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestDeliveriesAreCounted(t *testing.T) {
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	count := func(transport string) int {
		return s.metric(t, `holdline_deliveries_total{transport="`+transport+`"}`)
	}
	for _, transport := range []string{"sse", "ws", "poll", "loop"} {
		if n := count(transport); n != 0 {
			t.Errorf("%s: %d before anybody came", transport, n)
		}
	}
	var readers []client
	for _, open := range transports() {
		r := open(t, s, channel, "")
		defer r.close()
		readers = append(readers, r)
	}
	const rows = 5
	before := map[string]int{}
	for _, transport := range transportNames {
		before[transport] = count(transport) // states of the chat
	}
	for i := range rows {
		s.say(id, fmt.Sprint(i))
		for _, r := range readers {
			if e := message(r); e.Body != fmt.Sprint(i) {
				t.Fatalf("row %d is %q", i, e.Body)
			}
		}
	}
	for _, transport := range transportNames {
		if n := count(transport) - before[transport]; n < rows || n > rows+2 { // the state may come with them
			t.Errorf("%s: %d deliveries of %d rows", transport, n, rows)
		}
	}
}

func TestAnswersToLoopsAreDeliveries(t *testing.T) {
	s, _ := dropIn(t, "compatible")
	id := s.chat(3)
	s.say(id, "hello")
	ask := func() string {
		_, body := s.post(t, "application/x-www-form-urlencoded", visitorForm(id).Encode())
		return body
	}
	for !strings.Contains(ask(), "hello") {
	}
	count := func() int { return s.metric(t, `holdline_deliveries_total{transport="loop"}`) }
	s.await(t, "the answer with the message is counted", func() bool { return count() > 0 })
	n := count()
	ask() // nothing new
	if again := count(); again != n {
		t.Errorf("an empty answer counts, too: %d, then %d", n, again)
	}
}
