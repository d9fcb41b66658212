package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"holdline/internal/token"
	"holdline/wordpress"
)

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

// ajax posts to admin-ajax.php as the gateway does; keys sign, if there are any.
func (e *exam) ajax(ctx context.Context, action string, keys token.Keys, body []byte) (reply, error) {
	door, err := wordpress.NewDoor(e.Config.WordPress.Upstream)
	if err != nil {
		return reply{}, err
	}
	defer door.Transport.CloseIdleConnections()
	req, err := door.Request(ctx, e.siteURL(), action, body)
	if err != nil {
		return reply{}, err
	}
	if len(keys.Secret) > 0 {
		req.Header.Set("Content-Type", "application/json")
		keys.SignHeader(req.Header, body, e.Now())
	}
	resp, text, err := door.Ask(req, maxReply)
	if err != nil {
		return reply{}, err
	}
	return reply{resp.StatusCode, text, resp.Header}, nil
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
	r, err := e.ajax(ctx, "", token.Keys{}, nil)
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
	r, err := e.ajax(ctx, wordpress.SendAction, token.Keys{Secret: []byte(e.Config.Auth.Secret.Reveal())}, body)
	if err != nil {
		return []Finding{fault(fmt.Sprintf("WordPress does not answer a signed call (%v)", rootCause(err)), "Look at PHP's log.")}
	}
	return []Finding{e.judgeCompanion(r, e.Now())}
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
