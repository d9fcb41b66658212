package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// FuzzLoad feeds a file, a variable and a command line: whatever they hold, the answer is a configuration that survives
// being printed and read again, or a list of problems.
func FuzzLoad(f *testing.F) {
	f.Add(sampleText(), "HOLDLINE_HOLD=1s", "--hold=2s", "x")
	f.Add("a: &a [*a]\nlisten: *a", "HOLDLINE_", "-=x", "--")
	f.Add("listen: !!binary aGk=\n? {a: b}\n: c", "HOLDLINE_SOURCES=,,a, ,b", "--sources", "x,y")
	f.Add("<<: {hold: 1s}\n---\nx", "HOLDLINE_TAIL_INTERVAL=1e9h", "-", "--=")
	f.Add("tail: null\nlimits: {body: 99999999999GiB}\nTAIL: {}", "HOLDLINE_LOG_LEVEL", "-\xff", "--log-level")
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	f.Fuzz(func(t *testing.T, file, variable, flag, word string) {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load([]string{"--config", path, flag, word}, []string{variable})
		if err != nil {
			var p *Problems
			if !errors.Is(err, pflag.ErrHelp) && (!errors.As(err, &p) || len(p.List) == 0) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if !cfg.Database.Password.Empty() || !cfg.Auth.Secret.Empty() || cfg.Database.PasswordFile != "" || cfg.Auth.SecretFile != "" {
			return // printed without its secrets, it is another configuration
		}
		cfg.PrintConfig = false
		again := load(t, []string{"--config", write(t, "again.yaml", printed(t, cfg))}, nil)
		if diff := cmp.Diff(cfg, again, compare); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzParseByteSize(f *testing.F) {
	for _, s := range []string{"0", "1", "1024", "1KiB", "256KiB", "1MiB", "8589934591GiB", "8589934592GiB", "-1", "+1", "1 KiB", "KiB", "1kb", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseByteSize(text)
		if err != nil {
			return
		}
		if again, err := ParseByteSize(n.String()); n < 0 || err != nil || again != n {
			t.Errorf("%q is %d, written %s, read %d, %v", text, n, n, again, err)
		}
	})
}

func TestParseByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "1048576": MiB, "1MiB": MiB, "256KiB": 256 * KiB, "1536KiB": 1536 * KiB, "2GiB": 2 * GiB, "8589934591GiB": 8589934591 * GiB,
	} {
		if got, err := ParseByteSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1 MiB", "1MB", "1m", "0x10", "1_000", "8589934592GiB", "9223372036854775808"} {
		if got, err := ParseByteSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
	for n, want := range map[ByteSize]string{0: "0", 1: "1", 1000: "1000", KiB: "1KiB", 1536: "1536", MiB + KiB: "1025KiB", 3 * GiB: "3GiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d is written %s, want %s", int64(n), got, want)
		}
	}
}
