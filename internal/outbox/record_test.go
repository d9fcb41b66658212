package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, id, body, want string }{
		{"nothing", "visitor/abcdefgh", ``, "unexpected end"},
		{"no object", "visitor/abcdefgh", `[1]`, "cannot unmarshal"},
		{"no version", "visitor/abcdefgh", `{"from":{"kind":"visitor"}}`, "has format 0"},
		{"newer", "visitor/abcdefgh", `{"v":2,"from":{"kind":"visitor"}}`, "has format 2"},
		{"another sender", "visitor/abcdefgh", `{"v":1,"from":{"kind":"agent","id":2}}`, `of "agent" is kept as one of "visitor"`},
		{"no sender", "/abcdefgh", `{"v":1,"sent_at":"2026-01-01T00:00:00Z"}`, "only visitors and agents"},
		{"bad client id", "visitor/abc", `{"v":1,"from":{"kind":"visitor"},"sent_at":"2026-01-01T00:00:00Z"}`, "client_id must be"},
		{"no client id", "visitor", `{"v":1,"from":{"kind":"visitor"},"sent_at":"2026-01-01T00:00:00Z"}`, "client_id must be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := decode(ch, c.id, []byte(c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want %q", m, err, c.want)
			}
			if kind, clientID, _ := strings.Cut(c.id, "/"); m.Channel != ch || m.ClientID != clientID || m.From.Kind != kind {
				t.Errorf("what is known of it is not told: %+v", m)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(message(ch, id(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ch, "visitor/"+id(1), good)
	f.Add("wplc/2", "agent/abcdefgh", []byte(`{"v":1,"from":{"kind":"agent","id":2},"body":"\ud800","sent_at":"0001-01-01T00:00:00+14:00","after":-1}`))
	f.Add("", "", []byte(`{"v":1e0,"from":null}`))
	f.Add(ch, "visitor/"+id(1), []byte(`{"v":1,"from":{"kind":"visitor"},"sent_at":"9999-12-31T23:59:59.9999999999-23:59"}`))
	f.Fuzz(func(t *testing.T, lane, id string, body []byte) {
		m, err := decode(lane, id, body)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %+v: %v", m, err)
		}
		if spoolID(m) != id {
			t.Fatalf("the id was %q, it became %q", id, spoolID(m))
		}
		back, err := decode(m.Channel, spoolID(m), again)
		if err != nil || !cmp.Equal(m, back) {
			t.Fatalf("%+v became %+v: %v", m, back, err)
		}
	})
}

func TestReasonsAreKept(t *testing.T) {
	for i, r := range reasons {
		if got := refusalRef(&r); got != int64(i+1) || *refusalOf(got) != r || r.Text == "" {
			t.Errorf("%s became %d and %v", r.Reason, got, refusalOf(got))
		}
	}
	for _, ref := range []int64{refusalRef(&chat.Refusal{Reason: "moonphase"}), -1, 11, 1 << 62} {
		if got := refusalOf(ref); got.Reason != chat.ReasonBadRequest || got.Text == "" {
			t.Errorf("%d became %v", ref, got)
		}
	}
	// The numbers are on disks: a change of these is a change of the format.
	if refusalRef(&chat.Refusal{Reason: chat.ReasonForbidden}) != 1 || refusalRef(&chat.Refusal{Reason: chat.ReasonBadRequest}) != 10 {
		t.Error("the reasons were renumbered")
	}
}

// A record that cannot be read is withdrawn, and its channel goes on.
func TestDamagedRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		r := prepare(t, t.TempDir(), store, nil)
		r.put(message(ch, id(0)))
		for _, bad := range []string{"visitor/" + id(1), "?", "visitor/" + id(2)} {
			if _, err := r.spool.Put(t.Context(), ch, bad, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		r.put(message(ch, id(3)))
		r.run()
		defer r.stop()
		settled()
		want := []string{
			"pending wplc/1 message-0000", "pending wplc/1 message-0003",
			"withdrawn wplc/1 message-0001", "withdrawn wplc/1 message-0002",
		}
		if d := cmp.Diff(want, r.hub.told("")); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
		if got := store.rowsOf(ch); !cmp.Equal(got, []string{id(0), id(3)}) {
			t.Errorf("stored %v", got)
		}
		r.send(message(ch, id(1)))
		settled()
		if got := r.answered(ch, id(1)); got != "failed unavailable" {
			t.Errorf("sent again: %q", got)
		}
	})
}

// Bytes that the disk changed are given up like that, even as the only ones there
// are and while WordPress is down.
func TestDamagedDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := new(fakeStore)
		store.fail(errors.New("down"))
		r := prepare(t, t.TempDir(), store, nil)
		r.put(message("wplc/2", id(0)))
		r.put(message(ch, id(0)))
		files, err := filepath.Glob(filepath.Join(r.dir, "*.spool"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-2] ^= 1
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		r.run()
		defer r.stop()
		after(time.Second)
		if d := cmp.Diff([]string{"withdrawn wplc/1 message-0000"}, r.hub.told("withdrawn")); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
		if s := r.box.Stats(); !s.Down || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}
