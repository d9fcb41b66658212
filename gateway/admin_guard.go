package gateway

import (
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"holdline/internal/park"
)

// operatorServer is the one of the admin listener. A profile of a minute is slower
// than any page, so only what a request brings is bounded.
func (g *Gateway) operatorServer() *http.Server {
	return &http.Server{
		Handler: g.adminRoutes(), ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: park.DefaultKeepAliveIdle,
		MaxHeaderBytes: int(g.cfg.Limits.Header),
	}
}

// guardOperator keeps other sites' pages away from the operator's. The listener asks
// for no password, so a page that a browser near it has open must not reach it:
// neither under a name of its own that now leads here (DNS rebinding), nor by
// asking from afar.
func (g *Gateway) guardOperator(next http.Handler) http.Handler {
	names := operatorNames(g.cfg.AdminListen, g.cfg.AdminHosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isOperatorHost(r.Host, names) && !strings.HasPrefix(g.cfg.AdminListen, "unix:"):
			http.Error(w, "these pages are not known by this name: call them by an address or localhost, or add the name to admin_hosts", http.StatusMisdirectedRequest)
		case isAcrossSites(r):
			http.Error(w, "these pages are not for other sites", http.StatusForbidden)
		default:
			// Without CORS headers a page elsewhere can read nothing either.
			w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
			next.ServeHTTP(w, r)
		}
	})
}

// operatorNames are the names that lead to the admin listener rightly. Beyond
// loopback that is the machine's own, too.
func operatorNames(listen string, configured []string) []string {
	names := append([]string{"localhost"}, configured...)
	host := hostname(listen)
	names = append(names, strings.ToLower(host))
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && a.IsLoopback() {
		return names
	}
	if own, err := os.Hostname(); err == nil { // where it is not known, admin_hosts can say it
		names = append(names, strings.ToLower(own))
	}
	return names
}

// isOperatorHost tells whether a Host header may be the operator's. A name can be
// made to lead anywhere by who owns it, an address leads where it says, and a
// request without any (HTTP/1.0) is no browser's.
func isOperatorHost(host string, names []string) bool {
	if host == "" {
		return true
	}
	name := strings.ToLower(strings.TrimSuffix(hostname(host), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name != "" && slices.Contains(names, name) || strings.HasSuffix(name, ".localhost") // RFC 6761 section 6.3
}

// isAcrossSites tells whether a page of another origin asks. Following a link to a
// page is no such thing: what comes is shown to a person.
func isAcrossSites(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		return err != nil || u.Host != r.Host
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	isPage := r.URL.Path == "/status" || r.URL.Path == "/"
	return !isPage || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}
