package gateway

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdline/config"
	"holdline/internal/keep"
)

func TestOpenKeep(t *testing.T) {
	dir := t.TempDir()
	none := func(string) (string, bool) { return "", false }
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	open := func(g *Gateway) *keep.Map {
		t.Helper()
		m, err := g.openKeep(none)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	state := func(set string) *Gateway {
		said.Reset()
		g := &Gateway{log: slog.New(slog.NewTextHandler(&said, nil))}
		g.cfg.StateDir = set
		g.cfg.Database = config.Database{Address: "localhost", Name: "a", TablePrefix: "wp_"}
		return g
	}
	if m := open(state(config.StateOff)); m != nil || said.Len() > 0 {
		t.Errorf("off: %v, said %s", m, said.String())
	}
	for name, set := range map[string]string{"a file": file, "nowhere to look": ""} {
		if m := open(state(set)); m != nil || strings.Count(said.String(), "\n") != 1 || !strings.Contains(said.String(), "state_dir") {
			t.Errorf("%s: %v, said %s", name, m, said.String())
		}
	}
	g := state(dir)
	m := open(g)
	if m == nil || said.Len() > 0 {
		t.Fatalf("said %s", said.String())
	}
	if other, err := g.openKeep(none); other != nil || !errors.Is(err, keep.ErrLocked) || said.Len() > 0 {
		t.Errorf("a second process: %v, said %s", err, said.String())
	}
	g.cfg.Database.TablePrefix = "blog_"
	another := open(g)
	if another == nil {
		t.Fatalf("another site: said %s", said.String())
	}
	for _, m := range []*keep.Map{m, another} {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
