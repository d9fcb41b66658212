package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"holdline/gateway"
	"holdline/internal/handover"
)

// service is the gateway as a program that others supervise: it heeds signals, tells
// systemd how it is, and can be replaced by a newer program while it serves.
type service struct {
	p     program
	g     *gateway.Gateway
	log   *slog.Logger
	level *slog.LevelVar
	given *handover.Given
	// publicFrom and adminFrom are the settings that the sockets were bound by, "" for
	// sockets of systemd's.
	publicFrom, adminFrom string
	pidFile               string
	handedOver            bool // a successor serves; set before the gateway is told to stop
}

// run serves until ctx ends or a successor has taken over.
func (s *service) run(ctx context.Context) error {
	self, err := programFile()
	if err != nil {
		s.log.Warn("this process cannot start a successor", "error", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		defer leave()
		return s.g.Run(ctx)
	})
	all.Go(func() error {
		s.announce(ctx)
		return nil
	})
	all.Go(func() error {
		s.heed(ctx, signals, self, leave)
		return nil
	})
	return errors.Join(all.Wait(), s.removePID())
}

// programFile is the path that this program was started by. What the system says of a
// running program (os.Executable) leads to the file that it was, even if a newer one
// has taken its place.
func programFile() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// heed does what signals ask for, one after the other.
func (s *service) heed(ctx context.Context, signals <-chan os.Signal, self string, leave func()) {
	select {
	case <-ctx.Done():
		return
	case <-s.g.Serving():
	}
	for {
		select {
		case <-ctx.Done():
			return
		case got := <-signals:
			if got == syscall.SIGHUP {
				s.reload()
				continue
			}
			if err := s.upgrade(ctx, self); err != nil {
				s.log.Error("the upgrade has failed, and this process goes on", "error", err)
				continue
			}
			leave()
			return
		}
	}
}

// announce tells the world when the gateway serves, that it is alive, and that it
// ends.
func (s *service) announce(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.g.Serving():
	}
	if err := s.writePID(); err != nil {
		s.log.Error("pid_file cannot be written: name a file in a folder that this user may write to", "error", err)
	}
	if s.given.Predecessor != nil {
		s.given.Predecessor.Serving()
	}
	s.notify(daemon.SdNotifyReady, s.status())
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("systemd's watchdog is not understood", "error", err)
	}
	if every > 0 {
		watch(ctx, every/2, s.g.Alive, func() { s.notify(daemon.SdNotifyWatchdog) }, s.log)
	}
	<-ctx.Done()
	if !s.handedOver { // systemd then hears the successor
		s.notify(daemon.SdNotifyStopping, "STATUS=telling the browsers to come back")
	}
}

func (s *service) status() string { return "STATUS=serving browsers at " + s.g.Addr().String() }

// notify tells systemd, if it is there (sd_notify(3)).
func (s *service) notify(state ...string) {
	if _, err := daemon.SdNotify(false, strings.Join(state, "\n")); err != nil {
		s.log.Debug("systemd cannot be told", "error", err)
	}
}

// watch calls ping as often as every says while check comes back without an error. A
// check that hangs is the fault that the watchdog is for: there is no ping then.
func watch(ctx context.Context, every time.Duration, check func(context.Context) error, ping func(), log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		answer := make(chan error, 1)
		go func() { answer <- check(ctx) }() // ends with its check, if that ever does
		select {
		case <-ctx.Done():
			return
		case err := <-answer:
			if err == nil {
				ping()
			} else if ctx.Err() == nil {
				log.Error("the server is not well, and systemd's watchdog is not told otherwise", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reload reads the configuration again.
func (s *service) reload() {
	s.notify(daemon.SdNotifyReloading)
	defer s.notify(daemon.SdNotifyReady)
	cfg, wp, err := readConfig(s.p)
	if err != nil {
		s.log.Error("the configuration was not read again, and what was in force stays", "error", err)
		return
	}
	applied, restart := s.g.Reload(cfg, wp)
	setLevel(s.level, cfg.Log)
	if err := s.g.ReloadCertificates(); err != nil {
		s.log.Error("the certificate was not read again, and the old one stays", "error", err)
	}
	s.log.Info("configuration read again", "changed", strings.Join(applied, " "))
	if len(restart) > 0 {
		s.log.Warn("needs a restart: " + strings.Join(restart, ", "))
	}
}

const (
	// readyTime is how long a successor may take until it could serve.
	readyTime = 30 * time.Second
	// servingTime is how long it may take then to open what this process has let go
	// of: the spool is read anew.
	servingTime = 20 * time.Second
)

// upgrade starts the program anew and lets it take over. With an error this process
// serves as before.
func (s *service) upgrade(ctx context.Context, self string) error {
	if self == "" {
		return errors.New("it is not known which file this program is of")
	}
	public, admin := s.g.Sockets()
	s.log.Info("starting a successor", "program", self)
	s.notify(daemon.SdNotifyReloading, "STATUS=starting a successor")
	next, err := handover.Start(
		handover.Program{Path: self, Args: append([]string{"serve"}, s.p.args...), Env: s.p.env},
		handover.Socket{Name: handover.Public, Setting: s.publicFrom, Listener: public},
		handover.Socket{Name: handover.Admin, Setting: s.adminFrom, Listener: admin},
	)
	if err == nil {
		err = s.handOver(ctx, next)
	}
	if err != nil {
		s.notify(daemon.SdNotifyReady, "STATUS=serving; an upgrade has failed, the log says why")
		return err
	}
	s.handedOver = true
	// Systemd hears nobody but the main process: what the successor said until now is lost.
	s.notify(fmt.Sprintf("MAINPID=%d", next.Pid()), daemon.SdNotifyReady, daemon.SdNotifyWatchdog, s.status())
	s.log.Info("the successor serves; telling the browsers to come back", "pid", next.Pid())
	return nil
}

// handOver gives a successor all that only one process can have. One that dies or
// hangs before it has said that it serves is ended, and all of it taken back: it
// accepted nobody before that, so nobody has noticed but for the time.
func (s *service) handOver(ctx context.Context, next *handover.Successor) error {
	ready, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := next.AwaitReady(ready); err != nil {
		next.Kill()
		return fmt.Errorf("the successor: %w", err)
	}
	if err := s.g.Suspend(ctx); err != nil {
		s.log.Warn("some browsers may be told something twice", "error", err)
	}
	serving, cancel := context.WithTimeout(context.WithoutCancel(ctx), servingTime)
	defer cancel()
	if err := next.Yours(serving); err != nil {
		next.Kill()
		return errors.Join(fmt.Errorf("the successor, which had all: %w", err), s.g.Resume())
	}
	return nil
}

// writePID writes the file of pid_file.
func (s *service) writePID() error {
	if s.pidFile == "" {
		return nil
	}
	next := s.pidFile + ".new" // nobody shall read half of it
	if err := os.WriteFile(next, []byte(ownPID()+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(next, s.pidFile)
}

// removePID removes it, unless it is a successor's by now.
func (s *service) removePID() error {
	if s.pidFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.pidFile)
	if err != nil || strings.TrimSpace(string(text)) != ownPID() {
		return nil
	}
	return os.Remove(s.pidFile)
}

func ownPID() string { return strconv.Itoa(os.Getpid()) }
