// Package dropin_test tests Holdline where a site owner puts it: in the path of
// the chat plugin's own loops, behind real nginx and Apache, before a real
// WordPress. Everything that Holdline is asked to do is asked of plain PHP too,
// by the same actors, and what they saw is compared.
package dropin_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Short in CI, long by hand.
var (
	abortFor = flag.Duration("dropin.abort", 3*time.Second, "how long requests are aborted in masses")
	useFile  = flag.String("dropin.program", "", "test this holdline instead of the checkout's")
	hourFor  = flag.Duration("dropin.hour", 84*time.Second, "how long the two sites are compared (at least 84s)")
)

// What the tests of the package share. They run side by side where they are on
// different sites; the longest has two of its own.
var (
	program string  // the built holdline
	plain   *ground // PHP alone
	held    *ground // Holdline in the path of both fronts
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "hldropin")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if program = *useFile; program == "" {
		program = filepath.Join(dir, "holdline")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/holdline").CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build the program: %w\n%s", err, out)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if plain, err = newPlainGround(ctx); err == nil {
		held, err = newHeldGround(ctx, dir)
	}
	code = 1
	if err == nil {
		code = m.Run()
	}
	err = errors.Join(err, plain.down(), held.down())
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	return code, err
}
