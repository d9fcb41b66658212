package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/handover"
	"holdline/internal/wpconfig"
)

// serve runs the gateway until it is told to stop.
func serve(ctx context.Context, p program) error {
	given, err := handover.Receive()
	if err != nil {
		return err
	}
	defer given.Close()
	cfg, wp, err := readConfig(p)
	if cfg.PrintConfig {
		return errors.Join(cfg.Print(p.stdout), err)
	}
	if err != nil {
		return err
	}
	packMemory(p.env)
	s, err := newService(p, cfg, wp, given)
	if err != nil {
		return err
	}
	s.introduce(cfg)
	defer s.log.Info("holdline has stopped", "pid", os.Getpid())
	return s.run(ctx)
}

// newService listens, on sockets that were given where there are some.
func newService(p program, cfg config.Config, wp *wpconfig.Config, given *handover.Given) (*service, error) {
	log, level := newLogger(cfg.Log, p.stderr)
	b := thisBuild()
	s := &service{p: p, log: log, level: level, given: given, pidFile: cfg.PIDFile}
	opt := gateway.Options{Config: cfg, Logger: log, Version: b.version, Commit: b.commit, WordPress: wp}
	opt.Public, s.publicFrom = given.Take(handover.Public, cfg.Listen)
	opt.Admin, s.adminFrom = given.Take(handover.Admin, cfg.AdminListen)
	if err := given.Close(); err != nil { // nobody would accept what waits there
		log.Debug("closing sockets that are not configured any more", "error", err)
	}
	if given.Predecessor != nil {
		opt.Claim = given.Predecessor.Ready
	}
	var err error
	if s.g, err = gateway.New(opt); err != nil {
		return nil, err
	}
	return s, s.g.Listen()
}

// introduce logs what the operator should know from the start.
func (s *service) introduce(cfg config.Config) {
	s.log.Info("holdline serves", "browsers", s.g.Addr().String()+cfg.BasePath, "operator", s.g.AdminAddr(),
		"version", thisBuild().version, "pid", os.Getpid())
	for _, socket := range []struct{ key, setting, from, at string }{
		{"listen", cfg.Listen, s.publicFrom, s.g.Addr().String()},
		{"admin_listen", cfg.AdminListen, s.adminFrom, s.g.AdminAddr().String()},
	} {
		at := strings.TrimPrefix(socket.setting, "unix:")
		if socket.from == "" && at != socket.at && cfg.Origins()[socket.key] != "default" {
			s.log.Warn("the socket that systemd gave goes before "+socket.key+": let them say the same", "socket", socket.at, socket.key, socket.setting)
		}
	}
	if cfg.Auth.Secret.Empty() {
		s.log.Warn("there is no secret: tokens, visitor cookies and the companion plugin are refused, WordPress logins work; set auth.secret_file")
	}
}

// readConfig reads all that the configuration is made of: files, environment, flags,
// and the site's wp-config.php.
func readConfig(p program) (config.Config, *wpconfig.Config, error) {
	cfg, err := load(p, nil)
	if err != nil {
		return cfg, nil, err
	}
	wp, err := gateway.ReadWordPress(&cfg)
	return cfg, wp, asUsage(err)
}

// packMemory collects garbage twice as often as Go would by itself. The heap is
// a few megabytes of small, long-lived structs, so a collection is cheap, and
// the garbage of 10,000 arrivals then does not lie between them for ever. GOGC
// still has the last word.
func packMemory(env []string) {
	for _, v := range env {
		if strings.HasPrefix(v, "GOGC=") {
			return
		}
	}
	debug.SetGCPercent(50)
}

// load reads the configuration and answers --help.
func load(p program, extra func(*pflag.FlagSet)) (config.Config, error) {
	cfg, err := config.LoadWith(p.args, p.env, extra)
	if errors.Is(err, pflag.ErrHelp) {
		return cfg, errors.Join(err, config.Help(p.stdout, extra))
	}
	return cfg, err
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// logger writes as the configuration wants it, which has been validated.
func logger(cfg config.Log, w io.Writer) *slog.Logger {
	log, _ := newLogger(cfg, w)
	return log
}

// newLogger is logger with a level that can be changed.
func newLogger(cfg config.Log, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	setLevel(level, cfg)
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt)), level
	}
	return slog.New(slog.NewTextHandler(w, opt)), level
}

func setLevel(level *slog.LevelVar, cfg config.Log) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(cfg.Level)); err == nil {
		level.Set(l)
	}
}
