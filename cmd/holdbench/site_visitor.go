package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The pauses between two polls, as the chat plugin's JavaScript makes them
// (wp-live-chat-support 8.0.25, js/wplc_u.js).
const (
	repollAfter      = 1500 * time.Millisecond
	repollAfterError = 5 * time.Second
)

// What a chat's status means to its visitor's browser.
const (
	statusActive = "3"
	statusEnded  = "8"
	statusOther  = "11" // open in another tab
)

// bindingCookie ties chats to a browser; the companion plugin and Holdline set it.
const bindingCookie = "holdline_visitor"

// webSite says where WordPress is and what its pages carry.
type webSite struct {
	url   string // without a slash at the end
	nonce string // wplc_nonce of a page that nobody is logged in to
}

func (s webSite) ajax() string { return s.url + "/wp-admin/admin-ajax.php" }

// visitor is one browser with one chat. Contact comes first; Run holds one poll
// after the other, as the plugin's JavaScript does. Only heldFor may be called
// while Run runs.
type visitor struct {
	site    webSite
	client  *http.Client // with a cookie jar of its own
	session string       // wplcsession: when the page was loaded
	said    func(seq int, asked time.Time)

	cid, status string
	name, email string
	again       bool         // action_2 is sent from the second poll on
	asked       atomic.Int64 // UnixNano of the poll under way, 0 for none
	tally       *pollTally
}

// pollTally counts what happened to all visitors.
type pollTally struct {
	polls, answers, ended, failed atomic.Int64
}

func (t *pollTally) counts() pollCounts {
	return pollCounts{Sent: t.polls.Load(), Answered: t.answers.Load(), Failed: t.failed.Load(), Ended: t.ended.Load()}
}

// newVisitor makes a browser. said is called for each message of the bench, with
// the time at which the poll that brought it was sent.
func newVisitor(site webSite, transport http.RoundTripper, t *pollTally, said func(int, time.Time)) (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("make a cookie jar: %w", err)
	}
	return &visitor{
		site: site, client: &http.Client{Transport: transport, Jar: jar}, said: said, tally: t,
		session: strconv.FormatInt(time.Now().UnixMilli(), 10), status: "5",
	}, nil
}

// contact is the first poll of a page: PHP makes a chat and answers at once.
func (v *visitor) contact(ctx context.Context) error {
	body, err := v.post(ctx, v.form(true))
	if err != nil {
		return fmt.Errorf("make a visitor's first contact: %w", err)
	}
	if err := v.take(body, time.Now()); err != nil {
		return fmt.Errorf("make a visitor's first contact: %w", err)
	}
	if v.cid == "" {
		return fmt.Errorf("make a visitor's first contact: no chat in the answer %.200q", body)
	}
	return v.setCookies()
}

// setCookies does what the plugin's JavaScript does with a chat's number.
func (v *visitor) setCookies() error {
	at, err := url.Parse(v.site.url)
	if err != nil {
		return fmt.Errorf("keep a visitor's cookies: %w", err)
	}
	v.client.Jar.SetCookies(at, []*http.Cookie{
		{Name: "wplc_cid", Value: v.cid, Path: "/"}, {Name: "wplc_chat_status", Value: v.status, Path: "/"},
	})
	return nil
}

// bound reports whether the browser got the cookie that binds its chat to it.
func (v *visitor) bound() bool {
	at, err := url.Parse(v.site.url)
	if err != nil {
		return false
	}
	for _, c := range v.client.Jar.Cookies(at) {
		if c.Name == bindingCookie {
			return true
		}
	}
	return false
}

// run polls until ctx is over or the chat has ended.
func (v *visitor) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := repollAfter
		if err := v.poll(ctx); err != nil && ctx.Err() == nil {
			v.tally.failed.Add(1)
			pause = repollAfterError
		}
		if v.status == statusEnded || v.status == statusOther {
			v.tally.ended.Add(1)
			return
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// poll is one request of the loop and its answer.
func (v *visitor) poll(ctx context.Context) error {
	asked := time.Now()
	v.asked.Store(asked.UnixNano())
	defer v.asked.Store(0)
	v.tally.polls.Add(1)
	body, err := v.post(ctx, v.form(false))
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return nil
	}
	v.tally.answers.Add(1)
	return v.take(body, asked)
}

// heldFor is how long the poll under way has been held; 0 between two polls.
func (v *visitor) heldFor(now time.Time) time.Duration {
	if asked := v.asked.Load(); asked != 0 {
		return now.Sub(time.Unix(0, asked))
	}
	return 0
}

// form is the body of a poll, with all that jQuery sends.
func (v *visitor) form(first bool) url.Values {
	form := url.Values{
		"action": {"wplc_call_to_server_visitor"}, "security": {v.site.nonce}, "cid": {v.cid},
		"wplc_name": {v.name}, "wplc_email": {v.email}, "status": {v.status}, "wplcsession": {v.session},
		"wplc_is_mobile": {"false"}, "wplc_extra_data[object_switch]": {"1"},
		"first_run": {strconv.FormatBool(first)}, "short_poll": {strconv.FormatBool(first)},
	}
	if v.again {
		form.Set("action_2", "")
	}
	v.again = true
	return form
}

func (v *visitor) post(ctx context.Context, form url.Values) ([]byte, error) {
	return postForm(ctx, v.client, v.site, form, "")
}

// postForm posts to admin-ajax.php as a page of the site does.
func postForm(ctx context.Context, client *http.Client, site webSite, form url.Values, cookie string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, site.ajax(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", form.Get("action"), err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "X-Requested-With": "XMLHttpRequest",
		"Referer": site.url + "/", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) holdbench", "Accept": "*/*",
	} {
		request.Header.Set(name, value)
	}
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", form.Get("action"), err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", form.Get("action"), err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("post %s: %s: %.200q", form.Get("action"), response.Status, body)
	}
	return body, nil
}

// take does with an answer what the plugin's JavaScript does. Names and the
// chat's number are echoed in the next poll; the status is the new one to ask with.
func (v *visitor) take(body []byte, asked time.Time) error {
	a, err := parseAnswer(body)
	if err != nil {
		return err
	}
	for _, seq := range a.messages {
		v.said(seq, asked)
	}
	for field, value := range map[*string]string{&v.cid: a.cid, &v.status: a.status, &v.name: a.name, &v.email: a.email} {
		if value != "" {
			*field = value
		}
	}
	return nil
}

// loopAnswer is what the bench needs of an answer. Empty text: not in it.
type loopAnswer struct {
	cid, status, name, email string
	messages                 []int // sequence numbers of the bench's own
}

var errAnswer = errors.New("the answer to a poll is not the plugin's")

// parseAnswer reads the JSON of a loop. Numbers come as numbers or as text,
// whatever PHP's variable was; data may be an object, null or HTML.
func parseAnswer(body []byte) (loopAnswer, error) {
	var raw struct {
		CID    json.RawMessage `json:"cid"`
		Status json.RawMessage `json:"status"`
		Name   string          `json:"wplc_name"`
		Email  string          `json:"wplc_email"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return loopAnswer{}, fmt.Errorf("%w: %w: %.200q", errAnswer, err, body)
	}
	a := loopAnswer{cid: scalar(raw.CID), status: scalar(raw.Status), name: raw.Name, email: raw.Email}
	var data map[string]struct {
		Msg json.RawMessage `json:"msg"`
	}
	if json.Unmarshal(raw.Data, &data) != nil { // null, or HTML for the box
		return a, nil
	}
	for message := range maps.Values(data) {
		if seq, ok := benchMessage(scalar(message.Msg)); ok {
			a.messages = append(a.messages, seq)
		}
	}
	return a, nil
}

// scalar is a JSON number or string as text; "" for anything else.
func scalar(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

const benchPrefix = "holdbench "

// benchText is the text of a message of the bench; benchMessage reads its number.
func benchText(seq int) string { return benchPrefix + strconv.Itoa(seq) }

func benchMessage(text string) (seq int, ok bool) {
	number, ok := strings.CutPrefix(text, benchPrefix)
	if !ok {
		return 0, false
	}
	seq, err := strconv.Atoi(number)
	return seq, err == nil
}

// spread is a start at random within d, so that visitors do not march in step.
func spread(d time.Duration) time.Duration { return rand.N(d) }
