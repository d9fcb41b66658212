package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// pings are sent one after the other at the start of a checked WebSocket.
const pings = 3

// checkSocket opens a WebSocket, has a few words answered, and keeps silent longer
// than the pause between two heartbeats.
func checkSocket(ctx context.Context, e *exam) []Finding {
	f := e.front
	opening, cancel := context.WithTimeout(ctx, 2*firstByte)
	defer cancel()
	conn, answer, err := dialSocket(opening, f.address("ws", nil))
	if err != nil {
		return []Finding{e.refusedSocket(ctx, answer, err)}
	}
	defer conn.close()
	began := time.Now()
	for id := range pings {
		if err := ping(ctx, conn, id); err != nil {
			return []Finding{fault(fmt.Sprintf("a WebSocket opens, and then nothing comes through (%v)", rootCause(err)), f.fix("upgrade"))}
		}
	}
	trip := time.Since(began) / pings
	text := fmt.Sprintf("open, %.1f ms there and back", float64(trip.Microseconds())/1000)
	if e.Quick {
		return ok(text + e.briefly())
	}
	quiet := min(e.beat+5*time.Second, longQuiet)
	if cut, code := cutWithin(ctx, conn, quiet); cut > 0 {
		return []Finding{fault(fmt.Sprintf("a WebSocket on which nobody spoke was cut after %.1f s (%s)", cut.Seconds(), code), f.fix("timeout"))}
	}
	return ok(text + fmt.Sprintf(", kept for %.0f s of silence", quiet.Seconds()))
}

func ping(ctx context.Context, conn *socket, id int) error {
	ctx, cancel := context.WithTimeout(ctx, firstByte)
	defer cancel()
	defer conn.closeAt(ctx)()
	if err := conn.write(map[string]any{"type": "ping", "id": id}); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	answer, err := conn.read()
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	var pong struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(answer, &pong); err != nil || pong.Type != "pong" {
		return errors.New("the answer is no pong")
	}
	return nil
}

// cutWithin listens, which also answers the server's heartbeats, and tells when
// and how the connection ended; 0 when it did not.
func cutWithin(ctx context.Context, conn *socket, quiet time.Duration) (time.Duration, string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	defer conn.closeAt(ctx)()
	_, err := conn.read()
	if ctx.Err() != nil {
		return 0, ""
	}
	if closed := (closedError{}); errors.As(err, &closed) {
		return time.Since(began), closed.Error()
	}
	return time.Since(began), "without a close frame"
}

// refusedSocket says where the handshake failed: Holdline tells what it saw.
func (e *exam) refusedSocket(ctx context.Context, answer *http.Response, err error) Finding {
	f := e.front
	how := rootCause(err).Error()
	if answer != nil {
		how = fmt.Sprintf("status %d", answer.StatusCode)
	}
	saw := "it never reached Holdline"
	if c, _, err := f.ask(ctx, 0); err == nil && c.Handshake != "" {
		if strings.HasPrefix(c.Handshake, "too many checks") {
			return skipped("too many checks are running there: try again in half a minute")[0]
		}
		saw = "Holdline was asked, but not for a WebSocket: " + strings.TrimRight(c.Handshake, ".")
	}
	return fault(fmt.Sprintf("no WebSocket could be opened (%s): a proxy does not pass the upgrade on; %s", how, saw), f.fix("upgrade"))
}
