package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// checkOrigin refuses browsers that act for another site. Cookies come along
// whichever page asks, and a WebSocket is not bound by the same-origin policy,
// so the Origin must be one that the site or the operator named, exactly:
// scheme, host and port. ambient says that the request's rights come from
// cookies; mustSay that a browser always sends an Origin with such a request: a
// WebSocket, or a POST (https://fetch.spec.whatwg.org/#append-a-request-origin-header).
func checkOrigin(r *http.Request, allowed []string, ambient, mustSay bool) error {
	origin := r.Header.Get("Origin")
	if origin != "" {
		if slices.Contains(allowed, strings.ToLower(origin)) {
			return nil
		}
		return &refusal{
			http.StatusForbidden, "origin",
			"this page's origin is not allowed: add it to auth.allowed_origins",
		}
	}
	if !ambient {
		return nil
	}
	if mustSay {
		return &refusal{
			http.StatusForbidden, "origin",
			"what may write with cookies needs an Origin header: use a token outside browsers",
		}
	}
	// Same-origin GETs carry no Origin. Browsers then say by themselves where
	// the request comes from (https://www.w3.org/TR/fetch-metadata/).
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	}
	return &refusal{
		http.StatusForbidden, "origin",
		"cookies are only accepted from the site's own pages: use a token from elsewhere",
	}
}

// cors tells the browser that a page of another, listed origin may read the
// answer. The origin is echoed only when it is on the list.
func cors(h http.Header, r *http.Request, allowed []string) {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(allowed, strings.ToLower(origin)) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
}

// wordPressAllows tells whether admin-ajax.php lets pages of an origin read its
// answers (get_allowed_http_origins and send_origin_headers in wp-includes/http.php):
// those of the site's hosts over either scheme, on the usual port.
func wordPressAllows(origin string, site []string) bool {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Port() != "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return slices.ContainsFunc(site, func(own string) bool {
		o, err := url.Parse(own)
		return err == nil && o.Hostname() == u.Host
	})
}

// originOf is the origin of a site's address, "" if it has none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
	return scheme + "://" + host
}
