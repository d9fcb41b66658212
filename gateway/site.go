package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/wpauth"
	"holdline/internal/wpconfig"
	"holdline/wordpress"
	"holdline/wpdb"
	"holdline/wpdb/wplc"
)

// ReadWordPress completes a configuration with what the site's wp-config.php
// says, if wordpress.config names one. What the operator has set stays. The
// error names every value that is needed and that nobody knows, and how to set
// it.
func ReadWordPress(cfg *config.Config) (*wpconfig.Config, error) {
	wp := &wpconfig.Config{}
	if cfg.WordPress.Config != "" {
		var err error
		opt := wpconfig.Options{LookupEnv: os.LookupEnv, Request: request(cfg.WordPress.URL)}
		if wp, err = wpconfig.Load(cfg.WordPress.Config, opt); err != nil {
			return nil, fmt.Errorf("wordpress.config: %w", err)
		}
	}
	for _, from := range []struct{ constant, setting string }{
		{"DB_NAME", "database.name"},
		{"DB_USER", "database.user"},
		{"DB_PASSWORD", "database.password"},
		{"DB_HOST", "database.address"},
	} {
		// The site's own user has its password with it: mixing one from here
		// and one from there would never be right.
		if from.constant == "DB_PASSWORD" && cfg.Database.User != "" && cfg.Origins()["database.user"] != "wp-config" {
			continue
		}
		if value, ok := wp.String(from.constant); ok {
			cfg.SetFromWordPress(from.setting, value)
		}
	}
	if wp.TablePrefixSet {
		cfg.SetFromWordPress("database.table_prefix", wp.TablePrefix)
		if wp.TablePrefix == "" && cfg.Origins()["database.table_prefix"] == "default" {
			cfg.Database.TablePrefix = "" // tables without a prefix
		}
	}
	if secret := sharedSecret(wp); secret != "" {
		cfg.SetFromWordPress("auth.secret", secret)
	}
	return wp, missing(cfg, wp)
}

// minSalt is the shortest key of wp-config.php that is taken for a secret.
// WordPress's own have 64 bytes; its placeholder has 27.
const minSalt = 32

// sharedSecret is the secret that this server and the companion plugin both make
// of the site's keys (holdline_secret in wordpress/holdline.php), so that a site
// needs no secret of its own. It is "" where not all keys are known and long.
func sharedSecret(wp *wpconfig.Config) string {
	var keys strings.Builder
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		for _, part := range []string{"_KEY", "_SALT"} {
			key, ok := wp.String(scheme + part)
			if !ok || len(key) < minSalt {
				return ""
			}
			keys.WriteString(key)
		}
	}
	mac := hmac.New(sha256.New, []byte(keys.String()))
	mac.Write([]byte("holdline shared secret"))
	return hex.EncodeToString(mac.Sum(nil))
}

// request is what PHP would know of a request to the site, for configurations
// that depend on the host; nil while the site's address is not known.
func request(address string) map[string]string {
	u, err := url.Parse(address)
	if address == "" || err != nil {
		return nil
	}
	r := map[string]string{"HTTP_HOST": u.Host, "SERVER_NAME": u.Hostname()}
	if u.Scheme == "https" {
		r["HTTPS"] = "on"
	}
	return r
}

// missing lists what a database connection needs and nobody has said.
func missing(cfg *config.Config, wp *wpconfig.Config) error {
	var problems []error
	for _, need := range []struct{ value, setting, constant string }{
		{cfg.Database.Name, "database.name", "DB_NAME"},
		{cfg.Database.User, "database.user", "DB_USER"},
	} {
		if need.value != "" {
			continue
		}
		how := "set it, or point wordpress.config at the site's wp-config.php"
		if why, ok := wp.Why(need.constant); ok {
			how = fmt.Sprintf("%s in wp-config.php is not a plain value (%s): set it here", need.constant, why)
		}
		problems = append(problems, fmt.Errorf("%s is not known: %s", need.setting, how))
	}
	if why, ok := wp.Why("$table_prefix"); ok && cfg.Origins()["database.table_prefix"] == "default" {
		problems = append(problems, fmt.Errorf("$table_prefix in wp-config.php is not a plain value (%s): set database.table_prefix", why))
	}
	for _, name := range wpauth.SaltConstants() {
		if why, ok := wp.Why(name); ok {
			problems = append(problems, fmt.Errorf("%s in wp-config.php is not a plain value (%s), so logins could not be checked: "+
				"give the variable to Holdline's environment too, or write the salts as plain strings", name, why))
		}
	}
	return errors.Join(problems...)
}

// connectSite is the Connect of a real site.
func (g *Gateway) connectSite(ctx context.Context, sink wpdb.Sink) (b *Backend, err error) {
	d := g.cfg.Database
	constants := g.opt.WordPress.Texts()
	db, err := wpdb.Open(wpdb.Options{
		Addresses: wpdb.ParseAddresses(d.Address), Database: d.Name, User: d.User, Password: d.Password.Reveal(),
		TLS: d.TLS, Charset: wpdb.CharsetOf(constants["DB_CHARSET"]), MaxConnections: d.MaxConnections,
	}, g.log)
	if err != nil {
		return nil, err
	}
	site, err := wpdb.OpenSite(ctx, db, wpdb.SiteOptions{
		Prefix: d.TablePrefix, Constants: constants, URL: g.cfg.WordPress.URL, Logger: g.log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the site: %w", err), db.Close())
	}
	var loops *Loops
	closeAll := func() {
		site.Close()
		if err := db.Close(); err != nil {
			g.log.Debug("closing the database", "error", err)
		}
	}
	feeds, err := g.detect(ctx, db, site, sink)
	if err != nil {
		closeAll()
		return nil, err
	}
	revoked := make(chan struct{}, 1)
	auth := wpdb.NewAuthenticator(site, wpdb.AuthOptions{Recheck: g.cfg.Auth.Recheck, Logger: g.log, OnRevoked: func(*wpdb.Session) {
		select {
		case revoked <- struct{}{}:
		default: // the one that waits stands for this too
		}
	}})
	for _, f := range feeds {
		// Where Routes stand in for it, there is no WordPress.
		if src, ok := f.source.(*wplc.Source); ok && g.opt.Routes == nil {
			loops = g.newLoops(src, db, site, auth)
		}
	}
	b = &Backend{
		Feeds: feeds, Loops: loops, Login: auth.Login, Health: db.Check, Run: auth.Run, Revoked: revoked, Close: closeAll,
		Origins: func() []string { return siteOrigins(site) },
	}
	if loops != nil {
		b.Store = wordpress.NewPostman(wordpress.PostmanOptions{Do: g.siteCall(site, wordpress.SendAction)})
		b.Sends = companionSends(loops.Courier)
	}
	return b, nil
}

// detect finds the chat plugins of the site. A plugin is one line here.
func (g *Gateway) detect(ctx context.Context, db *wpdb.DB, site *wpdb.Site, sink wpdb.Sink) ([]Feed, error) {
	plugins := []plugin{
		{"wplc", func() (mounted, error) { return mount(wplc.Detect(ctx, site)) }, wplc.ErrNotInstalled},
	}
	var feeds []Feed
	var absent []string
	for _, p := range plugins {
		if len(g.cfg.Sources) > 0 && !slices.Contains(g.cfg.Sources, p.name) {
			continue
		}
		src, err := p.detect()
		if errors.Is(err, p.notInstalled) {
			absent = append(absent, p.name)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", p.name, err)
		}
		tail := wpdb.NewTail(src, wpdb.NewTable(db, src), db, sink, wpdb.TailOptions{
			Logger: g.log, Interval: g.cfg.Tail.Interval, IdleInterval: g.cfg.Tail.IdleInterval,
			GapWindow: g.cfg.Tail.GapWindow, Batch: g.cfg.Tail.Batch,
		})
		speech, _ := src.(Speech)
		feeds = append(feeds, Feed{Tail: tail, MayRead: src.MayRead, Speech: speech, source: src})
	}
	if len(feeds) == 0 {
		return nil, fmt.Errorf("no chat plugin's tables are there for this user (looked for %s with prefix %s): "+
			"install the plugin, correct database.table_prefix, or GRANT SELECT on its tables",
			strings.Join(absent, ", "), site.Prefix())
	}
	return feeds, nil
}

// plugin is one row of the list of plugins.
type plugin struct {
	name         string
	detect       func() (mounted, error)
	notInstalled error
}

// mounted is a plugin that was found.
type mounted interface {
	wpdb.Source
	MayRead(ctx context.Context, v chat.Viewer, name string) (bool, error)
}

func mount[S mounted](src S, err error) (mounted, error) {
	if err != nil {
		return nil, err
	}
	return src, nil
}

func siteOrigins(site *wpdb.Site) []string {
	var list []string
	for _, address := range []string{site.Home(), site.SiteURL()} {
		if o := originOf(address); o != "" && !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}
