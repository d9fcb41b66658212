package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/chat"
	"holdline/wpdb"
)

// checkFull expects a refusal that names the limit and its setting.
func checkFull(t *testing.T, a *answer, limit int, setting string) {
	t.Helper()
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" ||
		!strings.Contains(a.sentence, fmt.Sprint(limit)) || !strings.Contains(a.sentence, setting) {
		t.Errorf("%s: %s, Retry-After %q, %q", a.transport, a.Status, a.Header.Get("Retry-After"), a.sentence)
	}
}

func TestLimitOfAllConnections(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.Connections = 3 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	pass := bearer(s.token(channel))
	var lines []*held
	for _, transport := range []string{"poll", "sse", "ws"} {
		lines = append(lines, s.hold(t, transport, channel, pass))
	}
	for _, transport := range transportNames {
		checkFull(t, s.knock(t, transport, channel, pass), 3, "limits.connections")
	}
	for _, h := range lines {
		h.leave()
	}
	s.awaitAdmitted(t, 0)
	for range 5 {
		for _, transport := range transportNames {
			s.hold(t, transport, channel, pass).leave()
			s.awaitAdmitted(t, 0)
		}
	}
	t.Logf("refused for want of room: %d", s.metric(t, `holdline_requests_refused_total{reason="limit_connections"}`))
}

func TestLimitOfOneAddress(t *testing.T) {
	for name, c := range map[string]struct {
		trusted string
		held    []string // X-Forwarded-For of those who are held
		refused []string
		welcome []string
	}{
		"a proxy that is trusted": {"127.0.0.0/8", []string{"192.0.2.1", "192.0.2.1"}, []string{"192.0.2.1"}, []string{"192.0.2.2", ""}},
		"what the client made up": {"127.0.0.0/8", []string{"1.1.1.1, 192.0.2.1", "2.2.2.2, 192.0.2.1"}, []string{"3.3.3.3,192.0.2.1"}, []string{"192.0.2.1, 192.0.2.2"}},
		"two trusted proxies":     {"127.0.0.0/8,10.0.0.0/8", []string{"192.0.2.1, 10.0.0.1", "192.0.2.1, 10.0.0.2"}, []string{"192.0.2.1"}, []string{"192.0.2.3, 10.0.0.1"}},
		"a proxy that is not":     {"10.0.0.0/8", []string{"192.0.2.1", "192.0.2.2"}, []string{"192.0.2.3", ""}, nil},
		"one home of IPv6":        {"127.0.0.0/8", []string{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2"}, []string{"2001:db8:0:1::3"}, []string{"2001:db8:0:2::1"}},
		"IPv4 written as IPv6":    {"127.0.0.0/8", []string{"::ffff:192.0.2.1", "192.0.2.1"}, []string{"::ffff:c000:201"}, []string{"192.0.2.9"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, with(func(cfg *config.Config) {
				cfg.Limits.PerAddress, cfg.TrustedProxies = 2, nil
				for p := range strings.SplitSeq(c.trusted, ",") {
					cfg.TrustedProxies = append(cfg.TrustedProxies, netip.MustParsePrefix(p))
				}
			}))
			channel := fmt.Sprintf("wplc/%d", s.chat(3))
			pass := bearer(s.token(channel))
			from := func(xff string) ask {
				if xff == "" {
					return func(*http.Request) {}
				}
				return header("X-Forwarded-For", xff)
			}
			for i, xff := range c.held {
				s.hold(t, []string{"sse", "ws"}[i%2], channel, pass, from(xff))
			}
			for _, xff := range c.refused {
				for _, transport := range transportNames {
					checkFull(t, s.knock(t, transport, channel, pass, from(xff)), 2, "limits.per_address")
				}
			}
			for _, xff := range c.welcome {
				for _, transport := range transportNames {
					if a := s.knock(t, transport, channel, pass, from(xff)); !a.ok() {
						t.Errorf("%s from %q: %s %s", transport, xff, a.Status, a.text)
					} else {
						a.close()
						s.awaitAdmitted(t, 2)
					}
				}
			}
		})
	}
}

func TestLimitOfOneUser(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.PerUser = 2 }))
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	for name, who := range map[string]ask{
		"login":   cookie(s.login("agent", true)),
		"token":   bearer(s.token(channel)),
		"visitor": cookie(binding(t, secret, time.Now().Add(time.Hour), channel)),
	} {
		s.hold(t, "sse", channel, home, who)
		s.hold(t, "ws", channel, home, who)
		for _, transport := range transportNames {
			t.Run(name+" on "+transport, func(t *testing.T) {
				checkFull(t, s.knock(t, transport, channel, home, who), 2, "limits.per_user")
			})
		}
	}
	if a := s.knock(t, "poll", channel, home, cookie(s.login("another", true))); !a.ok() {
		t.Error("another user is refused too:", a.text)
	}
}

func TestLimitsOfOneRequest(t *testing.T) {
	s := newSite(t, with(func(c *config.Config) { c.Limits.Channels, c.Limits.Body, c.Limits.Header = 3, 2048, 4096 }))
	pass := bearer(s.token("wplc/*"))
	for _, transport := range transportNames {
		if a := s.knock(t, transport, "wplc/1,wplc/2,wplc/3,wplc/1,,wplc/2", pass); !a.ok() {
			t.Error(transport, "three channels, some twice:", a.text)
		}
		for channels, word := range map[string]string{"wplc/1,wplc/2,wplc/3,wplc/4": "limits.channels", "": "which channels", ",,": "which channels"} {
			if a := s.knock(t, transport, channels, pass); a.StatusCode != 400 || !strings.Contains(a.sentence, word) {
				t.Errorf("%s %q: %s %s", transport, channels, a.Status, a.text)
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(s.request(t, transport, strings.Repeat("x", 20_000)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Error(transport, "a huge header:", resp.Status)
		}
	}
	for _, path := range []string{"poll", "wake"} {
		resp, err := httpClient.Post(s.base+"/"+path, "application/x-www-form-urlencoded", strings.NewReader("channels="+strings.Repeat("x", 3000)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(b), "limits.body") {
			t.Error(path, "a huge body:", resp.Status, string(b))
		}
	}
}

func (s *site) request(tb testing.TB, transport, junk string) *http.Request {
	tb.Helper()
	req, err := http.NewRequest(http.MethodGet, s.base+"/"+transport, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("X-Junk", junk)
	return req
}

// TestBodyOfPollIsNoRequest: were the body left on the line, a proxy that shares
// connections would give its answer to another client.
func TestBodyOfPollIsNoRequest(t *testing.T) {
	s := newSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	conn, err := net.Dial("tcp", s.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	fmt.Fprintf(conn, "GET /holdline/v1/poll?channels=%s&token=%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"+
		"GET /holdline/v1/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", channel, s.token(channel), len(smuggled), smuggled)
	r := bufio.NewReader(conn)
	var got []int
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		got = append(got, resp.StatusCode)
	}
	if len(got) == 0 || got[0] != 400 || (len(got) > 1 && got[1] != 200) || len(got) > 2 {
		t.Fatal("answers:", got)
	}
}

// stub is a site without a database, whose one feed does as it is told.
type stub struct {
	names   atomic.Int64
	rename  bool // the hub knows the feed by another name than the gateway
	mayRead func() (bool, error)
}

func (f *stub) Name() string {
	if f.rename && f.names.Add(1) == 1 {
		return "other"
	}
	return "stub"
}
func (f *stub) Wake() uint64 { return 0 }
func (f *stub) Rows(context.Context, []string, int64, int64, []int64, int) ([]chat.Event, int64, error) {
	return nil, 0, nil
}
func (f *stub) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f *stub) Stats() wpdb.TailStats         { return wpdb.TailStats{} }

func (f *stub) connect(o *gateway.Options) {
	o.Connect = func(context.Context, wpdb.Sink) (*gateway.Backend, error) {
		return &gateway.Backend{Feeds: []gateway.Feed{{Tail: f, MayRead: func(context.Context, chat.Viewer, string) (bool, error) {
			return f.mayRead()
		}}}}, nil
	}
}

func TestPassesComeBackWhenThingsFail(t *testing.T) {
	yes := func() (bool, error) { return true, nil }
	for name, c := range map[string]struct {
		feed   *stub
		ask    ask
		status map[string]int // by transport; 0: the connection just ends
	}{
		"the handshake is bad": {
			&stub{mayRead: yes}, func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "short") }, map[string]int{"ws": 400},
		},
		"the subscription fails": {
			&stub{mayRead: yes, rename: true}, func(*http.Request) {}, map[string]int{"sse": 200, "ws": 101, "poll": 0},
		},
		"a right cannot be checked": {
			&stub{mayRead: func() (bool, error) { return false, errors.New("disk on fire") }}, func(*http.Request) {}, map[string]int{"sse": 503, "ws": 503, "poll": 503},
		},
		"the handler panics": {
			&stub{mayRead: func() (bool, error) { panic("on purpose") }}, func(*http.Request) {}, map[string]int{"sse": 500, "ws": 500, "poll": 500},
		},
	} {
		for transport, want := range c.status {
			t.Run(name+" on "+transport, func(t *testing.T) {
				f := &stub{rename: c.feed.rename, mayRead: c.feed.mayRead}
				s := newSite(t, f.connect, with(func(cfg *config.Config) { cfg.Limits.Connections = 2 }))
				for range 5 {
					status := 0
					req, err := http.NewRequest(http.MethodGet, s.base+"/"+transport+"?channels=stub/1", nil)
					if err != nil {
						t.Fatal(err)
					}
					if transport == "ws" {
						for k, v := range map[string]string{
							"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
						} {
							req.Header.Set(k, v)
						}
					}
					c.ask(req)
					resp, err := (&http.Transport{DisableKeepAlives: transport == "poll"}).RoundTrip(req)
					if err == nil {
						status = resp.StatusCode
						if status != 101 {
							io.Copy(io.Discard, resp.Body) // ends by itself
						}
						resp.Body.Close()
					}
					if status != want {
						t.Fatalf("status %d, want %d (%v)", status, want, err)
					}
					s.await(t, "nobody is held", func() bool { return s.gw.Held() == 0 })
					s.awaitAdmitted(t, 0)
				}
			})
		}
	}
}
