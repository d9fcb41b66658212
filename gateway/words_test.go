package gateway

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"holdline/config"
	"holdline/docs/protocol"
	"holdline/internal/chat"
)

// smallLimits make bounds easy to reach.
var smallLimits = config.Limits{Message: 256, Signal: 300, Sends: 10}

func TestWordsAreRefusedWithASentence(t *testing.T) {
	schemas, err := protocol.Load()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 257)
	for text, want := range map[string]string{
		`{"type":"send","channel":"wplc/1","client_id":"12345678","body":"Hi","unknown":[{}]}`:               "",
		`{"type":"send","channel":"wplc/1","client_id":"12345678","body":"` + long[1:] + `","as":"visitor"}`: "",
		`{"type":"typing","channel":"wplc/1","typing":false}`:                                                "",
		`{"type":"seen","channel":"wplc/1","up_to":9007199254740993}`:                                        "",
		`{"type":"delivered","channel":"wplc/1","up_to":1}`:                                                  "",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"visitor"},"payload":null}`: "",

		``:                                    "not JSON",
		`{"type":"send"`:                      "not JSON",
		`{"type":"send"}{}`:                   "not JSON",
		`[]`:                                  "a JSON object",
		`null`:                                "No channel",
		`{"type":5}`:                          "type must be a string",
		"{\"type\":\"\xff\"}":                 "UTF-8",
		`{"type":"send"}`:                     "No channel",
		`{"channel":"wplc/1"}`:                "This server knows",
		`{"type":"hello","channel":"wplc/1"}`: "This server knows",
		`{"type":"ping","channel":"wplc/1"}`:  "This server knows",
		`{"type":"send","channel":"wplc"}`:    "No channel",
		`{"type":"send","channel":["a"]}`:     "channel must be a string",
		`{"type":"send","channel":"wplc/1","client_id":"12345678","as":"system"}`:                                                "as must be",
		`{"type":"send","channel":"wplc/1","client_id":"12345678","body":5}`:                                                     "body must be a string",
		`{"type":"send","channel":"wplc/1","client_id":"12345678","body":"` + long + `"}`:                                        "limits.message",
		`{"type":"send","channel":"wplc/1","client_id":"short","body":"Hi"}`:                                                     "client_id",
		`{"type":"send","channel":"wplc/1","body":"Hi"}`:                                                                         "client_id",
		`{"type":"send","channel":"wplc/1","client_id":12345678,"body":"Hi"}`:                                                    "client_id must be a string",
		`{"type":"typing","channel":"wplc/1"}`:                                                                                   "typing must be",
		`{"type":"typing","channel":"wplc/1","typing":1}`:                                                                        "typing must be",
		`{"type":"seen","channel":"wplc/1"}`:                                                                                     "up_to must be",
		`{"type":"seen","channel":"wplc/1","up_to":0}`:                                                                           "up_to must be",
		`{"type":"seen","channel":"wplc/1","up_to":-1}`:                                                                          "up_to must be",
		`{"type":"seen","channel":"wplc/1","up_to":1.5}`:                                                                         "up_to must be a whole number",
		`{"type":"seen","channel":"wplc/1","up_to":"7"}`:                                                                         "up_to must be a whole number",
		`{"type":"seen","channel":"wplc/1","up_to":9223372036854775808}`:                                                         "up_to must be a whole number",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","payload":1}`:                                                "to must say",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":"agent","payload":1}`:                                   "to must be an object",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"agent","id":"2"},"payload":1}`:                 "to.id must be a whole number",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"agent","id":-2},"payload":1}`:                  "to must say",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"system"},"payload":1}`:                         "to must say",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"agent"}}`:                                      "has a payload",
		`{"type":"signal","channel":"wplc/1","client_id":"1","to":{"kind":"agent"},"payload":1}`:                                 "client_id",
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"agent"},"payload":"` + long + long[:42] + `"}`: "limits.signal",
		`{"type":"send","body":"` + strings.Repeat("x", 3000) + `"}`:                                                             "at most 2648 bytes",
	} {
		_, refused := parseWord([]byte(text), "", smallLimits)
		// Bounds that are settings, and what is answered before this, are not the schema's.
		its := !strings.Contains(want, "limits.") && !strings.Contains(want, "at most") && !strings.Contains(text, "ping")
		if err := schemas.Check("said", []byte(text)); its && (err == nil) != (refused == nil) {
			t.Errorf("%s: refused: %v; docs/protocol/said.schema.json says: %v", text, refused, err)
		}
		switch {
		case want == "" && refused != nil:
			t.Errorf("%s: refused: %s", text, refused.Text)
		case want != "" && (refused == nil || !strings.Contains(refused.Text, want)):
			t.Errorf("%s: %+v, want %q", text, refused, want)
		}
	}
}

func TestFormSends(t *testing.T) {
	w, refused := formWord(url.Values{"channel": {"wplc/1"}, "client_id": {"12345678"}, "body": {"Hi & bye"}, "as": {"agent"}}, smallLimits)
	if refused != nil || w.kind != typeSend || w.body != "Hi & bye" || w.as != asAgent {
		t.Errorf("%+v, %v", w, refused)
	}
	for _, form := range []url.Values{{}, {"channel": {"wplc/1"}, "client_id": {"12345678"}, "body": {"\xff"}}} {
		if _, refused = formWord(form, smallLimits); refused == nil {
			t.Errorf("%v is taken", form)
		}
	}
}

// What a stranger says is taken or refused, and what is taken keeps all bounds.
func FuzzTalk(f *testing.F) {
	for _, seed := range []string{
		`{"type":"send","channel":"wplc/1","client_id":"12345678","body":"Hi","as":"visitor"}`,
		`{"type":"typing","channel":"wplc/1","typing":true}`,
		`{"type":"seen","channel":"wplc/agents","up_to":12}`,
		`{"type":"signal","channel":"wplc/1","client_id":"12345678","to":{"kind":"agent","id":2},"payload":{"sdp":"v=0"}}`,
		`{"TYPE":"send","type":null,"to":null,"payload":"\ud800"}`, `[[[[`, `{"up_to":1e99}`, "\x00", `{"payload":` + strings.Repeat("[", 400),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		w, refused := parseWord(text, "", smallLimits)
		v := verdict{state: "pending"}
		if refused != nil {
			if refused.Text == "" || !utf8.ValidString(refused.Text) {
				t.Fatalf("no sentence: %q", refused.Text)
			}
			v = refuse(refused)
		} else if len(w.body) > 256 || len(w.payload) > 300 || len(w.channel) > chat.MaxChannelLength || len(w.clientID) > chat.MaxClientID && (w.kind == typeSend || w.kind == "signal") {
			t.Fatalf("over the bounds: %+v", w)
		}
		if told := tellOf(&w, v); told != nil && (!json.Valid(told) || len(told) > 8<<10) {
			t.Fatalf("told %s", told)
		}
	})
}

func TestRates(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newRates(10)
	say := func(who, kind string, n int) (taken int) {
		for range n {
			if r.take(who, kind, now) == 0 {
				taken++
			}
		}
		return taken
	}
	if n := say("ann", "send", 100); n != 40 {
		t.Errorf("%d messages at once, want four seconds' worth", n)
	}
	if n := say("ann", "typing", 300); n != 200 {
		t.Errorf("%d events at once, want 200", n)
	}
	if n := say("ann", "signal", 100); n != 40 {
		t.Errorf("%d signals at once, want 40", n)
	}
	if n := say("bob", "send", 1); n != 1 {
		t.Error("another sender pays too")
	}
	now = now.Add(900 * time.Millisecond)
	if wait := r.take("ann", "send", now); wait != 100*time.Millisecond {
		t.Errorf("who was refused has to wait %v more, want 100ms: a queue must not come out of order", wait)
	}
	now = now.Add(100 * time.Millisecond)
	if n := say("ann", "send", 100); n != 10 {
		t.Errorf("%d messages after a second, want 10", n)
	}
}

func TestRatesForgetWhoIsSilent(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newRates(1)
	for range burstShare {
		r.take("ann", typeSend, now)
		r.take("bob", typeSend, now)
	}
	for i := range maxSenders - 1 { // one too many, and bob was silent for longest
		if i == maxSenders/2 && r.take("ann", typeSend, now) == 0 {
			t.Error("ann's purse is full again")
		}
		r.take(string(rune(i)), typeSend, now)
	}
	if n := r.of.Len(); n != maxSenders {
		t.Errorf("%d senders are remembered, want %d", n, maxSenders)
	}
	if r.take("ann", typeSend, now) == 0 {
		t.Error("ann was forgotten")
	}
	if r.take("bob", typeSend, now) != 0 {
		t.Error("bob is still remembered")
	}
}

// Lawful use must never come near the bound at which a WebSocket is cut.
func TestFloodBoundLeavesRoom(t *testing.T) {
	for _, sends := range []int{1, 10, 1000} {
		r := newRates(sends)
		now, lawful := time.Unix(1e9, 0), uint32(0)
		for range 1575 { // a heartbeat of 15 s, at its longest
			now = now.Add(10 * time.Millisecond)
			for _, kind := range []string{"send", "signal", "typing"} {
				for r.take("ann", kind, now) == 0 {
					lawful++
				}
			}
		}
		if most := r.maxWords(15 * time.Second); lawful*3/2 > most {
			t.Errorf("limits.sends %d: %d lawful messages, and cut after %d", sends, lawful, most)
		}
	}
}
