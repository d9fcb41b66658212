package dropin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// words that only the chat's own people may read.
var private = []string{"top secret", "Ann Private", "ann.private@example.com"}

// TestStrangers has a browser ask for another's chat by its number, in every way
// that PHP or Holdline would understand.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for _, w := range []way{native, relay} {
		for _, visitors := range []string{"adopt", "strict"} {
			t.Run(w.name+", "+visitors, func(t *testing.T) {
				s := newStage(t, w, nginx, "HOLDLINE_LOOPS_WPLC_VISITORS="+visitors)
				victim := privateChat(s)
				before := s.rows(victim)
				var both sync.WaitGroup
				for who, b := range map[string]*browser{"nobody": stranger(s), "another visitor": boundStranger(s)} {
					both.Go(func() {
						askForLoops(s, who, b, victim)
						askElsewhere(s, who, b, victim)
					})
				}
				both.Wait()
				pass(s.ctx, time.Second) // for writes that come late
				if after := s.rows(victim); after != before {
					t.Errorf("strangers have changed the chat:\n%s\nwas\n%s", after, before)
				}
			})
		}
	}
}

// TestCompatibleVisitors lets strangers read as PHP does, if the operator wants it.
func TestCompatibleVisitors(t *testing.T) {
	t.Parallel()
	for _, w := range []way{php, native, relay} {
		t.Run(w.name, func(t *testing.T) {
			s := newStage(t, w, nginx, "HOLDLINE_LOOPS_WPLC_VISITORS=compatible")
			victim := privateChat(s)
			got, err := stranger(s).ajax(s.ctx, url.Values{
				"action": {"wplc_call_to_server_visitor"}, "cid": {victim}, "status": {"5"}, "wplcsession": {"1"}, "short_poll": {"true"},
			})
			if err != nil || got.status != http.StatusOK || !strings.Contains(got.body, private[0]) {
				t.Errorf("got %d %q, %v, want the history", got.status, got.body, err)
			}
		})
	}
}

// TestAdoption looks at a chat that began before Holdline came: it goes on for who
// has it, for nobody else, and with `strict` for nobody.
func TestAdoption(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		visitors    string
		first, then bool
	}{{"adopt", true, false}, {"strict", false, false}} {
		t.Run(tt.visitors, func(t *testing.T) {
			s := newStage(t, native, nginx, "HOLDLINE_LOOPS_WPLC_VISITORS="+tt.visitors)
			s.holdline.Kill(t)
			s.exec("DELETE FROM wp_options WHERE option_name LIKE '%holdline%'")
			// PHP alone has made this one: neither Holdline nor its plugin has seen its beginning.
			s.exec(`INSERT INTO wp_wplc_chat_sessions (id, timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
				VALUES (1, NOW(), 'Ann Private', 'ann.private@example.com', '', 3, '1552987800001', '', NOW() + INTERVAL 1 DAY, 1, '', '')`)
			s.tell("1", "top secret")
			s.startHoldline()
			form := url.Values{"action": {"wplc_call_to_server_visitor"}, "cid": {"1"}, "status": {"5"}, "wplcsession": {"1552987800002"}, "short_poll": {"true"}}
			for i, want := range []bool{tt.first, tt.then} {
				b := stranger(s)
				if i == 0 {
					b = newBrowser(s)
				}
				got, err := b.ajax(s.ctx, form)
				if err != nil || got.status != http.StatusOK || strings.Contains(got.body, private[0]) != want {
					t.Errorf("browser %d: %d %q, %v; want the chat: %t", i+1, got.status, got.body, err, want)
				}
				again, err := b.ajax(s.ctx, form)
				if err != nil || strings.Contains(again.body, private[0]) != want {
					t.Errorf("browser %d, again: %d %q, %v; want the chat: %t", i+1, again.status, again.body, err, want)
				}
			}
		})
	}
}

// privateChat is a chat under way with a message that was not told yet. Its own
// page has gone to sleep.
func privateChat(s *stage) (cid string) {
	ann := visit(s, "1552987800001")
	ann.start("Ann Private", "ann.private@example.com")
	login(s, "admin").load(ann.chat())
	ann.seen.await(s.t, "has joined the chat")
	ann.close()
	backstage.Eventually(s.t, "the page's loop is gone", time.Minute, func() bool { return s.heldLoops() == 0 })
	s.tell(ann.chat(), "top secret")
	return ann.chat()
}

// tell writes an agent's message.
func (s *stage) tell(cid, text string) {
	s.t.Helper()
	s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, 'Admin', ?, '2026-03-19 10:30:00', 0, 1, '', '', 0, 0)`, cid, text)
}

// rows is what strangers must not change: who has the chat, its status, and which
// messages were told.
func (s *stage) rows(cid string) string {
	s.t.Helper()
	return s.column(`SELECT CONCAT_WS(' ', s.status, s.session, s.url, s.name, GROUP_CONCAT(CONCAT(m.msg, ':', m.status) ORDER BY m.id))
		FROM wp_wplc_chat_sessions s JOIN wp_wplc_chat_msgs m ON m.chat_sess_id = s.id AND m.originates = 1 WHERE s.id = ? GROUP BY s.id`, cid)
}

// stranger is a browser in another house than the others.
func stranger(s *stage) *browser {
	b := newBrowser(s)
	transport := b.client.Transport.(*http.Transport)
	transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	return b
}

// boundStranger has a chat of its own.
func boundStranger(s *stage) *browser {
	b := stranger(s)
	v := open(s, b, "1552987800009", "/shop/", s.newRecord())
	if v.close(); b.cookie("holdline_visitor") == "" {
		s.t.Error("a visitor's first poll brings no cookie holdline_visitor")
	}
	return b
}

// trick is one way to ask for a chat. The body may have the number as %[1]s.
type trick struct {
	name, query, contentType, body string
	refused                        bool // by Holdline itself; else PHP may make the sender a chat of his own
}

func tricks(cid string) []trick {
	const poll = "action=wplc_call_to_server_visitor&wplcsession=1&status="
	plainly := func(name, body string) trick {
		return trick{name: name, contentType: formType, body: strings.ReplaceAll(body, "CID", cid)}
	}
	refused := func(name, body string) trick {
		t := plainly(name, body)
		t.refused = true
		return t
	}
	whole := poll + "5&short_poll=true&cid=" + cid
	all := []trick{
		plainly("held poll", poll+"3&cid=CID"),
		plainly("short poll", poll+"3&cid=CID&short_poll=true"),
		plainly("page load", poll+"5&cid=CID&short_poll=true"),
		plainly("literal first run", poll+"5&cid=CID&first_run=1"),
		plainly("minimised", poll+"10&cid=CID"),
		plainly("waiting", poll+"2&cid=CID&short_poll=true"),
		plainly("no status", "action=wplc_call_to_server_visitor&cid=CID"),
		plainly("blank behind", poll+"5&short_poll=true&cid=CID+"),
		refused("blank before", poll+"5&short_poll=true&cid=+CID"),
		plainly("tab before", poll+"5&short_poll=true&cid=%09CID"),
		plainly("letter behind", poll+"5&short_poll=true&cid=CIDx"),
		plainly("exponent", poll+"5&short_poll=true&cid=CIDe0"),
		plainly("fraction", poll+"5&short_poll=true&cid=CID.0"),
		plainly("leading zero", poll+"5&short_poll=true&cid=0CID"),
		plainly("sign", poll+"5&short_poll=true&cid=%2BCID"),
		plainly("tag", poll+"5&short_poll=true&cid=<b>CID"),
		plainly("quote", poll+"5&short_poll=true&cid=CID'"),
		plainly("array", poll+"5&short_poll=true&cid[]=CID"),
		plainly("text after array", poll+"5&short_poll=true&cid[]=x&cid=CID"),
		plainly("twice", poll+"5&short_poll=true&cid=999&cid=CID"),
		plainly("percent in names", "%61ction=wplc_call_to_server_visitor&%63id=CID&s%74atus=5&short%5Fpoll=true"),
		plainly("percent in action", "action=wplc%5Fcall_to_server%5Fvisitor&cid=CID&status=5&short_poll=true"),
		refused("blank before names", "+action=wplc_call_to_server_visitor&+cid=CID&+status=5&+short_poll=true"),
		refused("blank before action", "+action=wplc_call_to_server_visitor&cid=CID&status=5&short_poll=true"),
		refused("blanks before the number's name", poll+"5&short_poll=true&%20%20cid=CID"),
		refused("blank before one of two numbers' names", poll+"5&short_poll=true&cid=999&+cid=CID"),
		plainly("dots in names", "action=wplc_call_to_server_visitor&cid=CID&status=5&short.poll=true"),
		plainly("NUL in names", "action=wplc_call_to_server_visitor&cid%00x=CID&status=5&short_poll=true"),
		refused("action twice", "action=wplc_get_chat_box&action=wplc_call_to_server_visitor&cid=CID&status=5&short_poll=true"),
		refused("action twice, the other last", poll+"5&action=wplc_get_chat_box&cid=CID&short_poll=true"),
		refused("action twice, with a blank", "action=wplc_get_chat_box&+action=wplc_call_to_server_visitor&cid=CID&status=5&short_poll=true"),
		refused("the same action twice", poll+"5&action=wplc_call_to_server_visitor&cid=CID&short_poll=true"),
		plainly("padding before", "padding="+strings.Repeat("x", 1<<20+1<<17)+"&"+poll+"5&short_poll=true&cid=CID"),
		plainly("many fields before", strings.Repeat("a=1&", 990)+poll+"5&short_poll=true&cid=CID"),
		{name: "multipart", body: whole},
		{name: "action in the query too", query: "?action=wplc_call_to_server_visitor&cid=999", contentType: formType, body: whole},
		{name: "other action in the query", query: "?action=wplc_get_chat_box", contentType: formType, body: whole},
		{name: "other letters in the type", contentType: "Application/X-WWW-Form-URLencoded", body: whole},
		{name: "type with a comma", contentType: "application/x-www-form-urlencoded, text/plain", body: whole},
		{name: "no type", contentType: "text/plain", body: whole},
		{name: "nothing in the body", query: "?" + whole, contentType: formType},
		plainly("agents' loop", "action=wplc_admin_long_poll_chat&first_run=true&cid=CID"),
		plainly("agents' list", "action=wplc_admin_long_poll&wplc_update_admin_chat_table=false"),
	}
	for i := range all {
		if all[i].contentType == "" {
			all[i].contentType, all[i].body = asMultipart(all[i].body)
		}
	}
	return all
}

// asMultipart writes a form in the other way that browsers know.
func asMultipart(form string) (contentType, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for field := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(field, "=")
		w.WriteField(name, value) // a buffer takes everything
	}
	w.Close()
	return w.FormDataContentType(), b.String()
}

// askForLoops tries every trick. All are let in side by side: some are held.
func askForLoops(s *stage, who string, b *browser, cid string) {
	var all sync.WaitGroup
	for _, trick := range tricks(cid) {
		all.Go(func() {
			got, err := b.do(s.ctx, http.MethodPost, ajaxPath+trick.query, trick.contentType, trick.body)
			if err != nil {
				s.t.Errorf("%s, %s: %v", who, trick.name, err)
				return
			}
			for _, word := range private {
				if strings.Contains(got.body, word) {
					s.t.Errorf("%s, %s: got %q in %q", who, trick.name, word, got.body)
				}
			}
			if trick.refused && (got.status != http.StatusOK || got.body != "") {
				s.t.Errorf("%s, %s: %d %.300q, want it refused with PHP's empty answer", who, trick.name, got.status, got.body)
			}
			// PHP may make a chat of the sender's own, or know no such action.
			own := strings.HasPrefix(got.body, `{"check":true,"debug":"","cid":`)
			unknown := got.status == http.StatusBadRequest && got.body == "0"
			box := strings.HasPrefix(got.body, `{"cbox":`)
			if !(got.status == http.StatusOK && (got.body == "" || own || box)) && !unknown {
				s.t.Errorf("%s, %s: %d %.300q, want PHP's empty answer", who, trick.name, got.status, got.body)
			}
		})
	}
	all.Wait()
}

// askElsewhere asks Holdline's own endpoints for the chat.
func askElsewhere(s *stage, who string, b *browser, cid string) {
	want := http.StatusUnauthorized
	if b.cookie("holdline_visitor") != "" {
		want = http.StatusForbidden
	}
	for _, tt := range []struct{ method, path, form string }{
		{http.MethodGet, "sse?channels=wplc/" + cid, ""},
		{http.MethodGet, "sse?cursor=0&channels=wplc/" + cid, ""},
		{http.MethodGet, "poll?wait=1&cursor=0&channels=wplc/" + cid, ""},
		{http.MethodPost, "poll", "cursor=0&channels=wplc/" + cid},
		{http.MethodGet, "ws?cursor=0&channels=wplc/" + cid, "upgrade"},
	} {
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		status, body, err := ask(ctx, b, tt.method, tt.path, tt.form)
		cancel()
		if err != nil || status != want {
			s.t.Errorf("%s, %s %s: %d %q, %v; want %d", who, tt.method, tt.path, status, body, err, want)
		}
	}
}

func ask(ctx context.Context, b *browser, method, path, form string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, b.front.String()+"/holdline/v1/"+path, strings.NewReader(form))
	if err != nil {
		return 0, "", err
	}
	switch form {
	case "upgrade":
		req.Body = http.NoBody
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": b.front.String(),
		} {
			req.Header.Set(name, value)
		}
	case "":
	default:
		req.Header.Set("Content-Type", formType)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusBadRequest { // a stream has no end
		return resp.StatusCode, "", errors.New("it was let in")
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, fmt.Sprintf("%.200s", text), err
}
