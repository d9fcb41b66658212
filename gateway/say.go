package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// serveSend takes one message to be stored, for clients without a WebSocket: as
// JSON, or as a form, which pages without JavaScript can send too.
func (g *Gateway) serveSend(c echo.Context) error {
	return g.hear(c, typeSend)
}

// serveSignal takes one message of the other types.
func (g *Gateway) serveSignal(c echo.Context) error {
	return g.hear(c, "")
}

// hear takes one message that is a send, or none.
func (g *Gateway) hear(c echo.Context, kind string) error {
	at := g.attached.Load()
	if at == nil {
		return errNotReady
	}
	w, refused, err := g.readWord(c, kind)
	if err != nil {
		return err
	}
	by, done, err := g.admitWord(c, at, &w)
	if err != nil {
		return err
	}
	defer done()
	cors(c.Response().Header(), c.Request(), g.origins(at.backend))
	if refused != nil {
		v := refuse(refused)
		g.metrics.said(w.kind, v)
		return tellWord(c, &w, v)
	}
	return tellWord(c, &w, at.speech.ask(c.Request().Context(), by, &w))
}

// readWord reads a message from a request to the address of a kind.
func (g *Gateway) readWord(c echo.Context, kind string) (w word, refused *chat.Refusal, err error) {
	mediaType, _, _ := mime.ParseMediaType(c.Request().Header.Get("Content-Type")) // none is JSON
	if mediaType == echo.MIMEApplicationForm {
		form, err := g.form(c)
		if err != nil {
			return word{}, nil, err
		}
		w, refused = formWord(form, g.settings().Limits)
	} else {
		body, err := g.body(c)
		if err != nil {
			return word{}, nil, err
		}
		w, refused = parseWord(body, kind, g.settings().Limits)
	}
	if refused == nil && (w.kind == typeSend) != (kind == typeSend) {
		refused = badRequest("POST messages of the type send to send, all others to signal.")
	}
	return w, refused, nil
}

// admitWord finds out who says something. done gives back what it holds.
func (g *Gateway) admitWord(c echo.Context, at *attached, w *word) (by *voice, done func(), err error) {
	r := c.Request()
	from, _ := netip.ParseAddr(c.RealIP())
	ctx, cancel := context.WithTimeout(r.Context(), lookupTimeout)
	defer cancel()
	id, err := g.identify(ctx, at.backend, r, from, time.Now())
	if err != nil {
		return nil, nil, err
	}
	// Cookies come along whichever page asks; here they would write.
	if err = checkOrigin(r, g.origins(at.backend), id.ambient, true); err == nil && id.viewer.IsNobody() {
		if err = id.doubt; id.doubt == nil {
			err = &refusal{http.StatusUnauthorized, "nobody", "log in, or bring a token, to write to " + clipped(w.channel)}
		}
	}
	if err != nil {
		id.grant.release()
		return nil, nil, err
	}
	return newVoice(id, w.as, from), id.grant.release, nil
}

// newVoice is how somebody speaks. Who has no name counts by address.
func newVoice(id *identity, as side, from netip.Addr) *voice {
	return &voice{viewer: id.viewer, as: as, sender: cmp.Or(id.user, addressKey(from))}
}

// ask says a message and waits for its answer.
func (s *speech) ask(ctx context.Context, by *voice, w *word) verdict {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer := make(chan verdict, 1)
	s.say(ctx, by, w, func(v verdict) { answer <- v })
	select {
	case v := <-answer:
		return v
	case <-ctx.Done():
		// It may have been taken all the same. Its client id tells, when it comes again.
		return refuse(&chat.Refusal{Reason: chat.ReasonUnavailable, Text: "The server is too slow just now; send the same message again in a moment."})
	}
}

// answerTimeout bounds what a POST waits for the database and the disk.
const answerTimeout = lookupTimeout + 5*time.Second

// tellWord answers a POST: what a WebSocket would be told, with a status.
func tellWord(c echo.Context, w *word, v verdict) error {
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	if v.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(v.retry.Seconds()))))
	}
	text := tellOf(w, v)
	if text == nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.JSON(statusOf(v), json.RawMessage(text))
}

// statusOf is the HTTP status that says the same as a verdict.
func statusOf(v verdict) int {
	if v.refused == nil {
		if v.state == outbox.StateStored {
			return http.StatusOK
		}
		return http.StatusAccepted
	}
	switch v.refused.Reason {
	case chat.ReasonForbidden:
		return http.StatusForbidden
	case chat.ReasonClosed:
		return http.StatusConflict
	case chat.ReasonTooLong:
		return http.StatusRequestEntityTooLarge
	case chat.ReasonEmpty, chat.ReasonText:
		return http.StatusUnprocessableEntity
	case chat.ReasonUnsupported:
		return http.StatusNotImplemented
	case chat.ReasonRate:
		return http.StatusTooManyRequests
	case chat.ReasonFull, chat.ReasonUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
