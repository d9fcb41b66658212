package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/internal/token"
	"holdline/internal/wpauth"
	"holdline/wpdb"
)

// refusal is an error that the browser is told.
type refusal struct {
	status int
	reason string // closed set, for metrics and for programs
	text   string // a sentence for people
}

func (e *refusal) Error() string { return e.text }

// expected refusals are counted and not logged: the limits doing their work, and
// a database that /readyz already speaks of.
func (e *refusal) expected() bool {
	return e.reason == "not_ready" || strings.HasPrefix(e.reason, "limit_")
}

// identity is who a request comes from.
type identity struct {
	viewer  chat.Viewer
	grant   grant
	over    transport
	user    string // what per_user counts by
	ambient bool   // rests on cookies, at least in part
	// doubt is why a credential was not accepted; it is told when what remains
	// does not suffice.
	doubt *refusal
}

// TokenCookie may carry a token where headers cannot be set.
const TokenCookie = "holdline_token"

// identify finds out who a request comes from: by a token, a visitor's binding,
// a WordPress login, or all of them. A bad token is refused outright, since the
// client chose to send it; bad cookies may be left over and only count as none.
// The caller releases the grant.
func (g *Gateway) identify(ctx context.Context, b *Backend, r *http.Request, from netip.Addr, now time.Time) (*identity, error) {
	id := &identity{over: transportOf(r)}
	if text, ambient := tokenOf(r); text != "" {
		claims, err := g.keys.Verify(text, now)
		if err != nil {
			g.metrics.auth.WithLabelValues("token", "refused").Inc()
			return nil, &refusal{http.StatusUnauthorized, "token", err.Error()}
		}
		g.metrics.auth.WithLabelValues("token", "accepted").Inc()
		id.viewer.Granted, id.viewer.TokenUser = claims.Channels, tokenUser(claims.Subject)
		id.user, id.ambient = userKey(0, claims.Subject), ambient
		id.until(claims.Expires)
	}
	if value, ok := wpauth.LookupCookie(r.Header["Cookie"], token.BindingCookie); ok {
		binding, err := g.keys.CheckBinding(value, now)
		if err != nil {
			id.doubt = &refusal{http.StatusUnauthorized, "binding", err.Error()}
		} else {
			id.viewer.Granted = append(id.viewer.Granted, binding.Channels...)
			id.ambient = true
			id.user = cmp.Or(id.user, "v"+binding.Channels[0])
			id.until(binding.Expires)
		}
	}
	if err := g.identifyLogin(ctx, b, r, from, now, id); err != nil {
		return nil, err
	}
	return id, nil
}

// tokenUser is the WordPress user in whose name a token's bearer speaks: that of
// a subject such as wp:2. Others name somebody whom WordPress does not know.
func tokenUser(subject string) int64 {
	number, ok := strings.CutPrefix(subject, "wp:")
	id, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || id < 0 {
		return 0
	}
	return id
}

// until shortens the grant's life.
func (id *identity) until(t time.Time) {
	if g := &id.grant; g.expires == 0 || t.Unix() < g.expires {
		g.expires = t.Unix()
	}
}

// identifyLogin adds the WordPress user, if there is a good cookie.
func (g *Gateway) identifyLogin(ctx context.Context, b *Backend, r *http.Request, from netip.Addr, now time.Time, id *identity) error {
	header := strings.Join(r.Header["Cookie"], "; ")
	if b.Login == nil || !strings.Contains(header, wpauth.LoggedInPrefix) {
		return nil
	}
	session, err := b.Login(ctx, wpdb.Cookies{Header: header, Address: from.String()}, now)
	switch {
	case err == nil:
		g.metrics.auth.WithLabelValues("cookie", "accepted").Inc()
		id.grant.session = session
		id.viewer.UserID = session.UserID
		id.user = userKey(session.UserID, "")
		id.ambient = true
		return nil
	case isLoginRefusal(err):
		g.metrics.auth.WithLabelValues("cookie", "refused").Inc()
		id.ambient = true
		id.doubt = &refusal{http.StatusUnauthorized, "login", loginSentence(err)}
		return nil
	default:
		g.metrics.auth.WithLabelValues("cookie", "unknown").Inc()
		return err
	}
}

// isLoginRefusal tells a cookie that is no good from a database that does not
// answer.
func isLoginRefusal(err error) bool {
	return wpauth.Reason(err) != "error" || errors.Is(err, wpdb.ErrBarred) || errors.Is(err, wpdb.ErrTooManyFailures)
}

func loginSentence(err error) string {
	switch {
	case errors.Is(err, wpauth.ErrExpired), errors.Is(err, wpauth.ErrNoSession):
		return "the WordPress login has ended: log in again"
	case errors.Is(err, wpdb.ErrTooManyFailures), errors.Is(err, wpdb.ErrBarred):
		return err.Error()
	}
	return "the WordPress login cookie is not valid"
}

// tokenOf returns the token of a request: from the Authorization header, a
// cookie (which makes it ambient), or the query, for clients that can set
// neither.
func tokenOf(r *http.Request) (text string, ambient bool) {
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), false
	}
	if t := r.URL.Query().Get("token"); t != "" {
		return t, false
	}
	if value, ok := wpauth.LookupCookie(r.Header["Cookie"], TokenCookie); ok {
		return value, true
	}
	return "", false
}

// redactedQuery is a request's query as it may be logged.
func redactedQuery(u *url.URL) string {
	q := u.Query()
	for name := range q {
		switch name {
		case "channels", "cursor", "wait", "padding":
		default:
			q.Set(name, "redacted")
		}
	}
	return q.Encode()
}

// authorise checks every channel that a request names.
func (g *Gateway) authorise(ctx context.Context, b *Backend, id *identity, channels []string) error {
	for _, channel := range channels {
		source, name, err := chat.SplitChannel(channel)
		if err != nil {
			return &refusal{http.StatusBadRequest, "channel", err.Error()}
		}
		feed := b.feed(source)
		if feed == nil {
			return &refusal{http.StatusNotFound, "channel", "this server reads no source called " + source}
		}
		may, err := feed.MayRead(ctx, id.viewer, name)
		if err != nil {
			return err
		}
		if may {
			continue
		}
		g.metrics.auth.WithLabelValues("channel", "refused").Inc()
		switch {
		case !id.viewer.IsNobody():
			return &refusal{http.StatusForbidden, "channel", "you may not read " + channel}
		case id.doubt != nil:
			return id.doubt
		}
		return &refusal{http.StatusUnauthorized, "nobody", "log in, or bring a token, to read " + channel}
	}
	return nil
}

func (b *Backend) feed(source string) *Feed {
	for i := range b.Feeds {
		if b.Feeds[i].Tail.Name() == source {
			return &b.Feeds[i]
		}
	}
	return nil
}
