package gateway_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"holdline/config"
)

func TestOtherSitesDoNotReachTheOperatorsPages(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.AdminHosts = []string{"holdline.internal"} }))
	_, port, err := net.SplitHostPort(s.gw.AdminAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	cross := header("Sec-Fetch-Site", "cross-site")
	both := func(asks ...ask) ask {
		return func(r *http.Request) {
			for _, a := range asks {
				a(r)
			}
		}
	}
	host := func(name string) ask { return func(r *http.Request) { r.Host = name } }
	follow := both(cross, header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "document"))
	for name, c := range map[string]struct {
		path string
		ask  ask
		want int
	}{
		"by address":                       {"/status", host("127.0.0.1:" + port), 200},
		"by address, another port":         {"/status", host("127.0.0.1"), 200},
		"by an address of the network":     {"/status", host("192.0.2.1:8788"), 200},
		"by IPv6":                          {"/status", host("[::1]:8788"), 200},
		"by localhost":                     {"/status", host("LocalHost:" + port), 200},
		"by localhost with a dot":          {"/status", host("localhost."), 200},
		"below localhost":                  {"/status", host("holdline.localhost"), 200},
		"by a configured name":             {"/status", host("holdline.internal:8788"), 200},
		"by the page's name, rebound":      {"/status", host("evil.example:" + port), 421},
		"the stream, rebound":              {"/status/stream", host("evil.example"), 421},
		"the metrics, rebound":             {"/metrics", host("evil.example"), 421},
		"a profile, rebound":               {"/debug/pprof/goroutine", host("evil.example"), 421},
		"a name that begins as an address": {"/status", host("127.0.0.1.evil.example"), 421},
		"a name that ends as localhost":    {"/status", host("evillocalhost"), 421},
		"an address in another spelling":   {"/status", host("2130706433"), 421},
		"fetched from elsewhere":           {"/status.json", cross, 403},
		"the stream from elsewhere":        {"/status/stream", cross, 403},
		"fetched by a sibling":             {"/status.json", header("Sec-Fetch-Site", "same-site"), 403},
		"a WebSocket's or POST's origin":   {"/status.json", header("Origin", "https://evil.example"), 403},
		"an origin without a name":         {"/status/stream", header("Origin", "null"), 403},
		"a link that is followed":          {"/status", follow, 200},
		"a link to the numbers":            {"/status.json", follow, 403},
		"a link to a profile":              {"/debug/pprof/profile?seconds=1", follow, 403},
		"in a frame":                       {"/status", both(cross, header("Sec-Fetch-Mode", "navigate"), header("Sec-Fetch-Dest", "iframe")), 403},
		"the page's own fetch":             {"/status.json", header("Sec-Fetch-Site", "same-origin"), 200},
		"typed by hand":                    {"/metrics", header("Sec-Fetch-Site", "none"), 200},
		"Prometheus":                       {"/metrics", func(*http.Request) {}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+port+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.ask(req)
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want {
				b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
				t.Errorf("%s, want %d: %s", resp.Status, c.want, b)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Error("a page elsewhere may read the answer:", name)
				}
			}
		})
	}
}

func TestOperatorsPagesOnlyAnswer(t *testing.T) {
	s := newSite(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		for _, path := range []string{"/status", "/status.json", "/status/stream", "/metrics", "/healthz", "/readyz", "/debug/pprof/profile"} {
			req, err := http.NewRequest(method, "http://"+s.gw.AdminAddr().String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, resp.Status)
			}
		}
	}
}

// TestOperatorsOwnNameBeyondLoopback: who lets the listener be reached from the
// network calls it by the machine's name.
func TestOperatorsOwnNameBeyondLoopback(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]int{"0.0.0.0:0": 200, "127.0.0.1:0": 421} {
		s := newSite(t, with(func(c *config.Config) { c.AdminListen = listen }))
		_, port, err := net.SplitHostPort(s.gw.AdminAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+port+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = own + ":" + port
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("on %s, called %s: %s, want %d", listen, own, resp.Status, want)
		}
	}
}
