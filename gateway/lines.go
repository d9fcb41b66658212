package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/internal/chat"
	"holdline/poll"
	"holdline/sse"
	"holdline/ws"
)

// admitted is a request for a held connection that may be served.
type admitted struct {
	at       *attached
	channels []string
	pass     pass
	header   http.Header // CORS
	who      *chat.Party // as others see it; nil where nobody asks
	viewer   chat.Viewer
	as       side
}

// admit does what all transports have in common: who is it, from where, may it
// read this, is there room. mustSayOrigin is for WebSocket.
func (g *Gateway) admit(c echo.Context, params url.Values, mustSayOrigin bool) (*admitted, error) {
	r := c.Request()
	at := g.attached.Load()
	if at == nil {
		return nil, errNotReady
	}
	channels, err := g.channels(params)
	if err != nil {
		return nil, err
	}
	from, _ := netip.ParseAddr(c.RealIP())
	ctx, cancel := context.WithTimeout(r.Context(), lookupTimeout)
	defer cancel()
	id, err := g.identify(ctx, at.backend, r, from, time.Now())
	if err != nil {
		return nil, err
	}
	let := false
	defer func() {
		if !let { // whatever went wrong, be it a panic
			id.grant.release()
		}
	}()
	if err := g.lawful(ctx, at, r, id, channels, mustSayOrigin); err != nil {
		return nil, err
	}
	as, refused := sideOf(params.Get("as"))
	if refused != nil {
		return nil, &refusal{http.StatusBadRequest, "parameter", refused.Text}
	}
	who := at.speech.listener(ctx, id.viewer, as, channels)
	p, err := g.enter(r, from, id)
	if err != nil {
		return nil, err
	}
	let = true
	at.speech.enter(&p, who, channels)
	header := g.sameSite
	if r.Header.Get("Origin") != "" {
		header = make(http.Header, 4)
		cors(header, r, g.origins(at.backend))
	}
	return &admitted{at: at, channels: channels, pass: p, header: header, who: who, viewer: id.viewer, as: as}, nil
}

// lookupTimeout bounds the queries that decide about one request.
const lookupTimeout = 10 * time.Second

func (g *Gateway) lawful(ctx context.Context, at *attached, r *http.Request, id *identity, channels []string, mustSayOrigin bool) error {
	if err := checkOrigin(r, g.origins(at.backend), id.ambient, mustSayOrigin); err != nil {
		return err
	}
	return g.authorise(ctx, at.backend, id, channels)
}

// channels reads the list, without repetitions.
func (g *Gateway) channels(params url.Values) ([]string, error) {
	var list []string
	most := g.settings().Limits.Channels
	for name := range strings.SplitSeq(params.Get("channels"), ",") {
		if name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
		if len(list) > most {
			return nil, &refusal{http.StatusBadRequest, "channels", fmt.Sprintf(
				"too many channels: the limit is %d (limits.channels)", most)}
		}
	}
	if len(list) == 0 {
		return nil, &refusal{http.StatusBadRequest, "channels", "say which channels to hold: ?channels=wplc/42"}
	}
	for i := range list {
		list[i] = strings.Clone(list[i]) // or the whole query stays in memory
	}
	return list, nil
}

// cursorOf parses a cursor for streams; none begins at the present.
func cursorOf(text string) (*chat.Cursor, error) {
	if text == "" {
		return nil, nil
	}
	from, err := chat.ParseCursor(text)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "cursor", err.Error()}
	}
	return &from, nil
}

func (g *Gateway) serveSSE(c echo.Context) error {
	r := c.Request()
	from, err := cursorOf(sse.LastEventID(r))
	if err != nil {
		return err
	}
	a, err := g.admit(c, r.URL.Query(), false)
	if err != nil {
		return g.comeAgain(c, err)
	}
	padding, _ := strconv.Atoi(r.URL.Query().Get("padding")) // not a number is none
	g.metrics.opened.WithLabelValues("sse").Inc()
	pass := a.pass // alone, or all of a would be kept
	return a.at.sse.Serve(c.Response(), r, sse.Request{
		Channels: a.channels, From: from, Pass: &pass, Header: a.header, Padding: padding, Who: a.who,
	})
}

func (g *Gateway) serveWS(c echo.Context) error {
	r := c.Request()
	from, err := cursorOf(r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	a, err := g.admit(c, r.URL.Query(), true)
	if err != nil {
		return err
	}
	g.metrics.opened.WithLabelValues("ws").Inc()
	err = a.at.ws.Serve(c.Response(), r, ws.Request{
		Channels: a.channels, From: from, Who: a.who,
		Client: &talk{pass: a.pass, speech: a.at.speech, viewer: a.viewer, as: a.as},
	})
	var refused *ws.HandshakeError
	if errors.As(err, &refused) {
		if refused.Status == 0 {
			return nil // nobody is left to be told
		}
		for name, values := range refused.Header {
			c.Response().Header()[name] = values
		}
		return &refusal{refused.Status, "handshake", refused.Reason}
	}
	return err
}

func (g *Gateway) servePoll(c echo.Context) error {
	r := c.Request()
	params := r.URL.Query()
	if r.Method == http.MethodGet && r.ContentLength != 0 {
		// Nobody would read it, and what is left on a kept connection is taken
		// for the next request (RFC 9112 section 11.2).
		return &refusal{http.StatusBadRequest, "body", "a poll by GET has no body: use POST for a form"}
	}
	if r.Method == http.MethodPost {
		form, err := g.form(c)
		if err != nil {
			return err
		}
		for name, values := range form {
			params[name] = values // a form field goes before one of the query, as in PHP's $_REQUEST
		}
	}
	wish, err := poll.Wish(r, params.Get)
	if err != nil {
		return &refusal{http.StatusBadRequest, "parameter", err.Error()}
	}
	a, err := g.admit(c, params, false)
	if err != nil {
		return err
	}
	g.metrics.opened.WithLabelValues("poll").Inc()
	pass := a.pass // alone, or all of a would be kept
	wish.Channels, wish.Pass, wish.Header, wish.Who = a.channels, &pass, a.header, a.who
	return a.at.poll.Serve(c.Response(), r, wish)
}

// bodyTimeout is how long a client may take over a form.
const bodyTimeout = 10 * time.Second

// form reads an urlencoded body within its limits of size and time.
func (g *Gateway) form(c echo.Context) (url.Values, error) {
	body, err := g.body(c)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "form", "the form is not urlencoded"}
	}
	return form, nil
}

func (g *Gateway) body(c echo.Context) ([]byte, error) {
	if err := checkEncoding(c.Request()); err != nil {
		return nil, err
	}
	return g.readWithin(c, bodyTimeout, http.MaxBytesReader(c.Response(), c.Request().Body, int64(g.settings().Limits.Body)))
}

// checkEncoding refuses compressed bodies. Nothing here undoes that, so that a few
// bytes never become many, and a web server behind us might.
func checkEncoding(r *http.Request) error {
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return &refusal{http.StatusUnsupportedMediaType, "body", "compressed bodies are not read: send it without a Content-Encoding"}
		}
	}
	return nil
}

// readWithin reads what there is of a body, which a client must not spread over a
// longer time.
func (g *Gateway) readWithin(c echo.Context, most time.Duration, body io.Reader) ([]byte, error) {
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Now().Add(most)); err != nil {
		return nil, fmt.Errorf("limit the time of a body: %w", err)
	}
	all, err := io.ReadAll(body)
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, &refusal{http.StatusRequestEntityTooLarge, "body", fmt.Sprintf(
			"the body is too large: the limit is %v (limits.body)", g.settings().Limits.Body)}
	case err != nil:
		return nil, &refusal{http.StatusRequestTimeout, "body", "the body did not arrive in time"}
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the limit of time of a body: %w", err)
	}
	return all, nil
}
