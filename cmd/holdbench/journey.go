package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// journey is what a client that comes back keeps from one connection to the
// next. It belongs to the client's loop. Times are since the fleet's start.
type journey struct {
	client   uint32
	begun    bool          // it has been held once
	cursor   string        // of the last event it has had whole
	retry    time.Duration // an EventSource's pause, which stands until the server names another
	told     bool          // the server has said that it is leaving, and when to come back:
	pause    time.Duration
	failures int // attempts since it was held last
	left     time.Duration
	tried    time.Duration // the first attempt since then
}

// trip is a client's way from one held connection to the next.
type trip struct {
	client            uint32
	left, tried, back time.Duration // since the fleet's start
}

// tripLog is what the journeys of a loop have met with.
type tripLog struct {
	trips      []trip
	cut        int   // held connections that ended without a word
	refused    int   // attempts to come back that led to nothing
	whyCut     error // the first of each
	whyRefused error
}

// add takes over what another log has.
func (t *tripLog) add(more tripLog) {
	t.trips = append(t.trips, more.trips...)
	t.cut += more.cut
	t.refused += more.refused
	t.whyCut = cmp.Or(t.whyCut, more.whyCut)
	t.whyRefused = cmp.Or(t.whyRefused, more.whyRefused)
}

// begin notes that the client is held, and tells whether for the first time.
func (j *journey) begin(log *tripLog, now time.Duration) (first bool) {
	if !j.begun {
		j.begun = true
		return true
	}
	log.trips = append(log.trips, trip{client: j.client, left: j.left, tried: j.tried, back: now})
	j.failures = 0
	return false
}

// Bounds of the wait of a client that was not told how long to wait.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 8 * time.Second
)

// end notes that a connection is over, held or not yet, and returns how long a
// good client waits before the next: as it was told, or else a random time that
// grows.
func (j *journey) end(log *tripLog, wasHeld bool, now time.Duration, err error) time.Duration {
	switch {
	case !wasHeld:
		log.refused++
		log.whyRefused = cmp.Or(log.whyRefused, err)
		j.failures++
	case !j.told:
		log.cut++
		log.whyCut = cmp.Or(log.whyCut, err)
	}
	if wasHeld {
		j.left = now
	}
	switch {
	case j.told:
		return j.pause
	case j.retry > 0:
		return j.retry
	}
	return rand.N(min(leastPause<<min(j.failures, 8), mostPause))
}

// connect begins the next connection.
func (j *journey) connect(now time.Duration) {
	j.told = false
	if j.failures == 0 {
		j.tried = now
	}
}

// readEvent notes what an event of a stream says about the way, as an
// EventSource does
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func (j *journey) readEvent(event []byte) {
	leaving := false
	for line := range bytes.Lines(event) {
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			j.cursor = string(value)
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				j.retry = time.Duration(ms) * time.Millisecond
			}
		case "event":
			leaving = string(value) == "reconnect"
		}
	}
	if leaving {
		j.told, j.pause = true, j.retry
	}
}

// readFrame is readEvent for a WebSocket's message.
func (j *journey) readFrame(message []byte) error {
	if cursor, ok := topString(message, "cursor"); ok && cursor != "" {
		j.cursor = cursor
	}
	if kind, _ := topString(message, "type"); kind != "reconnect" {
		return nil
	}
	var said struct {
		Data struct {
			After int64 `json:"after_ms"`
		} `json:"data"`
	}
	if err := json.Unmarshal(message, &said); err != nil {
		return fmt.Errorf("the server says when to come back: %w: %.200q", err, message)
	}
	j.told, j.pause = true, time.Duration(said.Data.After)*time.Millisecond
	return nil
}

// errLeaving ends a connection on which the server has said its last word.
var errLeaving = errors.New("the server is leaving")

// readAnswer is readEvent for the answer to a long poll. A server that leaves
// closes the connection behind it, which is all that a page's script would see
// of it: it polls again at once.
func (j *journey) readAnswer(body []byte, closing bool) error {
	cursor, ok := topString(body, "cursor")
	if !ok {
		return fmt.Errorf("the answer to a poll has no cursor: %.200q", body)
	}
	j.cursor = cursor
	if closing {
		j.told, j.pause = true, 0
		return errLeaving
	}
	return nil
}
