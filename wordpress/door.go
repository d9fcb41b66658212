package wordpress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// AjaxPath is where plugins take their calls, below the site's own path.
const AjaxPath = "/wp-admin/admin-ajax.php"

// ForwardedHeader marks what has been through Holdline already. A proxy rule that
// sends PHP's share back to us would otherwise turn in a circle for ever.
const ForwardedHeader = "X-Holdline-Forwarded"

// Door is where PHP's web server takes Holdline's own requests. It may be used
// concurrently; who is done with it closes the Transport's idle connections.
type Door struct {
	URL       *url.URL // of PHP's web server; nil: the site's own address
	Transport *http.Transport
}

// NewDoor returns the door of a wordpress.upstream: a URL, or unix:/path of a socket.
func NewDoor(upstream string) (*Door, error) {
	t := &http.Transport{
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // Content-Encoding is between PHP and the browser
	}
	d := &net.Dialer{Timeout: 5 * time.Second}
	if path, ok := strings.CutPrefix(upstream, "unix:"); ok {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
		return &Door{&url.URL{Scheme: "http", Host: "php"}, t}, nil
	}
	t.DialContext = d.DialContext
	u, err := url.Parse(upstream)
	if err != nil {
		return nil, fmt.Errorf("read wordpress.upstream: %w", err)
	}
	if u.Host == "" {
		u = nil
	}
	return &Door{u, t}, nil
}

// Request is a POST to admin-ajax.php of the site at an address (option siteurl), as
// that site's own host and past any proxy rule that leads back to Holdline. action is
// "" for none. Headers may be added.
func (d *Door) Request(ctx context.Context, siteURL, action string, body []byte) (*http.Request, error) {
	site, err := url.Parse(siteURL)
	if err != nil || site.Host == "" {
		return nil, fmt.Errorf("the site's address %q (option siteurl) is no URL: set wordpress.url", siteURL)
	}
	to := url.URL{Scheme: site.Scheme, Host: site.Host, Path: strings.TrimSuffix(site.Path, "/") + AjaxPath}
	if d.URL != nil {
		to.Scheme, to.Host = d.URL.Scheme, d.URL.Host
	}
	if action != "" {
		to.RawQuery = url.Values{"action": {action}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request to WordPress: %w", err)
	}
	req.Host = site.Host
	req.Header.Set(ForwardedHeader, "1")
	req.Header.Set("X-Forwarded-Proto", site.Scheme)
	req.Header.Set("User-Agent", "holdline")
	return req, nil
}

// Ask sends a request and reads at most so many bytes of the answer's body, which is
// closed then. It follows no redirects.
func (d *Door) Ask(req *http.Request, most int64) (*http.Response, []byte, error) {
	resp, err := d.Transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp, body, nil
}
