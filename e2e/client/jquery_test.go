//go:build e2e

package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pages serves the face with a jQuery of each age at /1 to /4, there with a line that
// the test leads by hand, and at /live with the client of a site.
func pages(t *testing.T, gateway string) string {
	t.Helper()
	mux := http.NewServeMux()
	file := func(path string, parts ...string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(parts...)) })
	}
	page := func(path, scripts string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `<!doctype html><link rel="icon" href="data:,"><div id="log" style="height: 9em; overflow: auto"></div>%s`, scripts)
		})
	}
	for i := 1; i <= 4; i++ {
		name := fmt.Sprint(i)
		file("/jquery"+name+".js", "..", "node_modules", "jquery"+name, "dist", "jquery.min.js")
		page("/"+name, `<script src="/jquery`+name+`.js"></script><script src="/hand.js"></script><script src="/face.js"></script>`)
	}
	file("/face.js", "..", "..", "wordpress", "jquery", "jquery.holdline.js")
	file("/hand.js", "page", "jquery.js")
	if gateway != "" {
		to, err := url.Parse(gateway)
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle("/holdline/v1/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // one origin
		}})
		page("/live", `<script>window.hacked = false</script><script src="/jquery1.js"></script><script src="/holdline/v1/jquery.holdline.js"></script>`)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// markup is what nobody may have run by writing it.
var markup = []string{
	`<img src=x onerror="window.hacked = true">`,
	`<script>window.hacked = true</script>`,
	`<svg onload="window.hacked = true"><a href="javascript:window.hacked=1">x</a></svg>`,
	`"><iframe srcdoc="<script>parent.hacked = true</script>"></iframe>`,
	`&lt;b&gt; &amp; \u003cb\u003e`,
	`<style>@import 'javascript:window.hacked=1'</style><b class="holdline-body">bold</b>`,
}

// said has the line say something to the page's face.
func (p *tab) said(kind string, event map[string]any) {
	p.t.Helper()
	p.eval(fmt.Sprintf("hand.say(%q, %s)", kind, quoted(p.t, event)), nil)
}

// log is what the element shows: text and classes of each child.
func (p *tab) log() (lines []string) {
	p.t.Helper()
	p.eval(`[...document.querySelectorAll("#log > *")].map((e) => e.textContent + " / " + e.className.replace(/holdline-/g, ""))`, &lines)
	return lines
}

func (p *tab) wantLog(what string, want ...string) {
	p.t.Helper()
	if got := p.log(); !slices.Equal(got, want) {
		p.t.Errorf("%s: the log is %q, want %q", what, got, want)
	}
}

// An element shows what is said and becomes of it, with each jQuery there is.
func TestJQueryLog(t *testing.T) {
	b, origin := newBrowser(t), pages(t, "")
	for i := 1; i <= 4; i++ {
		t.Run(fmt.Sprint("jQuery ", i), func(t *testing.T) {
			p := b.visit(fmt.Sprint(origin, "/", i), "window.jQuery && jQuery.holdline", 10*time.Second)
			defer p.close()
			p.eval(`$("#log").on("holdline:message holdline:sent", (e, event) => told.push(e.type + " " + event.body)).holdline({ channels: ["wplc/42"], max: 20 }); 0`, nil)
			visitor, agent := map[string]any{"kind": "visitor"}, map[string]any{"kind": "agent", "name": "Joe"}
			event := func(from map[string]any, more ...any) map[string]any {
				e := map[string]any{"channel": "wplc/42", "from": from}
				for i := 0; i < len(more); i += 2 {
					e[more[i].(string)] = more[i+1]
				}
				return e
			}
			p.said("message", event(agent, "id", 1, "body", "Hello"))
			p.said("sent", event(nil, "client_id", "c1", "body", "Hi", "state", "pending"))
			p.said("message", event(visitor, "client_id", "c1", "body", "Hi", "pending", true))
			p.said("message", event(agent, "client_id", "a1", "body", "Wait", "pending", true))
			p.wantLog("pending", "Joe Hello / message agent", "Hi / message visitor pending", "Joe Wait / message agent pending")
			p.said("stored", event(visitor, "client_id", "c1", "id", 2, "body", "Hi"))
			p.said("stored", event(agent, "client_id", "a1", "id", 3, "body", "Wait"))
			p.said("message", event(agent, "id", 3, "body", "Wait"))
			p.said("sent", event(nil, "client_id", "c1", "id", 2, "body", "Hi", "state", "seen"))
			p.wantLog("stored", "Joe Hello / message agent", "Hi / message visitor seen", "Joe Wait / message agent stored")
			p.said("message", event(agent, "client_id", "a2", "body", "Never", "pending", true))
			p.said("sent", event(nil, "client_id", "c2", "body", "Nor this", "state", "pending"))
			p.said("withdrawn", event(agent, "client_id", "a2"))
			p.said("sent", event(nil, "client_id", "c2", "body", "Nor this", "state", "failed"))
			p.wantLog("refused", "Joe Hello / message agent", "Hi / message visitor seen", "Joe Wait / message agent stored", "Nor this / message visitor failed")
			p.said("sent", event(nil, "client_id", "c2", "body", "Nor this", "state", "dropped"))
			var told []string
			if p.eval("told", &told); !slices.Contains(told, "holdline:message Hello") || !slices.Contains(told, "holdline:sent Hi") {
				t.Errorf("the element was told %q", told)
			}
			for n := range 40 {
				p.said("message", event(agent, "id", 100+n, "body", "More"))
			}
			if n := len(p.log()); n != 20 {
				t.Errorf("%d lines are kept", n)
			}
			p.noMarkup(event)
		})
	}
}

// noMarkup says markup wherever a server can put it.
func (p *tab) noMarkup(event func(map[string]any, ...any) map[string]any) {
	p.t.Helper()
	p.eval(`$("#log").empty().holdline({ channels: ["wplc/42"] }).after('<div id="own"></div>'); 0`, nil)
	for i, text := range markup {
		p.said("message", event(map[string]any{"kind": text, "name": text}, "id", 1000+i, "body", text))
	}
	p.eval(`$("#own").holdline({ channels: ["wplc/42"], item: (e) => e.body }); 0`, nil)
	for i, text := range markup {
		p.said("message", event(map[string]any{"kind": "agent"}, "id", 2000+i, "body", text))
	}
	for i, body := range []any{nil, 7, []any{markup[0]}, map[string]any{"x": markup[0]}, strings.Repeat(markup[0], 1000)} {
		p.said("message", event(nil, "id", 3000+i, "body", body))
	}
	wait(p.t, 300*time.Millisecond) // an image fails, a frame loads
	var bad struct {
		Hacked   bool
		Elements int
		Texts    []string
		Own      []string
		Faults   []string
	}
	p.eval(`({ hacked, faults, elements: document.querySelectorAll("#log img, #log script, #log svg, #log iframe, #log b, #log style, #own *:not(div)").length,
		texts: [...document.querySelectorAll("#log .holdline-body")].slice(0, `+fmt.Sprint(len(markup))+`).map((e) => e.textContent),
		own: [...document.querySelectorAll("#own > *")].slice(0, `+fmt.Sprint(len(markup))+`).map((e) => e.textContent) })`, &bad)
	if bad.Hacked || bad.Elements > 0 || len(bad.Faults) > 0 {
		p.t.Errorf("hacked: %v, %d elements of theirs, faults %q", bad.Hacked, bad.Elements, bad.Faults)
	}
	if !slices.Equal(bad.Texts, markup) || !slices.Equal(bad.Own, markup) {
		p.t.Errorf("the texts are\n%q and\n%q, want\n%q", bad.Texts, bad.Own, markup)
	}
}

// Calls wait for the client, which the face loads by itself.
func TestJQueryLine(t *testing.T) {
	s := newSite(t)
	b, origin := newBrowser(t), pages(t, "http://"+strings.TrimPrefix(s.env[0], "HOLDLINE_LISTEN="))
	id, channel := s.chat()
	p := b.visit(origin+"/live", "window.jQuery && jQuery.holdline && !window.Holdline", 10*time.Second)
	defer p.close()
	p.eval(fmt.Sprintf(`window.heard = []; window.states = [];
		window.line = $.holdline({ channels: [%q], token: %q, share: false })
			.on("message", (e) => heard.push(e.body)).on("state", (e) => states.push(e.state));
		window.line.off("nothing").typing(%q);
		$("#log").holdline({ channels: [%q], token: %q, share: false });
		0`, channel, s.token(channel), channel, channel, s.token(channel)), nil)
	p.until(`states.includes("open") && $("#log").data("holdline").line.state === "open"`, 20*time.Second)
	for i, text := range markup {
		s.write(id, text)
		p.until(fmt.Sprintf("heard.length === %d && $('#log').children().length === %d", i+1, i+1), 10*time.Second)
	}
	var got struct {
		Hacked bool
		Texts  []string
		Heard  []string
	}
	p.eval(`({ hacked, heard, texts: $("#log .holdline-body").get().map((e) => e.textContent) })`, &got)
	if got.Hacked || !slices.Equal(got.Texts, got.Heard) {
		t.Errorf("hacked: %v; shown %q, heard %q", got.Hacked, got.Texts, got.Heard)
	}
	p.eval("line.close(); 0", nil)
	p.until(`states.includes("closed")`, 5*time.Second)
}

// A page whose Holdline is not there is told so.
func TestJQueryWithoutClient(t *testing.T) {
	b, origin := newBrowser(t), pages(t, "")
	p := b.visit(origin+"/3", "window.jQuery && jQuery.holdline", 10*time.Second)
	defer p.close()
	p.eval(`window.Holdline = undefined; $.holdline({ url: "/nowhere" }).on("error", (e) => { window.failed = e.reason; }); 0`, nil)
	p.until(`window.failed === "script"`, 10*time.Second)
}
