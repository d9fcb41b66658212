package doctor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// front is the way from a browser to Holdline, with all proxies on it. Holdline
// answers requests with check= there without a login (gateway/check.go).
type front struct {
	base  *url.URL // with the base path
	id    string   // names this run's requests
	kind  string   // of web server: a key of advice, or ""
	local netip.Addr
}

// came is how a request came in, as Holdline saw it; see checkReport in
// gateway/check.go.
type came struct {
	Now          float64 `json:"now"`
	HeldMS       float64 `json:"held_ms"`
	Address      string  `json:"address"`
	Scope        string  `json:"scope"`
	Trusted      bool    `json:"trusted"`
	ForwardedFor bool    `json:"forwarded_for"`
	SameHost     bool    `json:"same_host"`
	HTTPS        bool    `json:"https"`
	HeartbeatMS  int64   `json:"heartbeat_ms"`
	Handshake    string  `json:"handshake"`
	Reason       string  `json:"reason"` // of a refusal
}

// address is one endpoint of the check.
func (f front) address(endpoint string, query url.Values) string {
	to := *f.base
	to.Path += "/" + endpoint
	if query == nil {
		query = url.Values{}
	}
	query.Set("check", f.id)
	to.RawQuery = query.Encode()
	return to.String()
}

// fix is what to change in the web server that answers.
func (f front) fix(problem string) string {
	text, known := advice[problem][f.kind]
	if !known {
		text = advice[problem][""]
	}
	kind := f.kind
	if kind == "" {
		kind = "nginx"
	}
	return text + ". `holdline snippet " + kind + "` prints a rule that does all of it."
}

// ask polls, and returns how the request came in.
func (f *front) ask(ctx context.Context, wait time.Duration) (c came, r reply, err error) {
	q := url.Values{"wait": {strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)}, "host": {f.base.Hostname()}}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if at, err := netip.ParseAddrPort(info.Conn.LocalAddr().String()); err == nil {
			f.local = at.Addr().Unmap()
		}
	}}
	answer, err := f.get(httptrace.WithClientTrace(ctx, trace), f.address("poll", q))
	if err != nil {
		return c, r, err
	}
	defer answer.Body.Close()
	r.status, r.header = answer.StatusCode, answer.Header
	if r.body, err = io.ReadAll(io.LimitReader(answer.Body, maxReply)); err != nil {
		return c, r, err
	}
	if json.Unmarshal(r.body, &c) != nil {
		c = came{}
	}
	return c, r, nil
}

func (f *front) get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "holdline doctor")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client.Do(req)
}

// checkFront finds out whether anything of Holdline's can be reached where
// browsers look for it, and what the request looked like on arrival.
func checkFront(ctx context.Context, e *exam) []Finding {
	f, err := e.newFront()
	if err != nil {
		return skipped(err.Error())
	}
	c, r, err := f.ask(ctx, 0)
	f.kind = serverKind(r.header.Get("Server"))
	e.front, e.beat = f, time.Duration(c.HeartbeatMS)*time.Millisecond
	switch {
	case err == nil && r.status == http.StatusOK && c.Now > 0:
		return orOK(e.judgeArrival(c), fmt.Sprintf("%s leads to Holdline%s", f.base, seenAs(c)))
	case c.Reason == "limit_check":
		return skipped("too many checks are running there: try again in half a minute")
	case !e.running:
		return skipped("Holdline does not run here, so there is nothing to reach at " + f.base.String())
	case err != nil:
		return []Finding{fault(fmt.Sprintf("%s cannot be reached (%v)", f.base, rootCause(err)),
			"Start the web server, and check wordpress.url, the name's DNS entry and the certificate; --url names another address to try.")}
	case r.status == http.StatusBadGateway, r.status == http.StatusServiceUnavailable, r.status == http.StatusGatewayTimeout:
		return []Finding{fault(fmt.Sprintf("the web server at %s cannot reach Holdline: it answers %d", f.base, r.status),
			"Let its rule name the address that Holdline listens on ("+e.Config.Listen+").")}
	}
	if r.status >= 300 && r.status < 400 {
		return []Finding{fault(fmt.Sprintf("%s redirects to %s", f.base, location(r.header)), "Set wordpress.url to the address to which browsers are sent.")}
	}
	return []Finding{fault(fmt.Sprintf("something else than Holdline answers at %s, with %d", f.base, r.status),
		"Let the web server send "+e.Config.BasePath+"/ to Holdline: "+f.fix("route"))}
}

// newFront decides where browsers reach Holdline. The base path is the host's,
// also where WordPress lies deeper.
func (e *exam) newFront() (front, error) {
	address := e.URL
	if address == "" {
		u, err := url.Parse(e.home())
		if err != nil || u.Host == "" {
			return front{}, errors.New("the site's address is not known: set wordpress.url, or give --url")
		}
		address = u.Scheme + "://" + u.Host + e.Config.BasePath
	}
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return front{}, errors.New("--url must be like https://example.com" + e.Config.BasePath)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return front{base: u, id: rand.Text()}, nil
}

func seenAs(c came) string {
	if c.Address != "" {
		return ", which sees this machine as " + c.Address
	}
	return ", which sees this machine by a " + c.Scope + " address"
}

// judgeArrival tells what the proxies did to the request. This machine's own
// requests never have X-Forwarded-For, so who set it is a proxy.
func (e *exam) judgeArrival(c came) (found []Finding) {
	f := e.front
	_, own, _ := net.SplitHostPort(e.Config.Listen)
	direct := f.base.Port() != "" && f.base.Port() == own // no proxy before it
	seen, _ := netip.ParseAddr(c.Address)
	switch {
	case c.ForwardedFor && !c.Trusted:
		found = append(found, fault("Holdline does not believe the proxy in front of it, so all visitors count as one address and share its limits",
			"Add the proxy's address to trusted_proxies."))
	case !c.ForwardedFor && !direct:
		found = append(found, fault("the proxy does not say who asks (no X-Forwarded-For), so all visitors count as one address and share its limits", f.fix("forwarded")))
	case seen.IsValid() && f.local.IsGlobalUnicast() && !f.local.IsPrivate() && seen != f.local && seen.Is4() == f.local.Is4():
		found = append(found, warn(fmt.Sprintf("this machine asked as %s and Holdline saw %s: perhaps a second proxy (a CDN) is on the way", f.local, seen),
			"Add the addresses of all proxies on the way to trusted_proxies."))
	}
	if f.base.Scheme == "https" && !c.HTTPS {
		found = append(found, warn("Holdline is not told that browsers come by HTTPS", f.fix("forwarded")))
	}
	if !c.SameHost {
		found = append(found, warn("the proxy replaces the site's host name, so pages of the site count as strangers", f.fix("host")))
	}
	return found
}

// How long a connection is watched. Holdline itself lets go of a check after 30 s.
const (
	firstByte = 3 * time.Second // the browser's script gives a stream as long
	longHold  = 25 * time.Second
	quickHold = time.Second
	longQuiet = 28 * time.Second
)

// checkPoll has a request held as long as the browser's script would.
func checkPoll(ctx context.Context, e *exam) []Finding {
	hold := longHold
	if e.Quick {
		hold = quickHold
	}
	f := e.front
	began := time.Now()
	c, r, err := f.ask(ctx, hold)
	took := time.Since(began)
	switch {
	case err == nil && r.status == http.StatusOK && c.HeldMS >= float64(hold.Milliseconds())-100:
		return ok(fmt.Sprintf("held for %s and answered%s", hold, e.briefly()))
	case c.Reason == "limit_check":
		return skipped("too many checks are running there: try again in half a minute")
	}
	how := fmt.Sprintf("status %d", r.status)
	if err != nil {
		how = rootCause(err).Error()
	}
	return []Finding{warn(fmt.Sprintf("a request that was to be held for %s was cut after %.1f s (%s); polls will be shorter and more", hold, took.Seconds(), how), f.fix("timeout"))}
}

// briefly is said where --quick has left something out.
func (e *exam) briefly() string {
	if e.Quick {
		return " (whether longer ones are held is not tried with --quick)"
	}
	return ""
}

// advice is what to change, by problem and web server; "" is any other. The check
// page (wordpress/check/check.js) says the same.
var advice = map[string]map[string]string{
	"upgrade": {
		"nginx":     "`proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;` for this path",
		"apache":    "`upgrade=websocket` at the ProxyPass (Apache 2.4.47 or later), or mod_proxy_wstunnel",
		"litespeed": "A `websocket` proxy for this path",
		"iis":       "The WebSocket Protocol feature and `webSocket enabled=\"true\"`",
		"":          "Pass on the headers `Connection: Upgrade` and `Upgrade: websocket`, over HTTP/1.1",
	},
	"buffer": {
		"nginx":  "`proxy_buffering off;` and no `proxy_ignore_headers X-Accel-Buffering` for this path",
		"apache": "`flushpackets=on` at the ProxyPass",
		"caddy":  "`flush_interval -1` in reverse_proxy",
		"iis":    "`responseBufferLimit=\"0\"` for the proxy",
		"":       "Switch buffering off for this path",
	},
	"compress": {
		"nginx":  "`gzip off;` for this path",
		"apache": "No mod_deflate and no mod_brotli for this path: `SetEnv no-gzip 1`",
		"caddy":  "No `encode` for this path",
		"":       "Leave this path uncompressed",
	},
	"timeout": {
		"nginx":  "`proxy_read_timeout 75s;` for this path",
		"apache": "`timeout=75` at the ProxyPass",
		"iis":    "A proxy time-out of 75 seconds",
		"":       "A time-out of at least 75 seconds for this path",
	},
	"host": {
		"nginx":  "`proxy_set_header Host $host;`",
		"apache": "`ProxyPreserveHost On`",
		"":       "Pass on the header `Host` as it comes",
	},
	"forwarded": {
		"nginx": "`proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;`, and the proxy's address in trusted_proxies",
		"":      "Pass on `X-Forwarded-For` and `X-Forwarded-Proto`, and add the proxy's address to trusted_proxies",
	},
	"route": {
		"": "a rule for that path",
	},
}

// serverKind is the word that `holdline snippet` has for a Server header; "" for
// others.
func serverKind(server string) string {
	server = strings.ToLower(server)
	for _, known := range [][2]string{
		{"nginx", "nginx"},
		{"openresty", "nginx"},
		{"apache", "apache"},
		{"caddy", "caddy"},
		{"litespeed", "litespeed"},
		{"microsoft-iis", "iis"},
	} {
		if strings.Contains(server, known[0]) {
			return known[1]
		}
	}
	return ""
}
