package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// How long clients may take over what is not held. A held connection has its own
// rules (park.Options).
const (
	// answerPatience is for taking an answer of ours, from the head of the request
	// on. It is longer than anything that is said within a handler (checkLife).
	answerPatience = 2 * time.Minute
	// bodyPatience is for the rest of a body that nobody reads: net/http takes up to
	// 256 KiB of it before the next request, without a limit of its own.
	bodyPatience = ajaxBodyTimeout
	// passPatience is for each piece of PHP's answer, as in nginx (send_timeout), and
	// for the beginning of a body that is passed on.
	passPatience = time.Minute
	// leastRate is how fast such a body has to come after that, in bytes a second;
	// Apache asks for as much (RequestReadTimeout).
	leastRate = 500
)

// limitTime bounds how long a client may take over its request and the answer, for
// handlers that set no bound of their own. Hijacking lifts it.
func (g *Gateway) limitTime(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		control := http.NewResponseController(c.Response())
		now := time.Now()
		err := control.SetWriteDeadline(now.Add(answerPatience))
		if c.Request().ContentLength != 0 {
			err = errors.Join(err, control.SetReadDeadline(now.Add(bodyPatience)))
		}
		if err != nil && !errors.Is(err, http.ErrNotSupported) { // as in tests without a connection
			return fmt.Errorf("limit the time of a request: %w", err)
		}
		return next(c)
	}
}

// passOn lets the proxy answer, bounding how slowly the client may send its body and
// take the answer, and not how long PHP may think.
func (g *Gateway) passOn(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if r.ContentLength != 0 {
		r.Body = &patientBody{ReadCloser: r.Body, control: control, began: time.Now()}
	}
	out := &patientWriter{w, control}
	out.lift()
	defer g.gate.tunnelled(r)()
	g.proxy.ServeHTTP(out, r)
	out.wait() // for what is still in the server's buffer
}

// patientBody bounds how slowly a body comes. Its end lifts the bound: behind it the
// server listens whether the client leaves, which takes as long as PHP. Nothing else
// does: net/http would read what is left of a body that came too slowly.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	began   time.Time
	read    int64
}

func (b *patientBody) Read(p []byte) (int, error) {
	deadline := b.began.Add(passPatience + time.Duration(b.read)*time.Second/leastRate)
	if err := b.control.SetReadDeadline(deadline); err != nil {
		return 0, fmt.Errorf("limit the time of a body: %w", err)
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == io.EOF {
		if err := b.control.SetReadDeadline(time.Time{}); err != nil {
			return n, fmt.Errorf("lift the limit of time of a body: %w", err)
		}
	}
	return n, err
}

// patientWriter bounds how long each piece of an answer waits for the client.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements http.ResponseWriter.
func (w *patientWriter) Write(p []byte) (int, error) {
	w.wait()
	return w.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController looks for. The proxy flushes behind
// each write, so what PHP thinks over next has all the time it needs.
func (w *patientWriter) FlushError() error {
	w.wait()
	defer w.lift()
	return w.control.Flush()
}

// Unwrap is for http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Deadlines that cannot be set belong to a connection that is gone, which the next
// write finds out.
func (w *patientWriter) wait() { _ = w.control.SetWriteDeadline(time.Now().Add(passPatience)) }
func (w *patientWriter) lift() { _ = w.control.SetWriteDeadline(time.Time{}) }
