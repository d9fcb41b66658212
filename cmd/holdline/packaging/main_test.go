package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is Holdline as `make build` builds it.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := os.MkdirTemp("", "packaging")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		program = filepath.Join(folder, "holdline")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build Holdline: %v: %s\n", err, out)
			return 1
		}
		return m.Run()
	}())
}

// TestSize holds what is promised. A program that calls methods by names that
// are not constants, as text/template does, is a fifth bigger.
func TestSize(t *testing.T) {
	const most = 20_000_000
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("the program has %d bytes, more than %d", info.Size(), most)
	}
}

func built(t *testing.T) (*buildinfo.BuildInfo, []module) {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := linked(info)
	if err != nil {
		t.Fatal(err)
	}
	return info, modules
}

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing":      {},
		"no program":   {"sbom"},
		"no such file": {"sbom", "/nowhere/holdline"},
		"no program ":  {"sbom", "main.go"},
		"no such word": {"bom", program},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(args, &out); err == nil || out.Len() > 0 {
				t.Errorf("error %v, output %q", err, &out)
			}
		})
	}
}
