// Package wplc makes the tables of the WordPress plugin "WP Live Chat Support"
// (8.x, and the older 5.x) live: message rows become events, and so do changes
// of a chat's status.
//
// # Channels
//
//	wplc/<chat id>        what visitor and agent say, notes for the visitor
//	                      (originates 0, 1, 2), and the status of the chat
//	wplc/<chat id>/agent  notes for agents (originates 3: the page the visitor
//	                      is on); agents subscribe to both
//	wplc/agents           the open chats and the number of visitors, sent whole
//
// The chat id is sessions.id in plain decimal, without leading zeros. The hash
// that the plugin's Node mode uses for the same chat (sessions.rel) is no
// channel name: no index exists on that column, so each look-up would scan the
// table, and MySQL casts such a hash to the number it begins with. Who knows only
// the hash asks WordPress, which maps it (wplc_return_chat_id_by_rel).
//
// Rows of agent-to-agent chats (Pro; afrom or ato > 0) are silent: the table says
// who may read them, but a channel is read by everybody who may read the chat.
//
// # Loops
//
// The plugin's own JavaScript polls admin-ajax.php, where PHP holds each request
// for half a minute. [Source.Recognise] knows these requests and [Source.Answer]
// answers them with the bytes that PHP would have sent; the writes that PHP makes
// meanwhile are returned as data, for somebody who may write. A [Desk] makes one
// loop of each request and keeps what outlives it; where answers cannot be made
// here, its loops have PHP make them ([RelayLoop]).
//
// See [Source.MayRead] for who may read a channel and [Source.Status] for what
// is told on the second kind of events.
package wplc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdline/internal/phpser"
	"holdline/wpdb"
)

// ErrNotInstalled says that the database has no tables of this plugin, or none
// that its user may see: MySQL does not tell these two apart.
var ErrNotInstalled = errors.New("WP Live Chat Support is not installed")

// Site is the WordPress site that the tables belong to, with its read-only
// database. All methods are called from several goroutines.
type Site interface {
	wpdb.Querier
	Users
	// Prefix is what the site's table names begin with: "wp_".
	Prefix() string
	// Location is the site's time zone setting, in which all datetimes are.
	Location() *time.Location
	// Option reads wp_options; ok is false where there is no such row.
	Option(ctx context.Context, name string) (value string, ok bool, err error)
}

// Users tells what decides whether a WordPress user is an agent.
type Users interface {
	UserMeta(ctx context.Context, userID int64, key string) (value string, ok bool, err error)
	UserCan(ctx context.Context, userID int64, capability string) (bool, error)
}

// Source is the plugin's message table as a [wpdb.Source], and its session table
// as a [wpdb.Statuser]. Status is for one goroutine; all else is for any number.
type Source struct {
	site  Site
	facts Facts
	// columns is the SELECT list of messages in the order of record.fields;
	// sessionColumns that of sessions in the order of session.fields.
	columns        string
	sessionColumns string
	stateColumns   string // the first three of these: what a chat's own channel tells
	text           text
	watch          watch

	// The rest is for the plugin's own loops, see Answer.
	missing   error // columns that they need
	tabs      tabs
	boards    boards
	chats     herd[int64, chatRow]
	news      herd[unreadOf, portion]
	newcomers herd[unreadOf, portion]
	horizon   horizon
}

// Source is what the tail and the hub want of a plugin folder.
var (
	_ wpdb.Source   = (*Source)(nil)
	_ wpdb.Statuser = (*Source)(nil)
)

// Facts are what Detect found out about the site.
type Facts struct {
	Version int    // of the tables: 8 or 5
	Plugin  string // the plugin's own version, "8.0.25"; empty if not known
	Pro     bool   // the Pro add-on is or was installed
	// Encrypted says that Pro is set to encrypt what it stores.
	Encrypted bool
	// NodeMode says that the plugin's own Node server carries the chats.
	NodeMode bool
	// Notes are sentences for the operator about what will not work and why.
	Notes []string
}

// Detect looks at the tables and options of a site. It returns ErrNotInstalled
// where the plugin's tables are missing, and an error that names the columns
// where the database user may not read what is needed.
//
// The answer does not change by itself: detect again after the plugin was
// updated, Pro was installed, or its key was changed.
func Detect(ctx context.Context, site Site) (*Source, error) {
	if strings.Trim(site.Prefix(), prefixBytes) != "" {
		return nil, fmt.Errorf("wplc: table prefix %q holds more than letters, digits and _", site.Prefix())
	}
	s := &Source{site: site}
	if err := s.detectTables(ctx); err != nil {
		return nil, fmt.Errorf("wplc: %w", err)
	}
	if err := s.detectOptions(ctx); err != nil {
		return nil, fmt.Errorf("wplc: %w", err)
	}
	return s, nil
}

// prefixBytes are all that WordPress itself takes ($table_prefix in
// wp-includes/class-wpdb.php, set_prefix).
const prefixBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// Facts returns what Detect found out.
func (s *Source) Facts() Facts { return s.facts }

// knownPlugin tells whether the loops' answers are those of a version that was
// looked at. Where the version is not known, it is guessed by the tables.
func (f Facts) knownPlugin() bool {
	return f.Plugin == "" || strings.HasPrefix(f.Plugin, fmt.Sprintf("%d.0.", f.Version))
}

// Name is "wplc".
func (s *Source) Name() string { return "wplc" }

// Table is the message table's name with the site's prefix, not quoted.
func (s *Source) Table() string { return s.site.Prefix() + "wplc_chat_msgs" }

func (s *Source) sessionTable() string { return s.site.Prefix() + "wplc_chat_sessions" }

// detectOptions reads the settings that change how rows are read.
func (s *Source) detectOptions(ctx context.Context) error {
	settings, _, err := s.setting(ctx, "WPLC_SETTINGS")
	if err != nil {
		return err
	}
	if s.facts.NodeMode = isOn(settings, "wplc_use_node_server"); s.facts.NodeMode {
		s.note("WP Live Chat Support is set to use its own Node server (WPLC_SETTINGS.wplc_use_node_server): " +
			"the plugin's browser loops are off, and only what it still writes to the database is seen here; " +
			"switch that setting off to have every message served from here")
	}
	if s.facts.Plugin, _, err = s.site.Option(ctx, "wplc_db_version"); err != nil {
		return fmt.Errorf("read option wplc_db_version: %w", err)
	}
	_, pro, err := s.setting(ctx, "WPLC_PRO_SETTINGS")
	if err != nil {
		return err
	}
	s.facts.Pro = s.facts.Pro || pro
	encryption, _, err := s.setting(ctx, "WPLC_ENCRYPT_SETTINGS")
	if err != nil {
		return err
	}
	s.facts.Encrypted = isOn(encryption, "wplc_enable_encryption")
	return s.detectKey(ctx)
}

// detectKey reads the key of encrypted texts as Pro does: the licence key, else
// a key made at installation.
func (s *Source) detectKey(ctx context.Context) error {
	for _, name := range []string{"wplc_api_key", "wp-live-chat-support-pro_key"} {
		key, _, err := s.site.Option(ctx, name)
		if err != nil {
			return fmt.Errorf("read option %s: %w", name, err)
		}
		if key == "" {
			continue
		}
		if s.text.key, err = expandKey(key); err != nil {
			s.note("option " + name + ": " + err.Error() + "; encrypted messages will be marked unreadable")
		}
		return nil
	}
	if s.facts.Encrypted {
		s.note("Pro encrypts its messages but has no key (options wplc_api_key and wp-live-chat-support-pro_key are empty): " +
			"encrypted messages will be marked unreadable")
	}
	return nil
}

// setting reads an option that is a PHP array. A damaged one counts as empty, as
// it does in WordPress.
func (s *Source) setting(ctx context.Context, name string) (v phpser.Value, ok bool, err error) {
	raw, ok, err := s.site.Option(ctx, name)
	if err != nil {
		return v, false, fmt.Errorf("read option %s: %w", name, err)
	}
	if !ok {
		return v, false, nil
	}
	if v, err = phpser.Parse([]byte(raw)); err != nil {
		return phpser.Value{}, true, nil
	}
	return v, true, nil
}

// isOn tells whether a switch is 1, "1" or true.
func isOn(settings phpser.Value, key string) bool {
	v, ok := settings.Get(key)
	if !ok {
		return false
	}
	if b, isBool := v.Bool(); isBool {
		return b
	}
	n, ok := v.Number()
	return ok && n == 1
}

func (s *Source) note(sentence string) { s.facts.Notes = append(s.facts.Notes, sentence) }
