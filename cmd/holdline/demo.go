package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/outbox"
	"holdline/internal/token"
)

// demo runs a whole site in one command: a private database with the tables of
// WP Live Chat Support, the gateway that `serve` runs, and a page with both ends
// of one chat.
func demo(ctx context.Context, p program) error {
	inMemory := false
	cfg, err := load(p, func(f *pflag.FlagSet) {
		f.BoolVar(&inMemory, "memory", false, "keep the rows in memory instead of starting a private MariaDB")
	})
	if err != nil {
		return err
	}
	if len(cfg.Args) > 0 {
		return usageError{fmt.Errorf("demo takes no arguments, only flags: %q", cfg.Args[0])}
	}
	if strings.HasPrefix(cfg.Listen, "unix:") {
		return usageError{errors.New("the demo is for browsers: --listen must be host:port, such as 127.0.0.1:8787")}
	}
	if cfg.PrintConfig {
		return cfg.Print(p.stdout)
	}
	d := &demoSite{cfg: demoConfig(cfg), database: openMariaDB, out: p.stdout, clients: ownClients}
	if inMemory {
		d.database = noDatabase
	}
	d.log = logger(d.cfg.Log, p.stderr)
	return d.run(ctx)
}

// demoConfig is the caller's configuration where the demo does not have to have
// its own way. Nothing of a site that is configured is touched.
func demoConfig(cfg config.Config) config.Config {
	origins := cfg.Origins()
	unless := func(key string, set func()) {
		if origins[key] == "default" {
			set()
		}
	}
	// What opens itself a second time must not fail over the operator's port.
	unless("admin_listen", func() { cfg.AdminListen = "127.0.0.1:0" })
	unless("limits.per_address", func() { cfg.Limits.PerAddress = demoMost })
	unless("limits.per_user", func() { cfg.Limits.PerUser = demoMost })
	unless("log.level", func() { cfg.Log.Level = "warn" })
	unless("drain", func() { cfg.Drain = 2 * time.Second })
	cfg.WordPress = config.WordPress{}
	cfg.Sources = nil
	cfg.Auth.Secret = config.NewSecret(rand.Text() + rand.Text())
	cfg.StateDir = config.StateOff // its database does not live longer than it
	return cfg
}

// demoMost is how many connections the demo lets one machine hold.
const demoMost = 16_000

// demoSite is one run of the demo.
type demoSite struct {
	cfg      config.Config
	database openDatabase
	log      *slog.Logger
	out      io.Writer
	clients  clientsCommand
	desk     *desk // while it runs
	// onReady, for tests, hears the site's address once everything answers.
	onReady func(url string)
}

// run serves until ctx ends and leaves nothing behind.
func (d *demoSite) run(ctx context.Context) (err error) {
	fmt.Fprintln(d.out, "Preparing the demo …")
	desk, err := d.openDesk(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it was starting
		}
		return err
	}
	d.desk = desk
	defer func() { err = errors.Join(err, desk.close()) }()

	if d.cfg.Spool.Dir, err = os.MkdirTemp("", "holdline-demo"); err != nil {
		d.log.Warn("the panes cannot send: there is no folder for messages on their way", "error", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.cfg.Spool.Dir)) }()
	store := &demoStore{desk: desk}
	page := newDemoPage(desk, store, token.Keys{Secret: []byte(d.cfg.Auth.Secret.Reveal())}, d.log)
	defer page.close()
	g, url, err := d.gateway(desk, store, page.routes())
	if err != nil {
		return err
	}
	if err := page.open(g, url, d.cfg.BasePath, d.clients); err != nil {
		return err
	}
	if err := desk.settle(ctx, url); err != nil {
		return err
	}
	grp, ctx := errgroup.WithContext(ctx)
	grp.Go(func() error { return g.Run(ctx) })
	grp.Go(func() error { return d.announce(ctx, g, desk, url) })
	grp.Go(func() error {
		<-ctx.Done()
		page.close() // or a click that is still at work would keep the server
		return nil
	})
	return grp.Wait()
}

// openDatabase makes a database for the demo and points the configuration at it.
type openDatabase func(ctx context.Context, cfg *config.Config, book *ledger) (*desk, error)

func noDatabase(context.Context, *config.Config, *ledger) (*desk, error) {
	return nil, errors.New("you asked for --memory")
}

// openDesk opens the database, or rows in memory where none can be had.
func (d *demoSite) openDesk(ctx context.Context) (*desk, error) {
	book := &ledger{}
	desk, err := d.database(ctx, &d.cfg, book)
	if err == nil || ctx.Err() != nil {
		return desk, err
	}
	return openMemory(d.cfg, book, d.log, err.Error()), nil
}

// gateway binds the addresses; url is where a browser on this machine finds it.
func (d *demoSite) gateway(desk *desk, store outbox.Store, routes http.Handler) (g *gateway.Gateway, url string, err error) {
	mayMove := d.cfg.Origins()["listen"] == "default"
	if d.cfg.Listen, err = freeAddress(d.cfg.Listen, mayMove); err != nil {
		return nil, "", fmt.Errorf("listen for browsers: %w", err)
	}
	host, port, err := net.SplitHostPort(d.cfg.Listen)
	if err != nil {
		return nil, "", fmt.Errorf("listen for browsers: %w", err)
	}
	d.cfg.Auth.AllowedOrigins = append(d.cfg.Auth.AllowedOrigins, localOrigins(host, port)...)
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	g, err = gateway.New(gateway.Options{
		Config: d.cfg, Logger: d.log, Version: thisBuild().version, Connect: desk.connect, Routes: routes, Store: store,
	})
	if err != nil {
		return nil, "", err
	}
	return g, "http://" + net.JoinHostPort(host, port), g.Listen()
}

// freeAddress settles which port it will be, because the page's origin has to be
// known before the gateway is made. A taken port is an error, unless nobody
// asked for that very port.
func freeAddress(address string, mayMove bool) (string, error) {
	l, err := net.Listen("tcp", address)
	if mayMove && errors.Is(err, syscall.EADDRINUSE) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// localOrigins are the names under which the page may be opened: a browser's
// Origin has the one that the visitor typed.
func localOrigins(host, port string) []string {
	hosts := []string{host}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	}
	if ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			hosts = append(hosts, name)
		}
		addresses, _ := net.InterfaceAddrs() // none is fine
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	var origins []string
	for _, h := range hosts {
		origins = append(origins, "http://"+strings.TrimSuffix(net.JoinHostPort(h, port), ":80"))
	}
	return origins
}

// announce tells where to look once there is something to see.
func (d *demoSite) announce(ctx context.Context, g *gateway.Gateway, desk *desk, url string) error {
	operator := "http://" + g.AdminAddr().String()
	if err := awaitReady(ctx, operator+"/readyz"); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("the demo's gateway does not get ready: %w", err)
	}
	fmt.Fprintf(d.out, "\n%s\n", desk.notice)
	if desk.byHand != "" {
		fmt.Fprintf(d.out, "\nInsert a row by hand and watch it arrive:\n\n  %s\n", desk.byHand)
	}
	fmt.Fprintf(d.out, "\nFor the operator: %s/metrics\nCtrl-C stops everything and removes it.\n\nOpen %s/\n", operator, url)
	if d.onReady != nil {
		d.onReady(url)
	}
	return nil
}

// awaitReady asks until the answer is 200, for at most a minute.
func awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(strings.TrimSpace(string(text)))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
