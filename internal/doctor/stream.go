package doctor

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// streamed is when the parts of a checked stream came, since its request.
type streamed struct {
	first     time.Duration // byte of the body
	events    []time.Duration
	heartbeat time.Duration
	ended     time.Duration
}

// checkEvents is how many events Holdline sends on a checked stream, a quarter of
// a second apart; only heartbeats follow.
const checkEvents = 5

// checkStream opens a stream of Server-Sent Events and watches when its parts
// come: at once, one by one, and a heartbeat after a silence.
func checkStream(ctx context.Context, e *exam) []Finding {
	f := e.front
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	// What buffers may keep even the answer's head back, or let only that through.
	late := time.AfterFunc(firstByte, cancel)
	defer late.Stop()
	answer, err := f.get(ctx, f.address("sse", nil))
	if err != nil {
		if time.Since(began) >= firstByte {
			return []Finding{buffered(f, "not an event of the stream came in 3 s")}
		}
		return []Finding{fault(fmt.Sprintf("no stream of events could be opened (%v)", rootCause(err)), f.fix("buffer"))}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return []Finding{fault(fmt.Sprintf("no stream of events could be opened: status %d", answer.StatusCode), f.fix("route"))}
	}
	s := readStream(bufio.NewReader(answer.Body), began, func() { late.Stop() }, e.Quick || e.beat > longQuiet)
	return judgeStream(f, s, answer.Uncompressed, e)
}

// readStream reads blocks until enough is known: all events if short, else a
// heartbeat.
func readStream(r *bufio.Reader, began time.Time, heard func(), short bool) (s streamed) {
	block := ""
	for {
		line, err := r.ReadString('\n')
		at := time.Since(began)
		if len(line) > 0 && s.first == 0 {
			s.first = at
		}
		if err != nil || len(block)+len(line) > maxReply {
			s.ended = at
			return s
		}
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			block += line + "\n"
			continue
		}
		switch {
		case strings.HasPrefix(block, "event: time\n"):
			if s.events = append(s.events, at); len(s.events) == 1 {
				heard()
			}
		case block == ":\n":
			s.heartbeat = at
		}
		if block = ""; s.heartbeat > 0 || short && len(s.events) == checkEvents {
			return s
		}
	}
}

func buffered(f front, how string) Finding {
	return fault(how+": a proxy gathers the stream instead of passing it on", f.fix("buffer"))
}

func judgeStream(f front, s streamed, packed bool, e *exam) []Finding {
	var found []Finding
	switch n := len(s.events); {
	case n == 0 && s.ended < firstByte:
		found = append(found, fault("the stream ended as soon as it was opened", f.fix("timeout")))
	case n == 0:
		found = append(found, buffered(f, "not an event of the stream came in 3 s"))
	case n == checkEvents && s.events[n-1]-s.events[0] < 500*time.Millisecond:
		found = append(found, buffered(f, "events that were sent a quarter of a second apart came in one piece"))
	case s.ended > 0:
		found = append(found, fault(fmt.Sprintf("a stream on which nobody spoke was cut after %.1f s, before its heartbeat", s.ended.Seconds()), f.fix("timeout")))
	}
	if packed {
		found = append(found, warn("the stream is compressed on the way, which may hold events back", f.fix("compress")))
	}
	text := fmt.Sprintf("first byte after %d ms, events as they were sent", s.first.Milliseconds())
	if s.heartbeat > 0 {
		text += fmt.Sprintf(", a heartbeat after %.0f s", s.heartbeat.Seconds())
	}
	return orOK(found, text+e.briefly())
}
