package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/sse"
)

// comeAgain answers an EventSource for which the site cannot be read just now.
// Any status but 200 would end it for good
// (https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model),
// so that a page which has lived through our restart would never hear of its
// chat again because the database was a moment late. It gets a stream instead
// that says when to come back and breaks off: a stream that ends in order is the
// end of all to clients such as r3labs'. All other errors, and clients that did
// not ask for a stream, are left to fail.
func (g *Gateway) comeAgain(c echo.Context, err error) error {
	r, w := c.Request(), c.Response()
	told := g.judge(err)
	if told.reason != reasonNotReady && told.reason != reasonDatabase || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		return err
	}
	h := w.Header()
	if at := g.attached.Load(); at != nil {
		cors(h, r, g.origins(at.backend))
	} else if origin := r.Header.Get("Origin"); origin != "" {
		// The site's own origins are in the database, and a browser takes a
		// stream that it may not read for a final no. This one holds nothing.
		cors(h, r, []string{strings.ToLower(origin)})
	}
	sse.SetHeader(h)
	g.metrics.refused.WithLabelValues(told.reason).Inc()
	wait := 2*time.Second + rand.N(2*time.Second)
	if _, err := fmt.Fprintf(w, ": %s\nretry: %d\n\n", told.text, wait.Milliseconds()); err != nil {
		return err
	}
	w.Flush()
	panic(http.ErrAbortHandler)
}
