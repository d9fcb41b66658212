//go:build e2e && linux

package soak_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock is the time of day that MariaDB and PHP believe in. The machine's own is left
// alone, and so is Holdline's, which asks the kernel and no library.
type clock struct {
	file string
	rng  *rand.Rand
}

// newClock puts programs before MariaDB and PHP-FPM on the PATH that start them with
// Debian's libfaketime. Clocks that only go on are left as they are.
func newClock(t *testing.T, dir string, rng *rand.Rand) *clock {
	t.Helper()
	libraries, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err != nil || len(libraries) == 0 {
		t.Fatal("the clocks of MariaDB and PHP are moved by libfaketime, which is not installed: apt-get install libfaketime (.ci/install does it)")
	}
	c := &clock{filepath.Join(dir, "clock"), rng}
	c.step(t, 0)
	for _, name := range []string{"mariadbd", "php-fpm*"} {
		program, err := lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\nexec env LD_PRELOAD=%s FAKETIME_TIMESTAMP_FILE=%s FAKETIME_CACHE_DURATION=1 "+
			"DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 FAKETIME_DISABLE_SHM=1 %s \"$@\"\n", libraries[0], c.file, program)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(program)), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return c
}

// lookup finds a server program, by a pattern; /usr/sbin is on few users' PATH.
func lookup(pattern string) (string, error) {
	for dir := range strings.SplitSeq(os.Getenv("PATH")+":/usr/sbin:/sbin", ":") {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range found {
			if _, err := exec.LookPath(path); err == nil {
				return path, nil
			}
		}
	}
	return "", errors.New("there is no program " + pattern)
}

// step moves the clock to so much before or after the machine's. It is believed within
// a second.
func (c *clock) step(t *testing.T, off time.Duration) {
	t.Helper()
	text := fmt.Sprintf("%+d\n", int64(off/time.Second))
	if err := os.WriteFile(c.file+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		t.Fatal(err)
	}
}

// wander steps the clock by up to two minutes: less than the five that signed calls may
// be apart (holdline.php, HOLDLINE_SKEW).
func (c *clock) wander(t *testing.T) {
	t.Helper()
	c.step(t, time.Duration(c.rng.Int64N(int64(4*time.Minute)))-2*time.Minute)
}

// far is an hour before or after.
func (c *clock) far() time.Duration {
	return time.Hour - time.Duration(c.rng.IntN(2))*2*time.Hour
}
