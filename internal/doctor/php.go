package doctor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"holdline/internal/token"
	"holdline/wordpress"
)

const ajaxPath = "/wp-admin/admin-ajax.php"

// reply is what an HTTP server said.
type reply struct {
	status int
	body   []byte
	header http.Header
}

const maxReply = 64 << 10

// siteURL is where WordPress is, as well as it can be known without a database;
// "" when nobody knows.
func (e *exam) siteURL() string {
	if e.site != nil && e.site.SiteURL() != "" {
		return e.site.SiteURL()
	}
	said, _ := e.WordPress.String("WP_SITEURL")
	return cmp.Or(said, e.Config.WordPress.URL)
}

// home is the address of the site's pages, likewise.
func (e *exam) home() string {
	if e.Config.WordPress.URL == "" && e.site != nil {
		return e.site.Home()
	}
	said, _ := e.WordPress.String("WP_HOME")
	return cmp.Or(e.Config.WordPress.URL, said)
}

// ajax posts to admin-ajax.php as the gateway does: through the upstream where
// there is one, as the site's own host.
func (e *exam) ajax(ctx context.Context, action string, header http.Header, body []byte) (reply, error) {
	site, err := url.Parse(e.siteURL())
	if err != nil || site.Host == "" {
		return reply{}, fmt.Errorf("the site's address %q is no URL", e.siteURL())
	}
	to := *site
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if path, isUnix := strings.CutPrefix(e.Config.WordPress.Upstream, "unix:"); isUnix {
		to.Scheme = "http"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	} else if up, err := url.Parse(e.Config.WordPress.Upstream); err == nil && up.Host != "" {
		to.Scheme, to.Host = up.Scheme, up.Host
	}
	to.Path = strings.TrimSuffix(site.Path, "/") + ajaxPath
	if action != "" {
		to.RawQuery = "action=" + action
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Host = site.Host
	if header != nil {
		req.Header = header
	}
	req.Header.Set("X-Holdline-Forwarded", "1") // past any proxy rule that leads back
	req.Header.Set("X-Forwarded-Proto", site.Scheme)
	req.Header.Set("User-Agent", "holdline")
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReply))
	if err != nil {
		return reply{}, err
	}
	return reply{answer.StatusCode, text, answer.Header}, nil
}

// php names the place where PHP is asked.
func (e *exam) php() string {
	if e.Config.WordPress.Upstream != "" {
		return "wordpress.upstream (" + e.Config.WordPress.Upstream + ")"
	}
	return "the site (" + e.siteURL() + ")"
}

// checkUpstream asks admin-ajax.php for nothing, which WordPress answers "0".
func checkUpstream(ctx context.Context, e *exam) []Finding {
	if e.siteURL() == "" {
		return skipped("the site's address is not known: set wordpress.url")
	}
	r, err := e.ajax(ctx, "", nil, nil)
	where := e.php()
	if err != nil {
		return []Finding{fault(fmt.Sprintf("%s cannot be reached (%v)", where, rootCause(err)),
			"Start PHP's web server there, or set wordpress.upstream to where it listens; `holdline snippet nginx` prints a rule with such a door.")}
	}
	e.upstream = true
	if strings.TrimSpace(string(r.body)) == "0" && (r.status == http.StatusBadRequest || r.status == http.StatusOK) {
		return ok("WordPress answers at " + where)
	}
	e.upstream = false
	switch {
	case r.status >= 300 && r.status < 400:
		return []Finding{fault(fmt.Sprintf("%s redirects to %s instead of answering", where, location(r.header)),
			"Let it answer there for the site's host name and with X-Forwarded-Proto: https, or point wordpress.upstream at PHP's own web server.")}
	case r.status >= 500:
		return []Finding{fault(fmt.Sprintf("%s answers %d: PHP is down or broken", where, r.status),
			"Start PHP-FPM and look at its log and the web server's.")}
	}
	return []Finding{fault(fmt.Sprintf("%s answers %d to admin-ajax.php, which is not WordPress's answer", where, r.status),
		"Point wordpress.upstream at the web server that runs this site's PHP, and let POST requests for admin-ajax.php pass from here.")}
}

// location is where a redirect leads, without what may be secret in a query.
func location(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	if err != nil || u.Host == "" && u.Path == "" {
		return "another place"
	}
	u.RawQuery, u.User = "", nil
	return u.String()
}

// checkCompanion makes a signed call that asks for nothing: to store no message.
// A sync call would tell more, but the first of all has a meaning: it is
// Holdline's start, after which chats count as new.
func checkCompanion(ctx context.Context, e *exam) []Finding {
	switch {
	case e.siteURL() == "" || !e.upstream:
		return skipped("this needs “upstream”, see there")
	case e.Config.Auth.Secret.Empty():
		return skipped("there is no secret to call it with: set auth.secret_file")
	}
	body, err := json.Marshal(map[string]any{"call": rand.Text(), "messages": []any{}})
	if err != nil {
		return []Finding{fault(err.Error(), "Report this.")}
	}
	now := e.Now()
	stamp := strconv.FormatInt(now.Unix(), 10)
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set(token.TimestampHeader, stamp)
	header.Set(token.SignatureHeader, token.Keys{Secret: []byte(e.Config.Auth.Secret.Reveal())}.SignCall(stamp, body))
	r, err := e.ajax(ctx, wordpress.SendAction, header, body)
	if err != nil {
		return []Finding{fault(fmt.Sprintf("WordPress does not answer a signed call (%v)", rootCause(err)), "Look at PHP's log.")}
	}
	return []Finding{e.judgeCompanion(r, now)}
}

func (e *exam) judgeCompanion(r reply, now time.Time) Finding {
	var a wordpress.SyncAnswer // what the answers to all signed calls have in common
	if json.Unmarshal(r.body, &a) != nil {
		a = wordpress.SyncAnswer{}
	}
	off := time.Unix(a.Time, 0).Sub(now)
	const put = "Put what `holdline snippet mu-plugin` prints into wp-content/mu-plugins/holdline.php, and HOLDLINE_URL and HOLDLINE_SECRET into wp-config.php."
	switch {
	case strings.TrimSpace(string(r.body)) == "0":
		return warn("the companion plugin is not there, or is off, or is older than this Holdline; without it PHP answers more of the polling, and browsers cannot send", put)
	case r.status == http.StatusForbidden && a.Error == "signature":
		return e.wrongSecret()
	case r.status == http.StatusForbidden && a.Error == "time":
		return fault(fmt.Sprintf("the site's clock is %s this machine's, so it refuses all calls (five minutes are allowed)", apart(off)),
			"Set both clocks by NTP: `timedatectl set-ntp true` on each machine.")
	case r.status != http.StatusOK || !a.OK:
		return fault(fmt.Sprintf("the companion plugin answers a signed call with %d and not as it should", r.status),
			"Look at PHP's log, and let POST requests for admin-ajax.php pass from here; install the plugin anew: "+put)
	case off > time.Minute || off < -time.Minute:
		return warn(fmt.Sprintf("the site's clock is %s this machine's; at five minutes it will refuse all calls", apart(off)),
			"Set both clocks by NTP: `timedatectl set-ntp true` on each machine.")
	}
	return Finding{Status: OK, Text: fmt.Sprintf("the companion plugin (version %d of the contract) takes signed calls", a.Version)}
}

// wrongSecret tells which two values differ, without showing either.
func (e *exam) wrongSecret() Finding {
	if e.Config.Origins()["auth.secret"] == "wp-config" {
		return fault("the companion plugin has another secret than the one that Holdline makes of the keys in wp-config.php",
			"Set wordpress.config to the wp-config.php that PHP itself reads, or set auth.secret_file to a file with what HOLDLINE_SECRET is there.")
	}
	return fault("the companion plugin has another secret than auth.secret ("+e.Config.Origins()["auth.secret"]+")",
		"Set HOLDLINE_SECRET in the site's wp-config.php to what auth.secret is here, and restart Holdline if it was changed here.")
}
