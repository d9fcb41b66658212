package wplc

import "testing"

// FuzzParseRoom: every channel has one spelling.
func FuzzParseRoom(f *testing.F) {
	for _, name := range []string{"1", "041", "agents", "7/agent", "7/agent/agent", "-1", "+1", "99999999999999999999", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, ok := parseRoom(name)
		if ok && r.channel() != "wplc/"+name {
			t.Fatalf("%q is %q", name, r.channel())
		}
		if ok && r.chat < 0 {
			t.Fatalf("%q is chat %d", name, r.chat)
		}
	})
}
