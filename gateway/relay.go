package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/wpdb/wplc"
)

// maxReply bounds PHP's answer to a loop.
const maxReply = 1 << 20

// forwarder returns a function that sends this request to PHP as often as it is
// called. It keeps the request's head and form, a few kilobytes, and nothing of its
// connection.
func (a *ajax) forwarder() wplc.Forward {
	in := a.c.Request().Clone(context.Background())
	in.Body = nil
	body := a.body.raw
	return func(ctx context.Context, short bool) (*chat.Reply, error) {
		form := body
		if short {
			form = shortened(body)
		}
		return a.g.ask(ctx, in, form)
	}
}

// shortened asks PHP to answer at once whatever there is.
func shortened(form []byte) []byte {
	var out []byte
	for field := range bytes.SplitSeq(form, []byte("&")) {
		if name, _, _ := bytes.Cut(field, []byte("=")); unescape(string(name)) != "short_poll" && len(field) > 0 {
			out = append(append(out, field...), '&')
		}
	}
	return append(out, "short_poll=true"...)
}

// hopByHop are the headers that end at the next server (RFC 9110 section 7.6.1).
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func dropHopByHop(h http.Header) {
	for _, field := range h.Values("Connection") {
		for name := range strings.SplitSeq(field, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// ask sends a loop's form to PHP, as the proxy would, and reads the whole answer.
func (g *Gateway) ask(ctx context.Context, in *http.Request, form []byte) (*chat.Reply, error) {
	defer g.metrics.called(callRelay, time.Now())
	out := in.Clone(ctx)
	dropHopByHop(out.Header)
	// As with the proxy, who asks is told by us or by those before us that we trust.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		out.Header.Del(name)
	}
	out.Header.Del("Accept-Encoding") // the answer is looked into
	g.toUpstream(&httputil.ProxyRequest{In: in, Out: out})
	out.RequestURI = ""
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(form)), int64(len(form)), nil
	resp, err := g.upstream.Transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("ask PHP: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("read PHP's answer: %w", err)
	}
	if len(body) > maxReply {
		return nil, fmt.Errorf("PHP's answer has more than %d bytes", maxReply)
	}
	header := resp.Header.Clone()
	dropHopByHop(header)
	header.Del("Content-Length")
	return &chat.Reply{Status: resp.StatusCode, Header: header, Body: body}, nil
}
