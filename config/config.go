// Package config turns defaults, a YAML file, HOLDLINE_* environment variables and command-line flags into one validated
// [Config]. Later sources win, every mistake is reported at once, and secrets never print.
//
// The settings live in one table ([table] in settings.go): key, default, help and rule. Flags, environment names, --help,
// the sample file and --print-config all derive from it.
package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// Config is the effective configuration. Read it from as many goroutines as you like once [Config.SetFromWordPress] has
// been called for the last time; copies are independent except for their slices, which nobody changes.
type Config struct {
	Listen      string   `mapstructure:"listen"`       // host:port or unix:/path, for browsers and the front proxy
	AdminListen string   `mapstructure:"admin_listen"` // the same forms, for health, metrics and status
	AdminHosts  []string `mapstructure:"admin_hosts"`  // names in lower case that may stand in a Host of the admin listener, besides those that always may
	BasePath    string   `mapstructure:"base_path"`    // starts with a slash and does not end with one

	TLS       TLS       `mapstructure:"tls"`
	WordPress WordPress `mapstructure:"wordpress"`
	Database  Database  `mapstructure:"database"`

	Sources []string `mapstructure:"sources"` // chat plugins by name; empty means every plugin whose tables exist

	Tail  Tail  `mapstructure:"tail"`
	Auth  Auth  `mapstructure:"auth"`
	Loops Loops `mapstructure:"loops"`

	Hold      time.Duration `mapstructure:"hold"`      // how long a poll without news is held
	Heartbeat time.Duration `mapstructure:"heartbeat"` // silence on a stream before a heartbeat is sent

	Limits         Limits         `mapstructure:"limits"`
	TrustedProxies []netip.Prefix `mapstructure:"trusted_proxies"` // whose X-Forwarded-For is believed
	Log            Log            `mapstructure:"log"`
	StateDir       string         `mapstructure:"state_dir"` // absolute; empty: find one; StateOff: none
	Spool          Spool          `mapstructure:"spool"`
	PIDFile        string         `mapstructure:"pid_file"` // absolute; empty: none
	Drain          time.Duration  `mapstructure:"drain"`    // how long a stopping server lets clients leave

	// PrintConfig is the --print-config flag. It is no setting: only the command line can ask for it.
	PrintConfig bool `mapstructure:"-"`
	// Args are the command line's words that are not flags, for subcommands that take some ([LoadWith]).
	Args []string `mapstructure:"-"`

	origins map[string]string // replaced, never changed, so that copies of a Config stay apart
}

// TLS makes Listen speak HTTPS, with a certificate from files or from an ACME server; at most one of both is set.
type TLS struct {
	CertFile      string   `mapstructure:"cert_file"`      // PEM, leaf first; set together with KeyFile
	KeyFile       string   `mapstructure:"key_file"`       // PEM
	ACMEDomains   []string `mapstructure:"acme_domains"`   // lower case
	ACMEEmail     string   `mapstructure:"acme_email"`     // may be empty
	ACMEDirectory string   `mapstructure:"acme_directory"` // https; empty: Let's Encrypt's
	ACMECAFile    string   `mapstructure:"acme_ca_file"`   // PEM; empty: the system's CAs
}

// On reports whether Listen speaks TLS.
func (t TLS) On() bool { return t.CertFile != "" || len(t.ACMEDomains) > 0 }

// WordPress says where the site is. Empty URL is read from the site itself; empty Upstream turns forwarding to PHP off.
type WordPress struct {
	Config   string `mapstructure:"config"`   // path of wp-config.php
	URL      string `mapstructure:"url"`      // http(s)://host[:port][/path], as in WordPress's siteurl
	Upstream string `mapstructure:"upstream"` // http(s)://host[:port] or unix:/path
}

// Database says how to reach MySQL or MariaDB. What is empty comes from wp-config.php.
type Database struct {
	Address        string `mapstructure:"address"` // host:port, or the absolute path of a socket
	Name           string `mapstructure:"name"`
	User           string `mapstructure:"user"`
	Password       Secret `mapstructure:"password"`      // the file's text when PasswordFile is set
	PasswordFile   string `mapstructure:"password_file"` // already read by Load
	TablePrefix    string `mapstructure:"table_prefix"`
	TLS            string `mapstructure:"tls"` // off, on, skip-verify, or the path of a CA certificate file
	MaxConnections int    `mapstructure:"max_connections"`
}

// Tail paces the reading of new rows.
type Tail struct {
	Interval     time.Duration `mapstructure:"interval"`      // between reads while rows flow
	IdleInterval time.Duration `mapstructure:"idle_interval"` // between reads when nothing happens; never below Interval
	GapWindow    time.Duration `mapstructure:"gap_window"`    // how long a skipped id may still turn up
	Batch        int           `mapstructure:"batch"`         // rows per query at most
}

// Auth decides who may read.
type Auth struct {
	Secret         Secret        `mapstructure:"secret"`          // signs tokens, visitor bindings and wake calls; the file's text when SecretFile is set
	SecretFile     string        `mapstructure:"secret_file"`     // already read by Load
	AllowedOrigins []string      `mapstructure:"allowed_origins"` // scheme://host[:port], exactly as browsers send it
	Recheck        time.Duration `mapstructure:"recheck"`         // how often the logins of live connections are checked again
}

// Loops sets how each plugin's own admin-ajax polling is answered.
type Loops struct {
	WPLC WPLC `mapstructure:"wplc"`
}

// WPLC is for WP Live Chat Support.
type WPLC struct {
	Answer   string `mapstructure:"answer"`   // auto, native or relay
	Visitors string `mapstructure:"visitors"` // adopt, strict or compatible
}

// Limits bounds what clients may take.
type Limits struct {
	Connections int      `mapstructure:"connections"`      // held connections in all
	PerAddress  int      `mapstructure:"per_address"`      // held connections from one client address
	PerUser     int      `mapstructure:"per_user"`         // held connections of one login or visitor
	Open        int      `mapstructure:"open"`             // connections that are open and not held
	OpenPerAddr int      `mapstructure:"open_per_address"` // the same from one client address that is no trusted proxy
	Channels    int      `mapstructure:"channels"`         // channels in one subscription
	Body        ByteSize `mapstructure:"body"`             // bytes of a request body
	QueueEvents int      `mapstructure:"queue_events"`     // events waiting for one slow client
	QueueBytes  ByteSize `mapstructure:"queue_bytes"`      // bytes waiting for one slow client
	Header      ByteSize `mapstructure:"header"`           // bytes of a request's header
	Message     ByteSize `mapstructure:"message"`          // bytes of a chat message's text
	Sends       int      `mapstructure:"sends"`            // messages of one sender in a second; four times as many at once
	Signal      ByteSize `mapstructure:"signal"`           // bytes of the payload of a signal, as JSON
}

// Spool keeps messages from browsers until WordPress has stored them.
type Spool struct {
	Dir      string   `mapstructure:"dir"`       // absolute, of this site alone; empty: below StateDir
	Sync     string   `mapstructure:"sync"`      // always, interval or never
	MaxBytes ByteSize `mapstructure:"max_bytes"` // of all files
}

// Log sets what is logged and how.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Format string `mapstructure:"format"` // text or json
}

// StateOff is the StateDir of who wants nothing written.
const StateOff = "off"

const (
	originDefault   = "default"
	originWordPress = "wp-config"
)

// Origins tells for every key of the table where its value came from: "default", "file PATH", "env NAME", "flag --name"
// or "wp-config". A secret read from a file of its own has that file as its origin. The map is the caller's to keep.
func (c Config) Origins() map[string]string { return maps.Clone(c.origins) }

// SetFromWordPress fills a setting from the site's wp-config.php. It does nothing when the setting has a value already,
// or was set to nothing on purpose (a socket login without a password); an empty value changes nothing either. The keys
// are those the table marks: database.address, name, user, password and table_prefix, wordpress.url and auth.secret. Any
// other key is a mistake in the program and panics. Not for concurrent use.
func (c *Config) SetFromWordPress(key, value string) {
	if s, ok := find(key); !ok || !s.wordpress {
		panic(fmt.Sprintf("config: %q is not a setting that wp-config.php can fill", key))
	}
	if origin, ok := c.origins[key]; value == "" || ok && origin != originDefault {
		return
	}
	switch field := c.field(key).Addr().Interface().(type) {
	case *string:
		if *field != "" && c.origins[key] != originDefault {
			return
		}
		*field = value
	case *Secret:
		if !field.Empty() {
			return
		}
		*field = NewSecret(value)
	}
	c.setOrigin(key, originWordPress)
}

func (c *Config) setOrigin(key, origin string) {
	origins := maps.Clone(c.origins)
	if origins == nil {
		origins = make(map[string]string)
	}
	origins[key] = origin
	c.origins = origins
}

// field finds the struct field of a key of the table. It panics for a key without one, which a test rules out.
func (c *Config) field(key string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(key, ".") {
		v = v.FieldByIndex(tagged(v.Type(), name).Index)
	}
	return v
}

func tagged(t reflect.Type, name string) reflect.StructField {
	for f := range t.NumField() {
		if t.Field(f).Tag.Get("mapstructure") == name {
			return t.Field(f)
		}
	}
	panic(fmt.Sprintf("config: %s has no field for %q", t, name))
}
