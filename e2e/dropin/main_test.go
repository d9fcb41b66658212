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
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/e2e/backstage"
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
	program string            // the built holdline
	plain   *ground           // PHP alone
	held    map[front]*ground // Holdline in the path of both fronts, a site for the tests of each
)

// atOnce is how many tests run or wait for their site: they wait for pauses and other
// programs, not for the processor.
const atOnce = "20"

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
		if program, err = backstage.Build(dir); err != nil {
			return 1, err
		}
	}
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	code, err = 1, prepare(ctx, dir)
	if err == nil {
		code = m.Run()
	}
	err = errors.Join(err, plain.down(), held[nginx].down(), held[apache].down())
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	return code, err
}

// prepare brings up the sites, one after the other: each takes ports that are free at
// the time. What did not fail has to be brought down.
func prepare(ctx context.Context, dir string) (err error) {
	if plain, err = newPlainGround(ctx); err != nil {
		return err
	}
	held = make(map[front]*ground)
	for _, f := range []front{nginx, apache} {
		if held[f], err = newHeldGround(ctx, filepath.Join(dir, string(f))); err != nil {
			return err
		}
	}
	return nil
}
