package wordpress

import (
	"io"
	"strings"
	"testing"
)

func TestDoorRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		upstream, site, action string
		url, host, proto       string
	}{
		"the site itself":         {"", "https://example.com", "", "https://example.com/wp-admin/admin-ajax.php", "example.com", "https"},
		"below a path":            {"", "http://example.com/shop/", SyncAction, "http://example.com/shop/wp-admin/admin-ajax.php?action=holdline_sync", "example.com", "http"},
		"PHP's own web server":    {"http://127.0.0.1:9080", "https://example.com:8443/shop", SendAction, "http://127.0.0.1:9080/shop/wp-admin/admin-ajax.php?action=holdline_send", "example.com:8443", "https"},
		"behind a socket":         {"unix:/run/site.sock", "https://example.com", "", "http://php/wp-admin/admin-ajax.php", "example.com", "https"},
		"a site with a query":     {"", "https://example.com/?lang=de", "x&y", "https://example.com/wp-admin/admin-ajax.php?action=x%26y", "example.com", "https"},
		"an upstream with a path": {"http://127.0.0.1:9080/x", "https://example.com", "", "http://127.0.0.1:9080/wp-admin/admin-ajax.php", "example.com", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			door, err := NewDoor(tt.upstream)
			if err != nil {
				t.Fatal(err)
			}
			req, err := door.Request(t.Context(), tt.site, tt.action, []byte("body"))
			if err != nil {
				t.Fatal(err)
			}
			if req.Method != "POST" || req.URL.String() != tt.url || req.Host != tt.host || req.Header.Get("X-Forwarded-Proto") != tt.proto {
				t.Errorf("%s %s for %s by %s", req.Method, req.URL, req.Host, req.Header.Get("X-Forwarded-Proto"))
			}
			if req.Header.Get(ForwardedHeader) == "" {
				t.Error("nothing says that Holdline has seen it")
			}
			if body, err := io.ReadAll(req.Body); err != nil || string(body) != "body" || req.ContentLength != 4 {
				t.Errorf("body %q of %d bytes, %v", body, req.ContentLength, err)
			}
		})
	}
}

func TestDoorWantsURLs(t *testing.T) {
	if _, err := NewDoor("http://[::1"); err == nil || !strings.Contains(err.Error(), "wordpress.upstream") {
		t.Errorf("a door of half an address: %v", err)
	}
	door, err := NewDoor("http://127.0.0.1:9080")
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{"", "example.com", "/shop", "http://[::1"} {
		if _, err := door.Request(t.Context(), site, "", nil); err == nil || !strings.Contains(err.Error(), "set wordpress.url") {
			t.Errorf("site %q: %v", site, err)
		}
	}
}
