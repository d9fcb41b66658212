package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
)

// serve runs the gateway until it is told to stop.
func serve(ctx context.Context, p program) error {
	cfg, err := load(p, nil)
	if err != nil {
		return err
	}
	wp, err := gateway.ReadWordPress(&cfg)
	if cfg.PrintConfig {
		return errors.Join(cfg.Print(p.stdout), asUsage(err))
	}
	if err != nil {
		return usageError{err}
	}
	packMemory(p.env)
	log := logger(cfg.Log, p.stderr)
	b := thisBuild()
	g, err := gateway.New(gateway.Options{Config: cfg, Logger: log, Version: b.version, Commit: b.commit, WordPress: wp})
	if err != nil {
		return err
	}
	if err := g.Listen(); err != nil {
		return err
	}
	log.Info("holdline serves", "browsers", g.Addr().String()+cfg.BasePath, "operator", g.AdminAddr(), "version", b.version)
	if cfg.Auth.Secret.Empty() {
		log.Warn("there is no secret: tokens, visitor cookies and the companion plugin are refused, WordPress logins work; set auth.secret_file")
	}
	defer log.Info("holdline has stopped")
	defer afterStart(log).Stop()
	return g.Run(ctx)
}

// startTime is when the site has been read, on any machine that is well.
const startTime = 3 * time.Second

// afterStart gives back what only the start has needed.
func afterStart(log *slog.Logger) *time.Timer {
	return time.AfterFunc(startTime, func() {
		if err := forgetStart(); err != nil {
			log.Debug("more of the program stays in memory than it needs", "error", err)
		}
	})
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
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}
