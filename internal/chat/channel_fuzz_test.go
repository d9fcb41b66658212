package chat

import (
	"strings"
	"testing"
)

// FuzzSplitChannel: what is taken can be put into logs, SSE fields and headers.
func FuzzSplitChannel(f *testing.F) {
	for _, channel := range []string{"wplc/42", "wplc/42/agent", "wplc/agents", "/", "a/", "/a", "a/b\r\nc", "wplc/\xff", strings.Repeat("a", 200) + "/1"} {
		f.Add(channel)
	}
	f.Fuzz(func(t *testing.T, channel string) {
		source, name, err := SplitChannel(channel)
		if err != nil {
			if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\r\n\x1b\x00") {
				t.Fatalf("the error is %q", err)
			}
			return
		}
		if source+"/"+name != channel || len(channel) > MaxChannelLength || strings.ContainsAny(channel, " \r\n\t\"'\\%\x00\x1b") {
			t.Fatalf("%q is taken, as %q and %q", channel, source, name)
		}
	})
}
