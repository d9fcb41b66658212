//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/internal/mariadb"
)

// runUpgrade measures a program with few clients.
func runUpgrade(t *testing.T, program string, args ...string) (report, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	runErr := run(t.Context(), append([]string{
		"--holdline", program, "--schema", schemaFolder, "--json", path, "--check", "--scenario=upgrade", "--idle-clients=1",
		"--clients=1", "--upgrade-clients=60", "--upgrade-channels=20", "--settle=1s",
	}, args...), &out, t.Output())
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, runErr)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r, out.String(), runErr
}

func (r *report) medians() map[string]float64 {
	got := map[string]float64{}
	for _, l := range r.Summary {
		got[l.Metric] = l.Medians["holdline"]
	}
	return got
}

// The real program loses and repeats nothing and refuses nobody, over every
// transport, whether it is upgraded or restarted.
func TestUpgrade(t *testing.T) {
	program := filepath.Join(t.TempDir(), "holdline")
	if out, err := exec.Command("go", "build", "-o", program, "../holdline").CombinedOutput(); err != nil {
		t.Fatalf("build holdline: %v: %s", err, out)
	}
	r, out, err := runUpgrade(t, program, "--upgrades=1", "--restarts=1", "--upgrade-rate=100")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	got := r.medians()
	if due := 3 * got["rows"]; got["rows"] < 100 || got["deliveries"] != due {
		t.Errorf("%g rows, %g deliveries, want %g", got["rows"], got["deliveries"], due)
	}
	if len(r.Upgrade) != 2 || r.Upgrade[0].Kind != "upgrade" || r.Upgrade[1].Kind != "restart" {
		t.Fatalf("%+v", r.Upgrade)
	}
	for _, u := range r.Upgrade {
		if u.Trips < 60 || len(u.Bins) != 3 || u.OldRSS <= 0 || u.NewRSS <= 0 || u.Drained <= 0 || u.Serving <= 0 {
			t.Errorf("%+v", u)
		}
	}
}

// The stub leaves without a word and its streams begin anew at the present: the
// bench must notice what gets lost, and still nobody is refused.
func TestRestartThatLosesRows(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := runUpgrade(t, program, "--transport=sse", "--upgrades=0", "--restarts=1", "--upgrade-rate=200")
	if !errors.Is(err, errBars) {
		t.Errorf("lost rows passed: %v", err)
	}
	got := r.medians()
	if got["lost"] <= 0 || got["repeated"] != 0 || got["refused connects"] != 0 || got["never came back"] != 0 {
		t.Errorf("%v", got)
	}
	if len(r.Upgrade) != 1 || r.Upgrade[0].Trips != 60 || r.Upgrade[0].Cut != 60 || r.Upgrade[0].Kind != "restart" {
		t.Errorf("%+v", r.Upgrade)
	}
	for _, want := range []string{"over", "restart: 60 reconnects, 0 refused, 60 cut without a word", "# sse "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A program that ends at once is an error at once.
func TestUnitOfNothing(t *testing.T) {
	h := &holdline{program: "/bin/false", dir: t.TempDir(), secret: "secret", interval: time.Second, db: &database{server: new(mariadb.Server)}}
	u, err := newUnit(h, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.start(t.Context()); err == nil || !strings.Contains(err.Error(), "ended at its start") {
		t.Errorf("a program that ends at once: %v", err)
	}
}

func TestHistogram(t *testing.T) {
	b := &trouble{
		kind: "upgrade", begun: 1000 * time.Millisecond, drained: 2 * time.Second,
		log: tripLog{trips: []trip{
			{client: 0, left: 1000 * time.Millisecond, tried: 1010 * time.Millisecond, back: 1020 * time.Millisecond},
			{client: 1, left: 1000 * time.Millisecond, tried: 1600 * time.Millisecond, back: 1700 * time.Millisecond},
			{client: 2, left: 1000 * time.Millisecond, tried: 1740 * time.Millisecond, back: 1750 * time.Millisecond},
		}},
	}
	u := b.summary(func(client int) string { return []string{overPoll, overSSE, overWS}[client] })
	if u.Away != [3]float64{700, 750, 750} || len(u.Bins[overSSE]) != 3 || u.Bins[overPoll][0] != 1 {
		t.Errorf("%+v", u)
	}
	var out strings.Builder
	if err := u.histogram(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"upgrade: 3 reconnects", "0.00 s     1 ############################## poll 1\n", "0.25 s     0 \n", strings.Repeat("#", 60) + " sse 1 ws 1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
