// Package gateway is the HTTP server in front of the browsers: routes, who may
// come in, limits, metrics and leaving in order. It wires everything below it
// and is the only package that imports echo.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"holdline/config"
	"holdline/internal/backoff"
	"holdline/internal/hub"
	"holdline/internal/outbox"
	"holdline/internal/park"
	"holdline/internal/token"
	"holdline/internal/wpconfig"
	"holdline/poll"
	"holdline/sse"
	"holdline/wordpress"
	"holdline/ws"
)

// Options are what a Gateway needs besides its configuration.
type Options struct {
	Config  config.Config
	Logger  *slog.Logger
	Version string
	Commit  string // the version is of; may be empty
	// WordPress is what the site's wp-config.php says; see ReadWordPress.
	WordPress *wpconfig.Config
	// Connect opens the site; nil means the one of the configuration.
	Connect Connect
	// Routes serves what is not Holdline's own, such as the demo's page; may be
	// nil.
	Routes http.Handler
	// Store makes rows of what browsers send, in the place of what Connect found;
	// may be nil. The demo has no WordPress.
	Store outbox.Store
	// Public and Admin are sockets to listen on that exist already, from systemd or
	// from the process that this one takes over from; nil: those of the configuration.
	Public, Admin net.Listener
	// Claim is called when the site has been read, before anything is taken that only
	// one process of a site can have, and nothing is accepted before it returns: it
	// waits until a predecessor has let go. An error ends Run. nil: nobody has to.
	Claim func(ctx context.Context) error
	// Portable holds connections without epoll, for tests of that path.
	Portable bool
}

// Gateway is one running server. New checks, Listen binds, Run serves.
type Gateway struct {
	opt       Options
	cfg       config.Config
	log       *slog.Logger
	keys      token.Keys
	admission *admission
	gate      *gate
	idleLeft  atomic.Int64 // see makeRoom
	metrics   *metrics
	warnings  *keptWarnings
	status    *status
	lot       *park.Lot
	upstream  *wordpress.Door // nil without wordpress.upstream, and so is
	proxy     *httputil.ReverseProxy
	direct    *http.Transport // to the site's own address
	scripts   []*script       // for browsers
	handler   http.Handler    // of all requests from browsers
	front     *front          // nil without TLS of our own
	listener  *door
	admin     *door
	env       func(string) (string, bool)
	// sameSite heads all answers to requests without an Origin: one map, never
	// changed, for thousands of held polls.
	sameSite http.Header
	attached atomic.Pointer[attached] // nil until the database has answered
	inForce  atomic.Pointer[settings]
	// reloading is held while settings, and what was made by them, are replaced.
	reloading sync.Mutex
	serving   chan struct{} // closed when both doors have been opened
	opened    sync.Once
	suspended atomic.Bool // another process may have what this one had
	draining  atomic.Bool
}

// attached is the site once it is there, with all that stands on it.
type attached struct {
	backend *Backend
	hub     *hub.Hub
	sse     *sse.Server
	poll    *poll.Server
	loops   *poll.Loops
	ws      *ws.Server
	speech  *speech
	estate  *estate
}

// serve makes what holds connections from now on by the settings.
func (a *attached) serve(lot *park.Lot, s *settings) {
	a.sse = &sse.Server{Hub: a.hub, Lot: lot, Heartbeat: s.Heartbeat}
	a.poll = &poll.Server{Hub: a.hub, Lot: lot, Hold: s.Hold}
	a.ws = &ws.Server{
		Hub: a.hub, Lot: lot, Heartbeat: s.Heartbeat,
		MaxMessage: uint32(max(ws.DefaultMaxMessage, maxWord(s.Limits))),
		MaxWords:   a.speech.rates.Load().maxWords(s.Heartbeat),
	}
}

// New prepares a gateway. It starts nothing.
func New(opt Options) (*Gateway, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	kept := keepWarnings(plainLog{opt.Logger.Handler()})
	opt.Logger = slog.New(kept)
	g := &Gateway{
		opt: opt, cfg: opt.Config, log: opt.Logger, warnings: kept.kept, env: os.LookupEnv,
		serving: make(chan struct{}), sameSite: http.Header{"Vary": {"Origin"}},
	}
	if g.opt.Connect == nil {
		g.opt.Connect = g.connectSite
	}
	g.apply(opt.Config)
	if !g.cfg.Auth.Secret.Empty() {
		g.keys.Secret = []byte(g.cfg.Auth.Secret.Reveal())
	}
	g.admission = newAdmission(g.settings().Limits)
	g.metrics = newMetrics(g)
	g.gate = newGate(openLimitsOf(g.settings().Limits, descriptors()), g.trusts, func(what string) {
		g.metrics.turnedAway.WithLabelValues(what).Inc()
	}, func() int { return g.lot.Held() + g.lot.Idle() })
	var err error
	if g.front, err = newFront(g.cfg, g.env, g.metrics, g.log); err != nil {
		return nil, err
	}
	g.lot = park.New(park.Options{
		Logger: g.log, QueueFrames: g.cfg.Limits.QueueEvents, QueueBytes: int(g.cfg.Limits.QueueBytes),
		Portable: opt.Portable, OnClose: g.metrics.closed,
	})
	if address := g.cfg.WordPress.Upstream; address != "" {
		g.upstream = newUpstream(address)
		g.proxy = g.newProxy()
		g.proxy.Transport = countedTransport{g.upstream.Transport, g.metrics}
	}
	g.direct = &http.Transport{IdleConnTimeout: 30 * time.Second}
	if g.scripts, err = newScripts(); err != nil {
		return nil, err
	}
	if g.status, err = newStatus(g); err != nil {
		return nil, err
	}
	g.handler = g.routes()
	return g, nil
}

// reservedDescriptors are kept for the database, listeners, requests that are
// only being refused, and the file system.
const reservedDescriptors = 256

// Listen binds both addresses, so that Run cannot fail for an address in use.
func (g *Gateway) Listen() (err error) {
	if g.listener, err = listen(g.opt.Public, g.cfg.Listen); err != nil {
		return fmt.Errorf("listen for browsers: %w", err)
	}
	if g.admin, err = listen(g.opt.Admin, g.cfg.AdminListen); err != nil {
		g.listener.Close()
		return fmt.Errorf("listen for the operator: %w", err)
	}
	return nil
}

// listen takes the socket that is given, or binds the address.
func listen(given net.Listener, address string) (*door, error) {
	if given != nil {
		return newDoor(given, false)
	}
	l, err := bind(address)
	if err != nil {
		return nil, err
	}
	return newDoor(l, true)
}

func bind(address string) (net.Listener, error) {
	// Heartbeats find dead peers; the kernel's probes would only cost CPU.
	lc := net.ListenConfig{KeepAlive: -1}
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return lc.Listen(context.Background(), "tcp", address)
	}
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// The web server runs as another user.
	return l, os.Chmod(path, 0o666)
}

// removeSocket makes way for a new socket, and takes nothing else for an old one.
func removeSocket(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for the socket of an earlier run: %w", err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is there and is no socket: remove it, or listen elsewhere", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of an earlier run: %w", err)
	}
	return nil
}

// Addr is where browsers are listened for, AdminAddr where the operator is.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// AdminAddr is the operator's address.
func (g *Gateway) AdminAddr() net.Addr { return g.admin.Addr() }

// Held is the number of connections that are held now.
func (g *Gateway) Held() int { return g.lot.Held() }

// Run serves until ctx ends, then lets the clients go and returns when all is
// stopped. Listen must have been called.
func (g *Gateway) Run(ctx context.Context) error {
	public := g.server()
	operator := g.operatorServer()

	// What is below lives on while the clients are let go.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	grp, ctx := errgroup.WithContext(ctx)
	grp.Go(func() error { return g.serve(public, g.front.listener(g.gate.listener(g.listener))) })
	grp.Go(func() error { return g.serve(public, g.gate.homecoming(g.lot.Listener())) })
	grp.Go(func() error { return g.serve(operator, g.admin) })
	grp.Go(func() error { return g.runTLS(ctx) })
	if g.opt.Claim == nil {
		grp.Go(func() error { return g.openInTime(ctx) })
	}
	grp.Go(func() error { return g.lot.Run(below) })
	grp.Go(func() error { return g.runBackend(ctx, below) })
	grp.Go(func() error { return g.runTrim(ctx) })
	grp.Go(func() error { return g.status.run(below) })
	grp.Go(func() error {
		<-ctx.Done()
		g.drain(public)
		stopBelow()
		return operator.Close()
	})
	return grp.Wait()
}

// server is the one for browsers.
func (g *Gateway) server() *http.Server {
	s := &http.Server{
		Handler:           g.lastWord(g.handler),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       park.DefaultKeepAliveIdle,
		MaxHeaderBytes:    int(g.cfg.Limits.Header),
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ConnState:         g.gate.state,
		ConnContext:       g.gate.context,
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true) // proxies that speak h2c
	g.front.prepare(s)
	return s
}

// headerTimeout is how long a client may take over the head of a request.
const headerTimeout = 10 * time.Second

func (g *Gateway) serve(s *http.Server, l net.Listener) error {
	err := s.Serve(l)
	if closed := g.draining.Load() && errors.Is(err, net.ErrClosed); !closed && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Bounds of the wait before a site that could not be read is tried again.
const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 10 * time.Second
)

// runBackend attaches the site, as often as it takes, and runs what stands on it.
func (g *Gateway) runBackend(ctx, below context.Context) error {
	for failures := 1; ctx.Err() == nil; failures++ {
		h := hub.New(hub.Options{Logger: g.log})
		b, err := g.opt.Connect(ctx, countedSink{h, g.metrics})
		if err == nil {
			return g.runAttached(ctx, below, h, b)
		}
		if ctx.Err() != nil {
			break
		}
		wait := backoff.Full(failures, leastRetry, mostRetry)
		g.metrics.notReady(err)
		g.log.Warn("the site cannot be read yet", "error", err, "next_try", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

func (g *Gateway) runAttached(claiming, ctx context.Context, h *hub.Hub, b *Backend) error {
	if b.Close != nil {
		defer b.Close()
	}
	if g.opt.Claim != nil {
		if err := g.opt.Claim(claiming); err != nil {
			return fmt.Errorf("take over from the process before: %w", err)
		}
	}
	for _, f := range b.Feeds {
		h.Add(f.Tail)
	}
	grp, ctx := errgroup.WithContext(ctx)
	grp.Go(func() error { return h.Run(ctx) })
	for _, f := range b.Feeds {
		grp.Go(func() error { return f.Tail.Run(ctx) })
	}
	if b.Run != nil {
		grp.Go(func() error { return b.Run(ctx) })
	}
	if g.opt.Store != nil {
		b.Store, b.Sends = g.opt.Store, nil
	}
	at := &attached{
		backend: b, hub: h, speech: g.newSpeech(h, b),
		loops: &poll.Loops{Hub: h, Lot: g.lot, Logger: g.log},
	}
	at.estate = &estate{g: g, polls: at.loops, loops: b.Loops, speech: at.speech, failed: make(chan error, 1)}
	if !g.suspended.Load() {
		at.estate.start()
	}
	grp.Go(func() error { return at.estate.run(ctx) })
	grp.Go(func() error { return at.loops.Run(ctx) })
	grp.Go(func() error { return at.speech.Run(ctx) })
	grp.Go(func() error { return g.runRecheck(ctx, at.each, b.Revoked) })
	g.attach(at)
	g.log.Info("reading", "sources", sourceNames(b))
	if err := g.openDoors(); err != nil {
		grp.Go(func() error { return err })
	}
	return grp.Wait()
}

// attach has clients served from the site.
func (g *Gateway) attach(at *attached) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	at.speech.rates.Store(newRates(g.settings().Limits.Sends))
	at.serve(g.lot, g.settings())
	g.attached.Store(at)
}

func sourceNames(b *Backend) []string {
	var names []string
	for _, f := range b.Feeds {
		names = append(names, f.Tail.Name())
	}
	return names
}

// origins are all from which browsers may come.
func (g *Gateway) origins(b *Backend) []string {
	if b.Origins == nil {
		return g.settings().allowed
	}
	return append(slices.Clip(g.settings().allowed), b.Origins()...)
}

// prefixNet converts for echo, which still speaks net.IPNet.
func prefixNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
