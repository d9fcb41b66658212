package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// feedTrip gives a stream to a wire whose client comes back.
func feedTrip(t *testing.T, newWire func(*journey) wire, stream string, size int) (*journey, error) {
	t.Helper()
	j := &journey{}
	w := newWire(j)
	w.open(nil)
	turn := turn{payload: func([]byte) {}}
	for len(stream) > 0 {
		n := min(size, len(stream))
		if err := w.feed([]byte(stream[:n]), &turn); err != nil {
			return j, err
		}
		stream = stream[n:]
	}
	return j, nil
}

// Whatever the transport, and however its stream is cut, a client knows where it
// stands and when it may come back.
func TestJourneyReads(t *testing.T) {
	overSSE := func(j *journey) wire { return &sseWire{scratch: new([]byte), trip: j} }
	overWS := func(j *journey) wire { return &wsWire{trip: j} }
	overPoll := func(j *journey) wire {
		return &pollWire{trip: j, next: func(dst []byte, _ *answer) ([]byte, error) { return dst, nil }}
	}
	const stream = "HTTP/1.1 200 OK\r\n\r\n: hi\nretry: 1500\n\n"
	for _, tc := range []struct {
		name, stream string
		wire         func(*journey) wire
		want         journey
		err          error
	}{
		{"event stream", stream + "data: {}\nid: c1\n\n:\nid: c2\n\n", overSSE, journey{cursor: "c2", retry: 1500 * time.Millisecond}, nil},
		{"event stream, half an event", stream + "id: c1\n\nid: c2\n", overSSE, journey{cursor: "c1", retry: 1500 * time.Millisecond}, nil},
		{
			"event stream leaving", stream + "id: c1\n\nretry: 40\nevent: reconnect\ndata: {}\n\n", overSSE,
			journey{cursor: "c1", retry: 40 * time.Millisecond, told: true, pause: 40 * time.Millisecond},
			nil,
		},
		{"WebSocket", ws101 + frame(wsText, `{"type":"hello","cursor":"c1"}`) + frame(wsText, `{"type":"typing"}`), overWS, journey{cursor: "c1"}, nil},
		{
			"WebSocket leaving", ws101 + frame(wsText, `{"type":"message","cursor":"c3"}`) + frame(wsText, `{"type":"reconnect","data":{"after_ms":70}}`),
			overWS,
			journey{cursor: "c3", told: true, pause: 70 * time.Millisecond},
			nil,
		},
		{"WebSocket, nonsense about leaving", ws101 + frame(wsText, `{"type":"reconnect","data":"soon"}`), overWS, journey{}, errors.New("when to come back")},
		{"poll", pollAnswer(`{"cursor":"c1","events":[]}`) + pollAnswer(`{"cursor":"c2","events":[]}`), overPoll, journey{cursor: "c2"}, nil},
		{
			"poll leaving", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\n" + `{"cursor":"c4"}`, overPoll,
			journey{cursor: "c4", told: true},
			errLeaving,
		},
		{"poll without a cursor", pollAnswer(`{}`), overPoll, journey{}, errors.New("no cursor")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{1, 7, len(tc.stream)} {
				j, err := feedTrip(t, tc.wire, tc.stream, size)
				if *j != tc.want {
					t.Errorf("reads of %d: %+v, want %+v", size, *j, tc.want)
				}
				if (err == nil) != (tc.err == nil) || err != nil && !strings.Contains(err.Error(), tc.err.Error()) {
					t.Errorf("reads of %d: error %v, want %v", size, err, tc.err)
				}
			}
		})
	}
}

// What a client does when its connection ends, and how that is booked.
func TestJourneyEnds(t *testing.T) {
	gone := errors.New("gone")
	for _, tc := range []struct {
		name         string
		journey      journey
		held         bool
		least, most  time.Duration
		cut, refused int
	}{
		{"told when", journey{told: true, pause: 3 * time.Second}, true, 3 * time.Second, 3 * time.Second, 0, 0},
		{"told to come at once", journey{told: true}, true, 0, 0, 0, 0},
		{"cut", journey{}, true, 0, 500 * time.Millisecond, 1, 0},
		{"event stream cut", journey{retry: time.Second}, true, time.Second, time.Second, 1, 0},
		{"refused", journey{failures: 1}, false, 0, 2 * time.Second, 0, 1},
		{"refused for ever", journey{failures: 60}, false, 0, 8 * time.Second, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for range 50 {
				var log tripLog
				j := tc.journey
				if wait := j.end(&log, tc.held, 5, gone); wait < tc.least || wait > tc.most {
					t.Fatalf("waits %s, want %s to %s", wait, tc.least, tc.most)
				}
				if log.cut != tc.cut || log.refused != tc.refused || (log.whyCut != nil) != (tc.cut > 0) || (log.whyRefused != nil) != (tc.refused > 0) {
					t.Fatalf("booked %+v", log)
				}
			}
		})
	}
}

// A trip lasts from the end of one held connection to the next, however many
// attempts that takes.
func TestJourneyTrip(t *testing.T) {
	var log tripLog
	j := journey{client: 7}
	if !j.begin(&log, 1) || len(log.trips) > 0 {
		t.Fatal("the first connection is no way back")
	}
	j.told = true
	j.end(&log, true, 10, nil)
	j.connect(20)
	j.end(&log, false, 25, errors.New("refused"))
	j.connect(30)
	if j.begin(&log, 40) {
		t.Fatal("held for the first time, twice")
	}
	want := trip{client: 7, left: 10, tried: 20, back: 40}
	if len(log.trips) != 1 || log.trips[0] != want || log.refused != 1 || log.cut != 0 {
		t.Errorf("%+v", log)
	}
	if j.end(&log, true, 50, errors.New("gone")); log.cut != 1 {
		t.Error("a new connection was told what the old one was")
	}
}
