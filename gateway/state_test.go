package gateway

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdline/config"
)

func TestOpenKeep(t *testing.T) {
	dir := t.TempDir()
	none := func(string) (string, bool) { return "", false }
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	state := func(set string) *Gateway {
		said.Reset()
		g := &Gateway{log: slog.New(slog.NewTextHandler(&said, nil))}
		g.cfg.StateDir = set
		g.cfg.Database = config.Database{Address: "localhost", Name: "a", TablePrefix: "wp_"}
		return g
	}
	if m := state(config.StateOff).openKeep(none); m != nil || said.Len() > 0 {
		t.Errorf("off: %v, said %s", m, said.String())
	}
	for name, set := range map[string]string{"a file": file, "nowhere to look": ""} {
		if m := state(set).openKeep(none); m != nil || strings.Count(said.String(), "\n") != 1 || !strings.Contains(said.String(), "state_dir") {
			t.Errorf("%s: %v, said %s", name, m, said.String())
		}
	}
	g := state(dir)
	m := g.openKeep(none)
	if m == nil || said.Len() > 0 {
		t.Fatalf("said %s", said.String())
	}
	if other := g.openKeep(none); other != nil || strings.Count(said.String(), "another Holdline") != 1 {
		t.Errorf("a second process: said %s", said.String())
	}
	g.cfg.Database.TablePrefix = "blog_"
	another := g.openKeep(none)
	if another == nil {
		t.Fatalf("another site: said %s", said.String())
	}
	for _, l := range []*Loops{{keep: m}, {keep: another}, {}, nil} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if asKeep(nil) != nil {
		t.Error("no map is a Keep")
	}
}
