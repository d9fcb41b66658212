package wplc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdline/internal/chat"
)

func TestSlotsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(&kept{})
		now := time.Now()
		for i := range 100 {
			s.put(fmt.Sprint(i), "", true, &chat.Reply{Body: make([]byte, maxReply)})
		}
		if count, bytes := s.usage(); count != 31 || bytes > maxReplies {
			t.Errorf("%d answers, %d bytes", count, bytes)
		}
		if s.take("0", "", now) != nil || s.take("99", "", now) == nil {
			t.Error("not the oldest went first")
		}
		for i := range 100_000 {
			s.put(fmt.Sprint(i), "", true, &chat.Reply{})
		}
		if count, bytes := s.usage(); count > 17_000 || bytes > maxReplies {
			t.Errorf("%d empty answers, %d bytes", count, bytes)
		}
		time.Sleep(replyLife + time.Second)
		s.forget()
		if count, bytes := s.usage(); count != 0 || bytes != 0 {
			t.Errorf("%d answers, %d bytes are left", count, bytes)
		}
	})
}

// An answer is for the request that is held when another one of its client was
// told, not for the next one; and what PHP tells again only for the same form.
func TestSlotsGiveAnswersOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(&kept{})
		held := time.Now()
		time.Sleep(time.Second)
		s.put("k", "5", true, &chat.Reply{})
		given := s.take("k", "3", held)
		if given == nil || s.take("k", "5", time.Now()) != given {
			t.Fatal("messages were not given")
		}
		s.tell(given, time.Now())
		if s.take("k", "5", held) != given || s.take("k", "5", time.Now()) != nil {
			t.Error("after it was told")
		}
		time.Sleep(toldLife + time.Second)
		if s.take("k", "5", held) != nil {
			t.Error("long after it was told")
		}

		s.put("k", "5", false, &chat.Reply{})
		if s.take("k", "3", held) != nil || s.take("k", "5", held) == nil {
			t.Error("a status for another form")
		}
		time.Sleep(staleAfter + time.Second)
		if s.take("k", "5", held) != nil {
			t.Error("a status that is stale")
		}
	})
}

// queue is a queue of forwards whose PHP answers when told to.
type queue struct {
	forwards
	begun   []string
	release chan struct{}
	ended   []string
	errs    []error
}

func (q *queue) add(key string, slow bool) bool {
	f := &forward{key: key, send: func(ctx context.Context, _ bool) (*chat.Reply, error) {
		q.mu.Lock()
		q.begun = append(q.begun, key)
		q.mu.Unlock()
		select {
		case <-q.release:
			return &chat.Reply{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	if slow {
		f.why = forPulse
	}
	return q.offer(f, func() bool { return false })
}

func (q *queue) next() string {
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	begun := strings.Join(q.begun, " ")
	q.begun = nil
	return begun
}

func TestForwardsAreFewAndFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{release: make(chan struct{})}
		q.done = func(f *forward, _ *chat.Reply, err error) {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.ended, q.errs = append(q.ended, f.key), append(q.errs, err)
		}
		var gone []string
		q.gone = func(f *forward) { gone = append(gone, f.key) }
		if q.add("early", false) {
			t.Error("taken before the start")
		}
		ctx, stop := context.WithCancel(context.Background())
		wait := q.start(ctx)
		for _, key := range []string{"s1", "s2", "s3", "s4", "q1", "q2", "q3"} {
			q.add(key, key[0] == 's')
		}
		if got := q.next(); !slices.Equal(sorted(got), []string{"q1", "q2", "s1", "s2"}) {
			t.Errorf("began %s", got)
		}
		if q.add("q1", false) || q.add("q3", false) || q.add("s1", false) {
			t.Error("a client's second forward was taken")
		}
		// One that waits for its turn to be held gives way to what is answered at once.
		if !q.has("s1") || q.has("s4") || !q.add("s4", false) || !slices.Equal(gone, []string{"s4"}) {
			t.Errorf("gone: %v", gone)
		}
		var order []string
		for range 7 {
			q.release <- struct{}{}
			order = append(order, strings.Fields(q.next())...)
		}
		if got := strings.Join(order, " "); got != "s3 q3 s4" && got != "q3 s3 s4" && got != "q3 s4 s3" {
			t.Errorf("then %s", got)
		}
		if len(q.clients) != 0 || q.busy != 0 || q.busySlow != 0 {
			t.Errorf("left: %d clients, %d busy, %d slow", len(q.clients), q.busy, q.busySlow)
		}

		q.ended, q.errs = nil, nil
		for i := range 6 {
			q.add(fmt.Sprint("l", i), false)
		}
		q.next()
		stop()
		began := time.Now()
		go func() { q.release <- struct{}{} }() // one comes back in the last moment
		wait()
		if took := time.Since(began); took != lastMoment || len(q.ended) != 4 || q.add("late", false) {
			t.Errorf("ended after %v: %v", took, q.ended)
		}
		if n := len(slices.DeleteFunc(q.errs, func(err error) bool { return !errors.Is(err, context.Canceled) })); n != 3 {
			t.Errorf("%d were cut off", n)
		}
	})
}

func sorted(words string) []string {
	fields := strings.Fields(words)
	slices.Sort(fields)
	return fields
}

func TestForwardsRefuseWhatMustNotBeKept(t *testing.T) {
	send := func(reply *chat.Reply, err error) Forward {
		return func(context.Context, bool) (*chat.Reply, error) { return reply, err }
	}
	for name, tc := range map[string]struct {
		send Forward
		want string
	}{
		"too large":  {send(&chat.Reply{Body: make([]byte, maxReply+1)}, nil), "1048577 bytes"},
		"no answer":  {send(nil, nil), "no answer"},
		"an error":   {send(nil, errors.New("connection refused")), "connection refused"},
		"status 500": {send(&chat.Reply{Status: 500}, nil), "status 500"},
		"a panic":    {func(context.Context, bool) (*chat.Reply, error) { panic("oops") }, "panic: oops"},
	} {
		f := &forward{send: tc.send, loop: Loop{Action: ActionVisitor}}
		if reply, err := f.run(context.Background()); reply != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
	}
	for _, status := range []int{0, 200, 302, 400, 403, 404} {
		f := &forward{send: send(&chat.Reply{Status: status}, nil)}
		if _, err := f.run(context.Background()); err != nil {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// A short poll that the page did not ask for is an answer only where PHP would
// have answered a held loop.
func TestJudgeOfShortPolls(t *testing.T) {
	for _, tc := range []struct {
		sent, body    string
		says, carries bool
	}{
		{"5", `{"status":"5","check":true}`, false, false},
		{"0", `{"status":12}`, false, false},
		{"5", `{"status":"7"}`, false, false},
		{"3", `{"status":"5"}`, false, false},
		{"3", `{"status":"8"}`, false, false},
		{"3", `{"status":null}`, false, false},
		{"10", `{"alert":true,"status":"10"}`, false, false},
		{"3", `{"status":3,"data":{"7":{"msg":"x"}}}`, true, true},
		{"10", `{"alert":true,"status":3,"data":{"7":{"msg":"x"}}}`, true, true},
		{"2", `{"status":"3","data":null}`, true, false},
		{"3", `{"status":8,"data":{"9999":{"msg":"ended"}}}`, true, true},
		{"2", `{"status":"12","data":"<span>"}`, true, true},
		{"5", `{"status":"2"}`, true, false},
		{"3", `{"status":"9"}`, true, false},
		{"3", `{"status":"10"}`, true, false},
		{"3", `{"status":"3","typing":"1"}`, true, true},
		{"3", "\n<br />Warning: {\"status\"", true, true},
		{"3", "0", true, false},
		{"3", " \n", false, false},
	} {
		f := &forward{short: true, loop: Loop{Action: ActionVisitor, form: loopForm{status: tc.sent}}}
		reply := &chat.Reply{Body: []byte(tc.body)}
		if got := f.says(reply); got != tc.says {
			t.Errorf("POST %s: %s: says %v", tc.sent, tc.body, got)
		}
		if got := f.loop.carries(reply); got != tc.carries {
			t.Errorf("POST %s: %s: carries %v", tc.sent, tc.body, got)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("3", []byte(`{"status":3,"data":{"7":{"msg":"x"}}}`))
	f.Add("5", []byte(`{"status":"5"}`))
	f.Add("", []byte("<br>{"))
	f.Fuzz(func(t *testing.T, sent string, body []byte) {
		fw := &forward{short: true, loop: Loop{Action: ActionVisitor, form: loopForm{status: sent}}}
		reply := &chat.Reply{Body: body}
		fw.says(reply)
		fw.loop.carries(reply)
		nextTable(reply)
	})
}

func TestCreated(t *testing.T) {
	const first = `{"check":true,"debug":"","cid":7,"status":"5"}`
	for name, tc := range map[string]struct {
		form, answer string
		cid          int64
	}{
		"first poll":               {"action=wplc_call_to_server_visitor&status=5", first, 7},
		"first poll, empty":        {"action=wplc_call_to_server_visitor&cid=", first, 7},
		"first poll, null":         {"action=wplc_call_to_server_visitor&cid=null", first, 7},
		"first poll, 0":            {"action=wplc_call_to_server_visitor&cid=0", first, 7},
		"start":                    {"action=wplc_start_chat&name=Ann", "7\n", 7},
		"a chat is named":          {"action=wplc_call_to_server_visitor&cid=7", first, 0},
		"00 is named":              {"action=wplc_start_chat&cid=00", "7", 0},
		"a blank is named":         {"action=wplc_start_chat&cid=%20", "7", 0},
		"an object is named":       {"action=wplc_start_chat&cid=[object Object]", "7", 0},
		"start, chat is named":     {"action=wplc_start_chat&cid=7", "7", 0},
		"named as an array":        {"action=wplc_start_chat&cid[]=7", "7", 0},
		"named behind a blank":     {"action=wplc_start_chat&%20cid=7", "7", 0},
		"named before a NUL":       {"action=wplc_start_chat&cid%00=7", "7", 0},
		"named twice":              {"action=wplc_start_chat&cid=&cid=7", "7", 0},
		"another action":           {"action=wplc_user_send_msg", "7", 0},
		"two actions":              {"action=wplc_start_chat&action=x", "7", 0},
		"the form's own, echoed":   {"action=wplc_call_to_server_visitor&cid=null", `{"cid":"7"}`, 0},
		"an error":                 {"action=wplc_start_chat", "error2", 0},
		"nothing":                  {"action=wplc_start_chat", "", 0},
		"zero":                     {"action=wplc_start_chat", "0", 0},
		"negative":                 {"action=wplc_start_chat", "-7", 0},
		"too large":                {"action=wplc_start_chat", strings.Repeat("9", 30), 0},
		"a fraction":               {"action=wplc_call_to_server_visitor", `{"cid":7.5}`, 0},
		"no object":                {"action=wplc_call_to_server_visitor", `[7]`, 0},
		"refused":                  {"action=wplc_call_to_server_visitor", `-1`, 0},
		"a poll's answer to start": {"action=wplc_start_chat", first, 0},
	} {
		form, err := url.ParseQuery(tc.form)
		if err != nil {
			t.Fatal(err)
		}
		cid, ok := Created(form, []byte(tc.answer))
		if cid != tc.cid && ok || ok != (tc.cid != 0) {
			t.Errorf("%s: %d, %v", name, cid, ok)
		}
		if ok && !Creates(form) {
			t.Errorf("%s: made by a form that makes none", name)
		}
	}
}

func FuzzCreated(f *testing.F) {
	f.Add("action=wplc_start_chat", []byte("7"))
	f.Add("action=wplc_call_to_server_visitor&cid=null", []byte(`{"cid":7}`))
	f.Fuzz(func(t *testing.T, text string, answer []byte) {
		form, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if cid, ok := Created(form, answer); ok && (cid <= 0 || !Creates(form)) {
			t.Errorf("%q, %q: %d", text, answer, cid)
		}
	})
}

func TestChannelOfALoop(t *testing.T) {
	for cid, want := range map[int64]string{0: "", unknownChat: "", 41: "wplc/41"} {
		if got := (&Loop{CID: cid, Agent: cid == 0}).Channel(); got != want {
			t.Errorf("chat %d: %q", cid, got)
		}
	}
}

func TestDeskKnowsAgents(t *testing.T) {
	site, _ := loopSite(t, "8")
	d := NewDesk(detect(t, site), DeskOptions{Wake: func(string) {}})
	for user, want := range map[int64]bool{-1: false, 0: false, 1: true, 2: false} {
		if got, err := d.IsAgent(context.Background(), user); got != want || err != nil {
			t.Errorf("user %d: %v, %v", user, got, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got, err := d.IsAgent(ctx, 1); got || err == nil {
		t.Errorf("without a database: %v, %v", got, err)
	}
}
