package wordpress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// fakeStore answers a postman's calls by a function of the messages.
type fakeStore struct {
	t     *testing.T
	each  func(m sendMessage) string // a result; "" ends the request before it
	calls [][]sendMessage
	sizes []int
}

func (f *fakeStore) do(_ context.Context, body []byte) (int, []byte, error) {
	var s struct {
		Call     string
		Messages []sendMessage
	}
	if err := json.Unmarshal(body, &s); err != nil || s.Call == "" || len(body) > MaxSendBody {
		f.t.Errorf("a call of %d bytes: %v", len(body), err)
	}
	f.calls, f.sizes = append(f.calls, s.Messages), append(f.sizes, len(body))
	results := make([]string, len(s.Messages))
	over := false
	for i, m := range s.Messages {
		if results[i] = "{}"; !over {
			r := f.each(m)
			if over = r == ""; !over {
				results[i] = r
			}
		}
	}
	return http.StatusOK, fmt.Appendf(nil, `{"ok":true,"version":1,"results":[%s]}`, strings.Join(results, ",")), nil
}

func (f *fakeStore) postman() *Postman { return NewPostman(PostmanOptions{Do: f.do}) }

func messages(n int, body string) []outbox.Message {
	ms := make([]outbox.Message, n)
	for i := range ms {
		ms[i] = visitorOf(i+1, fmt.Sprintf("client-%06d", i), body)
	}
	return ms
}

func TestPostmanSplitsWhatIsTooMuchForOneCall(t *testing.T) {
	for name, tt := range map[string]struct {
		n     int
		body  string
		calls []int
	}{
		"none":                   {0, "", nil},
		"as many as fit":         {MaxSendMessages, "x", []int{50}},
		"one more":               {MaxSendMessages + 1, "x", []int{50, 1}},
		"many":                   {120, "x", []int{50, 50, 20}},
		"long ones":              {40, strings.Repeat("é", 16<<10), []int{31, 9}},
		"long ones that escape":  {12, strings.Repeat("\x01", 32<<10), []int{5, 5, 2}},
		"text that HTML escapes": {31, strings.Repeat("<", 32<<10), []int{31}},
	} {
		f := &fakeStore{t: t, each: func(sendMessage) string { return `{"id":7}` }}
		fates, err := f.postman().Store(t.Context(), messages(tt.n, tt.body))
		if err != nil || len(fates) != tt.n {
			t.Fatalf("%s: %d fates, %v", name, len(fates), err)
		}
		var calls []int
		seen := 0
		for _, c := range f.calls {
			calls = append(calls, len(c))
			for _, m := range c {
				if seen++; m.Channel != fmt.Sprintf("wplc/%d", seen) || m.Body != tt.body {
					t.Errorf("%s: message %d is %s", name, seen, m.Channel)
				}
			}
		}
		if d := cmp.Diff(tt.calls, calls); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestPostmanWritesMessages(t *testing.T) {
	f := &fakeStore{t: t, each: func(sendMessage) string { return `{"id":7}` }}
	at := time.Unix(1766380000, 5)
	ms := []outbox.Message{
		{Channel: "wplc/42", ClientID: "client-1", From: chat.Party{Kind: "agent", ID: 2, Name: "Admin"}, Body: "a\n<&>", SentAt: at, After: 1234},
		{Channel: "wplc/42", ClientID: "client-2", From: chat.Party{Kind: "visitor", Name: "Ann"}, Body: "b", SentAt: at},
	}
	if _, err := f.postman().Store(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
	want := [][]sendMessage{{
		{"wplc/42", "client-1", "agent", 2, "a\n<&>", 1766380000, 1234},
		{"wplc/42", "client-2", "visitor", 0, "b", 1766380000, 0},
	}}
	if d := cmp.Diff(want, f.calls); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whatever ends a request, the other chats' messages are stored all the same, and
// none before an earlier one of its chat.
func TestPostmanGoesOnWithoutTheStuck(t *testing.T) {
	var stored []string
	f := &fakeStore{t: t, each: func(m sendMessage) string {
		switch m.Body {
		case "stuck":
			return `{"again":true}`
		case "refused":
			return `{"refused":"closed","text":"The chat has ended."}`
		}
		stored = append(stored, m.ClientID)
		return fmt.Sprintf(`{"id":%d}`, len(stored))
	}}
	died := false
	inner := f.each
	f.each = func(m sendMessage) string {
		if m.Body == "deadly" && !died {
			died = true
			return ""
		}
		return inner(m)
	}
	fates, err := f.postman().Store(t.Context(), []outbox.Message{
		visitorOf(1, "client-a", "fine"), visitorOf(2, "client-b", "stuck"), visitorOf(1, "client-c", "refused"),
		visitorOf(1, "client-d", "deadly"), visitorOf(2, "client-e", "behind"), visitorOf(3, "client-f", "fine"),
	})
	want := []outbox.Fate{{ID: 1}, {}, {Refused: &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."}}, {ID: 2}, {}, {ID: 3}}
	if d := cmp.Diff(want, fates); d != "" || err != nil || len(f.calls) != 2 {
		t.Errorf("%d calls, %v (-want +got):\n%s", len(f.calls), err, d)
	}
	if d := cmp.Diff([]string{"client-a", "client-d", "client-f"}, stored); d != "" {
		t.Errorf("stored (-want +got):\n%s", d)
	}
}

func TestPostmanEndsWhereNothingIsReached(t *testing.T) {
	f := &fakeStore{t: t, each: func(sendMessage) string { return "" }}
	fates, err := f.postman().Store(t.Context(), messages(60, "x"))
	if err != nil || len(fates) != 60 || len(f.calls) != 1 {
		t.Errorf("%d fates after %d calls, %v", len(fates), len(f.calls), err)
	}
}

func TestPostmanInTrouble(t *testing.T) {
	down := errors.New("refused")
	good := fmt.Sprintf(`{"ok":true,"version":1,"results":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"id":3},`, MaxSendMessages), ","))
	for _, tt := range []struct {
		name   string
		status int
		body   string
		err    error
		want   error // besides any
	}{
		{name: "down", err: down, want: down},
		{name: "nobody listens", status: 400, body: "0", want: ErrAbsent},
		{name: "another secret", status: 403, body: `{"ok":false,"error":"signature"}`, want: ErrRefused},
		{name: "another time", status: 403, body: `{"ok":false,"error":"time","time":1}`, want: ErrRefused},
		{name: "a firewall", status: 403, body: "<html>", want: ErrRefused},
		{name: "a broken site", status: 500, body: "<html>"},
		{name: "another page", status: 200, body: "<html>"},
		{name: "half an answer", status: 200, body: good[:len(good)-9]},
		{name: "noise before the answer", status: 200, body: "noise" + good},
		{name: "too few results", status: 200, body: `{"ok":true,"version":1,"results":[]}`},
		{name: "no results", status: 200, body: `{"ok":true,"version":1}`},
		{name: "too long", status: 200, body: good + strings.Repeat(" ", MaxSendAnswer)},
		{name: "too much at once, and yet little", status: 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			p := NewPostman(PostmanOptions{Do: func(context.Context, []byte) (int, []byte, error) {
				if calls++; calls == 2 { // the first one succeeds in the second round
					return 200, []byte(good), nil
				}
				return tt.status, []byte(tt.body), tt.err
			}})
			ms := messages(60, "x")
			fates, err := p.Store(t.Context(), ms)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || fates != nil {
				t.Errorf("%d fates, error %v", len(fates), err)
			}
			fates, err = p.Store(t.Context(), ms)
			if err != nil || fates[49].ID != 3 || fates[50] != (outbox.Fate{}) || calls != 3 {
				t.Errorf("after a good call: %v, %d calls", err, calls)
			}
		})
	}
}

func TestPostmanHalvesWhatIsTooLarge(t *testing.T) {
	f := &fakeStore{t: t, each: func(sendMessage) string { return `{"id":7}` }}
	p := NewPostman(PostmanOptions{Do: func(ctx context.Context, body []byte) (int, []byte, error) {
		if len(body) > 20<<10 {
			return http.StatusRequestEntityTooLarge, []byte("<html>"), nil
		}
		return f.do(ctx, body)
	}})
	ms := messages(20, strings.Repeat("x", 3<<10))
	ms[7].Body = strings.Repeat("x", 30<<10)
	fates, err := p.Store(t.Context(), ms)
	if err != nil {
		t.Fatal(err)
	}
	for i, fate := range fates {
		if i == 7 && (fate.Refused == nil || fate.Refused.Reason != chat.ReasonTooLong) || i != 7 && fate.ID != 7 {
			t.Errorf("message %d: %+v", i, fate)
		}
	}
}

func TestResultsThatMakeNoSense(t *testing.T) {
	for _, result := range []string{
		`{"id":-1}`, `{"id":1,"refused":"closed"}`, `{"id":1,"again":true}`, `{"refused":"closed","again":true}`,
		`{"refused":"bored"}`, `{"id":"1"}`, `{"id":1.5}`, `7`, `[]`, `{"id":99999999999999999999}`,
	} {
		results, how, err := readSendAnswer(200, fmt.Appendf(nil, `{"ok":true,"version":1,"results":[%s]}`, result), 1, time.Now())
		if results != nil || how != failed || err == nil {
			t.Errorf("%s: %+v, %s, %v", result, results, how, err)
		}
	}
	long := fmt.Appendf(nil, `{"ok":true,"version":1,"results":[{"refused":"text","text":%q}]}`, strings.Repeat("é", 300))
	results, _, err := readSendAnswer(200, long, 1, time.Now())
	if err != nil || len(results[0].Text) > mostName {
		t.Errorf("a long sentence: %+v, %v", results, err)
	}
}

func FuzzSendAnswer(f *testing.F) {
	for _, s := range []string{
		`{"ok":true,"version":1,"results":[{"id":1},{}]}`, `{"ok":true,"version":1,"results":[{"again":true},{"refused":"closed","text":"x"}]}`,
		`{"ok":true,"version":1,"results":[null,null]}`, `{"ok":false,"error":"time","time":-9223372036854775808}`, "0", "", "noise{}", `{"results":{}}`,
	} {
		for _, status := range []int{200, 403, 413} {
			f.Add(status, 2, []byte(s))
		}
	}
	now := time.Unix(1766380000, 0)
	f.Fuzz(func(t *testing.T, status, n int, body []byte) {
		results, how, err := readSendAnswer(status, body, n, now)
		if (how == delivered) != (err == nil) || how == "" || how != delivered && results != nil {
			t.Fatalf("%s, %v", how, err)
		}
		if how != delivered {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if len(results) != n {
			t.Errorf("%d results for %d messages", len(results), n)
		}
		for _, r := range results {
			if r.ID < 0 || len(r.Text) > mostName || r.ID > 0 && r.refusal() != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}
