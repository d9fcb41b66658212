package doctor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
)

func TestChecksWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(d time.Duration, found []Finding) func(context.Context, *exam) []Finding {
			return func(ctx context.Context, _ *exam) []Finding {
				select {
				case <-time.After(d):
					return found
				case <-ctx.Done():
					return []Finding{fault("too slow", "wait")}
				}
			}
		}
		began := time.Now()
		found := (&exam{}).all(t.Context(), []Check{
			{Name: "slow", run: after(2*time.Second, ok("slow"))},
			{Name: "beside", run: after(2*time.Second, ok("beside"))},
			{Name: "late", needs: []string{"slow"}, run: after(time.Second, ok("late"))},
			{Name: "hangs", limit: time.Second, run: after(time.Hour, nil)},
			{Name: "needs it", needs: []string{"hangs"}, run: after(0, ok("never"))},
			{Name: "comes after it", after: []string{"hangs"}, run: after(0, ok("all the same"))},
		})
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want 3 s", took)
		}
		want := []Finding{
			{Check: "slow", Text: "slow"},
			{Check: "beside", Text: "beside"},
			{Check: "late", Text: "late"},
			{Check: "hangs", Status: Fault, Text: "too slow", Fix: "wait"},
			{Check: "needs it", Status: Skipped, Text: "this needs “hangs”, see there"},
			{Check: "comes after it", Text: "all the same"},
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	})
}

// TestChecksName: a check that waits for one that comes later, or for none, would
// wait for ever.
func TestChecksNameEarlierOnes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range checks() {
		for _, name := range append(c.after, c.needs...) {
			if !seen[name] {
				t.Errorf("%s waits for %s, which does not come before it", c.Name, name)
			}
		}
		seen[c.Name] = true
	}
}

func TestHowARequestArrives(t *testing.T) {
	public := netip.MustParseAddr("192.0.2.10")
	tests := map[string]struct {
		base  string
		local netip.Addr
		came  came
		want  string // part of the only finding; "" for none
	}{
		"good proxy":           {"https://example.com", public, came{Address: "192.0.2.10", Trusted: true, ForwardedFor: true, HTTPS: true, SameHost: true}, ""},
		"no proxy":             {"http://example.com:8787", public, came{Address: "192.0.2.10", SameHost: true}, ""},
		"proxy not trusted":    {"http://example.com", public, came{ForwardedFor: true, SameHost: true}, "does not believe the proxy"},
		"proxy tells nothing":  {"http://example.com", public, came{Trusted: true, SameHost: true}, "no X-Forwarded-For"},
		"second proxy":         {"http://example.com", public, came{Address: "198.51.100.1", Trusted: true, ForwardedFor: true, SameHost: true}, "second proxy"},
		"other family":         {"http://example.com", public, came{Address: "2001:db8::1", Trusted: true, ForwardedFor: true, SameHost: true}, ""},
		"behind a translation": {"http://example.com", netip.MustParseAddr("10.0.0.7"), came{Address: "198.51.100.1", Trusted: true, ForwardedFor: true, SameHost: true}, ""},
		"HTTPS not told":       {"https://example.com", public, came{Address: "192.0.2.10", Trusted: true, ForwardedFor: true, SameHost: true}, "not told that browsers come by HTTPS"},
		"host replaced":        {"http://example.com", public, came{Address: "192.0.2.10", Trusted: true, ForwardedFor: true}, "replaces the site's host name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			base, err := url.Parse(tt.base + "/holdline/v1")
			if err != nil {
				t.Fatal(err)
			}
			e := &exam{front: front{base: base, local: tt.local}, Options: Options{Config: config.Config{Listen: "127.0.0.1:8787"}}}
			found := e.judgeArrival(tt.came)
			if tt.want == "" && len(found) > 0 || tt.want != "" && (len(found) != 1 || !strings.Contains(found[0].Text, tt.want) || found[0].Fix == "") {
				t.Errorf("%+v", found)
			}
		})
	}
}

func TestClocks(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	for off, want := range map[time.Duration]string{
		-4 * time.Second: "", 4 * time.Second: "", -7 * time.Second: "7s behind this", 90 * time.Minute: "1h30m0s ahead of this",
	} {
		found := checkClocks(t.Context(), &exam{server: server{now: now.Add(off), asked: now}})
		if want == "" != (found[0].Status == OK) || !strings.Contains(found[0].Text, want) {
			t.Errorf("%v: %+v", off, found)
		}
	}
}

// TestStreams: what the parts of a stream say of the proxies.
func TestStreams(t *testing.T) {
	at := func(ms ...int) (list []time.Duration) {
		for _, n := range ms {
			list = append(list, time.Duration(n)*time.Millisecond)
		}
		return list
	}
	f := front{kind: "apache"}
	for name, tt := range map[string]struct {
		came   streamed
		packed bool
		want   string
	}{
		"as it was sent":     {streamed{first: 1, events: at(2, 252, 502, 752, 1002)}, false, ""},
		"head alone":         {streamed{first: 1, ended: firstByte}, false, "gathers the stream"},
		"nothing":            {streamed{ended: firstByte}, false, "gathers the stream"},
		"in one piece":       {streamed{first: 1, events: at(2100, 2100, 2100, 2101, 2101)}, false, "came in one piece"},
		"ended at once":      {streamed{ended: 5 * time.Millisecond}, false, "ended as soon"},
		"cut in the silence": {streamed{first: 1, events: at(2, 252, 502, 752, 1002), ended: 6 * time.Second}, false, "cut after 6.0 s"},
		"compressed":         {streamed{first: 1, events: at(2, 252, 502, 752, 1002)}, true, "compressed"},
	} {
		found := judgeStream(f, tt.came, tt.packed, &exam{})
		if tt.want == "" != (found[0].Status == OK) || !strings.Contains(found[0].Text, tt.want) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	const machine = "MemTotal:        8000000 kB\nMemFree: 1 kB\n"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := map[string]struct {
		root fstest.MapFS
		want int64
	}{
		"nothing known":     {fstest.MapFS{}, 0},
		"the machine alone": {fstest.MapFS{"proc/meminfo": file(machine)}, 8000000 << 10},
		"no limit": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/system.slice/holdline.service\n"),
			"sys/fs/cgroup/system.slice/holdline.service/memory.max": file("max\n"),
		}, 8000000 << 10},
		"of the parent": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/box/app\n"),
			"sys/fs/cgroup/box/memory.max": file("67108864\n"), "sys/fs/cgroup/box/app/memory.max": file("max\n"),
		}, 64 << 20},
		"version 1": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("9:cpu,cpuacct:/\n4:memory:/docker/x\n"),
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": file("33554432\n"),
		}, 32 << 20},
		"more than there is": {fstest.MapFS{
			"proc/meminfo": file(machine), "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("9223372036854771712"),
		}, 8000000 << 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, from := memoryLimit(tt.root); got != tt.want {
				t.Errorf("%d by %q, want %d", got, from, tt.want)
			}
		})
	}
}

func FuzzMemoryLimit(f *testing.F) {
	f.Add("0::/a/b\n", "MemTotal: 1 kB", "max")
	f.Add("4:memory:/../../x\n::\n0::", "MemTotal:-1kB", "-5")
	f.Fuzz(func(t *testing.T, groups, info, limit string) {
		root := fstest.MapFS{
			"proc/self/cgroup": {Data: []byte(groups)}, "proc/meminfo": {Data: []byte(info)},
			"sys/fs/cgroup/a/memory.max": {Data: []byte(limit)},
		}
		if n, from := memoryLimit(root); n < 0 || n > 0 && from == "" {
			t.Errorf("%d by %q", n, from)
		}
	})
}

func FuzzReadStream(f *testing.F) {
	f.Add(": holdline\nretry: 60000\n\nevent: time\ndata: {\"now\":1}\n\n:\n\n", false)
	f.Add("event: time\n\nevent: time\n\nevent: time\n\nevent: time\n\nevent: time\n\nrest", true)
	f.Add(strings.Repeat("x", 1<<17), true)
	f.Fuzz(func(t *testing.T, text string, short bool) {
		heard := 0
		s := readStream(bufio.NewReader(strings.NewReader(text)), time.Now(), func() { heard++ }, short)
		if heard > 1 || s.heartbeat == 0 && s.ended == 0 && len(s.events) < checkEvents {
			t.Errorf("%+v, heard %d times", s, heard)
		}
	})
}

func FuzzMetric(f *testing.F) {
	f.Add("# HELP x\nprocess_max_fds 1024\n", "process_max_fds")
	f.Add("process_max_fds x\n", "process_max_fds")
	f.Fuzz(func(_ *testing.T, text, name string) { metric(text, name) })
}

func TestMetric(t *testing.T) {
	const text = "# TYPE process_max_fds gauge\nprocess_max_fds_other 7\nprocess_max_fds 1.048576e+06\n"
	if got := metric(text, "process_max_fds"); got != 1048576 {
		t.Error(got)
	}
}

func TestTextAndJSON(t *testing.T) {
	found := []Finding{
		{Check: "one", Text: "good"},
		{Check: "rights", Status: Fault, Text: "bad\x1b[2Jword", Fix: "mend <it>", Commands: []string{"GRANT;"}},
		{Check: "rights", Status: Warning, Text: "so so", Fix: "look"},
		{Check: "last", Status: Skipped, Text: "nothing"},
	}
	var b bytes.Buffer
	if err := WriteText(&b, found, false); err != nil {
		t.Fatal(err)
	}
	want := "✓ one     good\n✗ rights  bad [2Jword\n!         so so\n– last    nothing\n\nrights: so so\n  look\n\nrights: bad [2Jword\n  mend <it>\n    GRANT;\n\n1 fault, 1 warning.\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	if err := WriteText(&b, found, true); err != nil || !strings.Contains(b.String(), "\x1b[31m✗\x1b[0m rights") {
		t.Errorf("%v: %q", err, b.String())
	}
	b.Reset()
	if err := WriteJSON(&b, found); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	wantJSON := map[string]any{"ok": false, "faults": 1.0, "warnings": 1.0, "findings": []any{
		map[string]any{"check": "one", "status": "ok", "text": "good"},
		map[string]any{"check": "rights", "status": "fault", "text": "bad\x1b[2Jword", "fix": "mend <it>", "commands": []any{"GRANT;"}},
		map[string]any{"check": "rights", "status": "warning", "text": "so so", "fix": "look"},
		map[string]any{"check": "last", "status": "skipped", "text": "nothing"},
	}}
	if diff := cmp.Diff(wantJSON, got); diff != "" {
		t.Error(diff)
	}
}

// TestProblems: each sentence of the configuration's is parted into what and what
// to do.
func TestProblems(t *testing.T) {
	found := Problems(&config.Problems{List: []string{`hold = "9" (flag --hold) has no unit; write a duration.`, "no advice"}})
	want := []Finding{
		{Check: "configuration", Status: Fault, Text: `hold = "9" (flag --hold) has no unit.`, Fix: "Write a duration."},
		{Check: "configuration", Status: Fault, Text: "no advice", Fix: "Correct it; `holdline serve --help` lists all settings."},
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}
