// Holdbench measures what held connections cost: it starts a private MariaDB
// with a chat plugin's tables and `holdline serve` beside it, holds thousands of
// clients over every transport, inserts rows, and accounts for each delivery. A
// peer (Nchan) is measured in the same run, alternating.
//
// The site scenario brings up a real WordPress instead, and compares the chat
// plugin's own PHP loop with Holdline in its path.
//
// Latency is from right after the INSERT has returned (its COMMIT; for Nchan
// from just before the publish request) to right after the client's read, on
// the monotonic clock of this process. A delivery can precede the INSERT's
// return and then counts below zero.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "holdbench:", err)
		stop()
		os.Exit(1)
	}
}

// errBars is the verdict of --check.
var errBars = errors.New("not every bar was met")

// run measures and prints; also what was measured before an error.
func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o, err := parseOptions(args, out)
	if err != nil {
		return err
	}
	if o.wants(siteScenario) {
		return runSite(ctx, o, out, log)
	}
	if err := o.checkFiles(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not finished after %s (--timeout)", o.timeout))
	defer cancel()
	// The bench's own collector shall not take the servers' core.
	debug.SetGCPercent(400)
	b, closeAll, err := prepare(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	err = b.run(ctx)
	kept := b.report.summarize()
	err = errors.Join(err, b.report.table(out))
	if o.json != "" {
		err = errors.Join(err, b.report.write(o.json))
	}
	if err == nil && o.check && !kept {
		err = errBars
	}
	return err
}

// prepare starts the database and lays out the servers. The caller calls
// closeAll at the end.
func prepare(ctx context.Context, o options, log io.Writer) (b *bench, closeAll func() error, err error) {
	dir, err := os.MkdirTemp("", "holdbench")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder: %w", err)
	}
	password, secret := randomHex(), randomHex()
	b = &bench{options: o, log: log, report: newReport(o)}
	b.db, err = startDatabase(ctx, filepath.Join(dir, "db"), o.schema, password, max(o.most(), o.channels))
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	program, err := filepath.Abs(o.holdline)
	if err != nil {
		return nil, nil, errors.Join(err, b.db.Close(), os.RemoveAll(dir))
	}
	b.holdline = &holdline{program: program, dir: dir, secret: secret, interval: o.interval, db: b.db, tls: o.tls}
	if o.peer == "nchan" {
		b.peer = &nchan{dir: dir}
	}
	return b, func() error { return errors.Join(b.db.Close(), os.RemoveAll(dir)) }, nil
}

// randomHex is a secret that no one has to remember.
func randomHex() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
