//go:build linux

package docs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// The example of plugin.md is a plugin: one folder and one line more, and its rows
// are told.
func TestPluginExampleIsLive(t *testing.T) {
	s := newStage(t)
	overlay := map[string]string{}
	for _, b := range blocks(t, "docs/plugin.md") {
		switch {
		case b.lang == "sql":
			s.runSQL(b)
		case b.has("file"):
			overlay[b.attrs["file"]] = b.text
		case b.has("line"):
			overlay[b.attrs["line"]] = withLine(t, b)
		}
	}
	built := filepath.Join(t.TempDir(), "holdline")
	file := overlayFile(t, overlay)
	for _, args := range [][]string{
		{"go", "test", "-c", "-vet=off", "-overlay", file, "-o", built + ".test", "./wpdb/guestbook/"},
		{built + ".test"},
		{"go", "build", "-overlay", file, "-o", built, "./cmd/holdline"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	s.serveHoldline(built + " serve --wordpress-config /var/www/html/wp-config.php")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tail := s.command(ctx, "exec "+built+" tail --wordpress-config /var/www/html/wp-config.php guestbook/lobby")
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	defer tail.Wait()
	defer cancel()
	backstage.Eventually(t, "somebody listens", time.Minute, func() bool {
		n, ok := backstage.Metric(t, s.admin, "holdline_connections_held")
		return ok && n == 1
	})
	said := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			line = err.Error()
		}
		said <- line
	}()
	// Again and again: who is held need not have been told yet where it stands, and what
	// is written before that is not for it.
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	line := ""
	for line == "" {
		s.sql("wordpress", `INSERT INTO wp_guestbook (room, author, message, written_gmt) VALUES ('attic', 'Bob', 'not here', '2026-11-22 05:00:00'),
			('lobby', 'Ann', 'What a lovely site', '2026-11-22 05:00:00')`)
		select {
		case line = <-said:
		case <-again.C:
		}
	}
	schemas := &block{page: "holdline tail", lang: "json", attrs: map[string]string{"schema": "event"}, text: line}
	s.runJSON(schemas)
	if !strings.Contains(line, "What a lovely site") || !strings.Contains(line, `"sent_at":"2026-11-22T05:00:00Z"`) {
		t.Errorf("tail prints %s", line)
	}
}

// withLine is a file of the repository with the block's line in its list of
// plugins.
func withLine(t *testing.T, b *block) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", b.attrs["line"]))
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), "plugins := []plugin{\n")
	imports, rest, imported := strings.Cut(before, "\t\"holdline/wpdb/wplc\"\n")
	if !ok || !imported {
		t.Fatalf("%s has no list of plugins", b.attrs["line"])
	}
	return imports + "\t\"holdline/wpdb/guestbook\"\n\t\"holdline/wpdb/wplc\"\n" + rest + "plugins := []plugin{\n" + b.text + after
}

// overlayFile tells the go command of files that are not there
// (https://pkg.go.dev/cmd/go, -overlay).
func overlayFile(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for name, text := range files {
		path, err := filepath.Abs(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		replace[path] = filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(replace[path], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
