//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the stub server's: the bench starts PROGRAM serve.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		fmt.Fprintln(os.Stderr, serveStub())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m,
		// net/http's idle connections to servers that are gone.
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

const schemaFolder = "../../testdata/schema"

// A whole run against the stub: every row is accounted for over each transport,
// and nothing is left behind.
func TestRun(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	path := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	err = run(t.Context(), []string{
		"--holdline", program, "--schema", schemaFolder, "--json", path, "--rounds=1", "--settle=1ms",
		"--scenario=fanout,leave,latency,start", "--starts=2", "--clients=20", "--channels=4", "--messages=8", "--every=30ms",
		"--idle-clients=1", "--latency-clients=5", "--latency-messages=4",
	}, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range r.Measures {
		got[m.Transport+" "+m.Scenario+" "+m.Metric] = m.Value
	}
	for _, transport := range allTransports() {
		for metric, want := range map[string]float64{
			"fanout deliveries": 40, "fanout missing": 0, "fanout duplicates": 0, "fanout dropped clients": 0,
			"latency timer deliveries": 20, "latency timer missing": 0, "latency wake deliveries": 20, "latency wake duplicates": 0,
		} {
			value, measured := got[transport+" "+metric]
			if !measured || value != want {
				t.Errorf("%s %s: %g (measured: %v), want %g", transport, metric, value, measured, want)
			}
		}
	}
	for _, metric := range []string{"exec to ready, p50", "rss without clients", "size of the program"} {
		if got["all start "+metric] <= 0 {
			t.Errorf("start: %s is %g", metric, got["all start "+metric])
		}
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunWithoutHoldline(t *testing.T) {
	err := run(t.Context(), []string{
		"--holdline=/no/such/program", "--schema", schemaFolder, "--scenario=latency",
		"--clients=1", "--idle-clients=1",
	}, t.Output(), t.Output())
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make build") {
		t.Errorf("the error does not tell what to do: %v", err)
	}
}

// What others ask is counted, the bench's own statements are not.
func TestCounters(t *testing.T) {
	ctx := t.Context()
	db, err := startDatabase(ctx, t.TempDir(), schemaFolder, "secret", 3)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.server.Open(databaseName)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Ping(); err != nil { // its connection's own set-up is over
		t.Fatal(err)
	}
	before, err := db.counters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := db.Publish(ctx, 2, "body"); err != nil {
			t.Fatal(err)
		}
	}
	for id := range 7 {
		rows, err := other.Query("SELECT * FROM wp_wplc_chat_msgs WHERE id > " + strconv.Itoa(id))
		if err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	after, err := db.counters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if asked := after.questions - before.questions; asked != 7 {
		t.Errorf("%d statements counted, want 7", asked)
	}
	if after.selects-before.selects != 7 {
		t.Errorf("%d SELECTs counted, want 7", after.selects-before.selects)
	}
	var chats, rows int
	err = other.QueryRow("SELECT (SELECT COUNT(*) FROM wp_wplc_chat_sessions WHERE status = 3), (SELECT COUNT(*) FROM wp_wplc_chat_msgs)").Scan(&chats, &rows)
	if err != nil || chats != 3 || rows != 5 {
		t.Errorf("%d chats, %d rows, %v", chats, rows, err)
	}
}
