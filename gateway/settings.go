package gateway

import (
	"maps"
	"strings"

	"github.com/labstack/echo/v4"

	"holdline/config"
	"holdline/internal/wpconfig"
)

// settings are what is in force. Reload replaces them as a whole, so who needs two
// that must fit together asks once. Gateway.cfg is what the process was started with:
// read those from there that stay so until it ends.
type settings struct {
	config.Config
	configured config.Config    // before what this machine does not let us have
	allowed    []string         // auth.allowed_origins in lower case, as browsers send them
	realIP     echo.IPExtractor // by trusted_proxies
}

func (g *Gateway) settings() *settings { return g.inForce.Load() }

// apply puts a configuration in force.
func (g *Gateway) apply(cfg config.Config) {
	s := &settings{Config: cfg, configured: cfg, realIP: ipExtractor(cfg.TrustedProxies)}
	if room := descriptors() - reservedDescriptors; room > 0 && room < cfg.Limits.Connections {
		g.log.Info("fewer connections than configured: this process may open too few files",
			"limit", room, "configured", cfg.Limits.Connections, "raise", "ulimit -n, or LimitNOFILE in systemd")
		s.Limits.Connections = room
	}
	for _, origin := range cfg.Auth.AllowedOrigins {
		s.allowed = append(s.allowed, strings.ToLower(origin))
	}
	g.inForce.Store(s)
}

// changeable tells whether a running gateway can change a setting. Of the limits those
// stay that buffers were made by.
func changeable(key string) bool {
	switch key {
	case "auth.allowed_origins", "loops.wplc.answer", "loops.wplc.visitors", "hold", "heartbeat", "trusted_proxies",
		"limits.connections", "limits.per_address", "limits.per_user", "limits.open", "limits.open_per_address",
		"limits.channels", "limits.body",
		"limits.message", "limits.sends", "limits.signal", "log.level", "drain":
		return true
	}
	return false
}

// Reload puts in force what may change while the gateway runs, for all that comes
// from now on: connections that are held stay as they are. It returns the keys of
// what has changed, and of what stays as it is until the process is started anew. wp
// is what the site's wp-config.php says now. The log's level is the caller's to change.
// It may be called at any time.
func (g *Gateway) Reload(cfg config.Config, wp *wpconfig.Config) (applied, needRestart []string) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	for _, key := range g.settings().configured.Changes(cfg) {
		if changeable(key) {
			applied = append(applied, key)
		}
	}
	for _, key := range g.cfg.Changes(cfg) {
		if !changeable(key) {
			needRestart = append(needRestart, key)
		}
	}
	if !maps.Equal(g.opt.WordPress.Texts(), wp.Texts()) {
		needRestart = append(needRestart, "wordpress.config (what it says has changed)")
	}
	if len(applied) == 0 {
		return nil, needRestart
	}
	g.apply(cfg)
	now := g.settings()
	g.admission.setLimits(now.Limits)
	g.gate.adjust(openLimitsOf(now.Limits, descriptors()))
	if at := g.attached.Load(); at != nil {
		at.speech.rates.Store(newRates(now.Limits.Sends))
		next := *at
		next.serve(g.lot, now)
		g.attached.Store(&next)
	}
	return applied, needRestart
}
