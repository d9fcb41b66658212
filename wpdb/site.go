package wpdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdline/internal/wpauth"
)

// How old facts and options may be before they are read again.
const (
	factsAge   = time.Minute
	missingAge = 2 * time.Second // while salts are missing nobody can log in
	retryAge   = 5 * time.Second // after a failed refresh
	readLimit  = 10 * time.Second
	maxOptions = 256 // remembered options
)

// SiteOptions say which WordPress site a database holds.
type SiteOptions struct {
	// Prefix is $table_prefix of wp-config.php, without a blog's number.
	Prefix string
	// Constants are those of wp-config.php by name, as PHP casts them to text
	// (true is "1", false is ""). An undefined one must be absent.
	Constants map[string]string
	// URL is the public address of the site where it differs from what
	// WordPress believes (behind some proxies); empty for WordPress's own.
	URL string
	// Blog is the blog of a multisite to serve; 0 means its main blog.
	Blog int64
	// Logger hears of refreshes that failed.
	Logger *slog.Logger
}

// Site is one WordPress site as its plugins' folders see it: facts, options,
// users. Facts are kept in memory and read again in the background when they
// are asked for and older than a minute, so no reader waits for the database;
// what is asked by name (Option, UserMeta, UserCan) is a query on the shared
// connections. All methods may be called concurrently.
type Site struct {
	opt    SiteOptions
	db     Querier
	tables tables

	facts   atomic.Pointer[facts]
	next    atomic.Int64 // Unix nanoseconds from which facts are stale
	mu      sync.Mutex
	options map[string]option
	closed  bool
	cancel  context.CancelFunc
	ctx     context.Context // of background refreshes, until Close
	wg      sync.WaitGroup
}

// tables are the names of WordPress's tables, ready to stand in a query.
type tables struct {
	base, prefix             string // prefixes of the network and of the blog
	options, users, usermeta string
	blogs, sitemeta          string
	multisite                bool
}

// option is a remembered row of the options table, found or not.
type option struct {
	value string
	found bool
	until time.Time
}

// OpenSite reads the facts of a site once. The error of a database in trouble
// is for [Classify]: wait and call again. The caller closes the Site.
func OpenSite(ctx context.Context, db *DB, opt SiteOptions) (*Site, error) {
	t, err := opt.tables()
	if err != nil {
		return nil, err
	}
	s := &Site{opt: opt, db: db.Shared(), tables: t, options: make(map[string]option)}
	if s.opt.Logger == nil {
		s.opt.Logger = slog.New(slog.DiscardHandler)
	}
	if err := s.Refresh(ctx); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s, nil
}

// Close ends a running refresh and waits for it. It does not close the DB.
func (s *Site) Close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

// Refresh reads the facts now, for the operator who does not want to wait.
func (s *Site) Refresh(ctx context.Context) error {
	f, err := s.readFacts(ctx)
	if err != nil {
		return err
	}
	s.facts.Store(f)
	age := factsAge
	if len(f.missingSalts) > 0 {
		age = missingAge
	}
	s.next.Store(time.Now().Add(age).UnixNano())
	return nil
}

// current returns the facts at once and sees to it that they do not get old.
func (s *Site) current() *facts {
	next, now := s.next.Load(), time.Now()
	// Whoever moves the time on is the one to refresh.
	if now.UnixNano() >= next && s.next.CompareAndSwap(next, now.Add(retryAge).UnixNano()) {
		s.mu.Lock()
		if !s.closed {
			s.wg.Go(s.refreshInBackground)
		}
		s.mu.Unlock()
	}
	return s.facts.Load()
}

func (s *Site) refreshInBackground() {
	ctx, cancel := context.WithTimeout(s.ctx, readLimit)
	defer cancel()
	if err := s.Refresh(ctx); err != nil && s.ctx.Err() == nil {
		s.opt.Logger.Warn("the site's facts could not be read again, the old ones stay", "error", err)
	}
}

// QueryContext runs a SELECT on the shared connections; see [DB.Shared].
func (s *Site) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.db.QueryContext(ctx, query, args...)
}

// Prefix begins the names of this blog's tables: "wp_", or "wp_2_" for the
// second blog of a multisite. It holds letters, digits and underscores only.
func (s *Site) Prefix() string { return s.tables.prefix }

// BasePrefix begins the names of the tables that all blogs share.
func (s *Site) BasePrefix() string { return s.tables.base }

// Multisite tells whether WordPress runs as a network (is_multisite, load.php).
func (s *Site) Multisite() bool { return s.tables.multisite }

// SiteURL is where WordPress's files are, without a slash at its end.
func (s *Site) SiteURL() string { return s.current().siteURL }

// Home is the public address of the site, without a slash at its end.
func (s *Site) Home() string { return s.current().home }

// Location is the site's time zone, in which plugins write local times.
func (s *Site) Location() *time.Location { return s.current().location }

// CookieNames are the names of the site's login cookies.
func (s *Site) CookieNames() wpauth.CookieNames { return s.current().cookies }

// Salts are the site's secrets. Until WordPress has made the rows that hold
// them some are missing; they are looked for every two seconds then.
func (s *Site) Salts() wpauth.Salts { return s.current().salts }

// Option returns an option of this blog as it is stored (perhaps serialized),
// at most a minute old. ok is false when there is no such row.
func (s *Site) Option(ctx context.Context, name string) (value string, ok bool, err error) {
	now := time.Now()
	s.mu.Lock()
	o, known := s.options[name]
	s.mu.Unlock()
	if known && now.Before(o.until) {
		return o.value, o.found, nil
	}
	query := "SELECT option_value FROM " + s.tables.options + " WHERE option_name = ? LIMIT 1"
	o = option{until: now.Add(factsAge)}
	if o.found, err = queryRow(ctx, s.db, []any{&o.value}, query, name); err != nil {
		return "", false, fmt.Errorf("read the option %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.options) >= maxOptions {
		clear(s.options)
	}
	s.options[name] = o
	return o.value, o.found, nil
}

// UserMeta returns a row of the usermeta table as it is stored; of several with
// the same key the oldest, as get_user_meta does. ok is false without one.
func (s *Site) UserMeta(ctx context.Context, userID int64, key string) (value string, ok bool, err error) {
	query := "SELECT COALESCE(meta_value, '') FROM " + s.tables.usermeta +
		" WHERE user_id = ? AND meta_key = ? ORDER BY umeta_id LIMIT 1"
	if ok, err = queryRow(ctx, s.db, []any{&value}, query, userID, key); err != nil {
		return "", false, fmt.Errorf("read the user meta %s: %w", key, err)
	}
	return value, ok, nil
}

// UserCan tells whether a user has a capability or role on this blog, as far as
// the database says so: capabilities about one object (edit_post …) and the
// filter user_has_cap live in PHP only. A super admin of a network can
// everything. Nobody is not an error.
func (s *Site) UserCan(ctx context.Context, userID int64, capability string) (bool, error) {
	var login string
	var meta []byte
	query := "SELECT u.user_login, (SELECT m.meta_value FROM " + s.tables.usermeta +
		" m WHERE m.user_id = u.ID AND m.meta_key = ? ORDER BY m.umeta_id LIMIT 1) FROM " + s.tables.users + " u WHERE u.ID = ?"
	found, err := queryRow(ctx, s.db, []any{&login, &meta}, query, s.tables.prefix+"capabilities", userID)
	if err != nil {
		return false, fmt.Errorf("read the capabilities of user %d: %w", userID, err)
	}
	if !found {
		return false, nil
	}
	f := s.current()
	if f.capsErr != nil {
		return false, f.capsErr
	}
	caps, _ := f.roles.Of(meta) // a damaged row grants nothing, as in WordPress
	if f.superAdmins.Includes(login) {
		caps = caps.WithSuperAdmin()
	}
	return caps.Can(capability), nil
}

// queryRow reads the first row of a query into dest; found is false without one.
func queryRow(ctx context.Context, q Querier, dest []any, query string, args ...any) (found bool, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return false, err
		}
		found = true
	}
	return found, errors.Join(rows.Err(), rows.Close())
}

var (
	prefixPattern = regexp.MustCompile(`^[A-Za-z0-9_]{0,64}$`)
	tablePattern  = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64})?$`)
)

func (o SiteOptions) tables() (tables, error) {
	if !prefixPattern.MatchString(o.Prefix) {
		return tables{}, fmt.Errorf("database.table_prefix %q: only letters, digits and _ are allowed", o.Prefix)
	}
	t := tables{base: o.Prefix, prefix: o.Prefix, multisite: isMultisite(o.Constants)}
	if blog := o.blog(); t.multisite && blog > 1 {
		t.prefix += strconv.FormatInt(blog, 10) + "_"
	}
	t.options, t.blogs, t.sitemeta = quote(t.prefix+"options"), quote(t.base+"blogs"), quote(t.base+"sitemeta")
	var err error
	if t.users, err = o.userTable("CUSTOM_USER_TABLE", "users"); err != nil {
		return tables{}, err
	}
	t.usermeta, err = o.userTable("CUSTOM_USER_META_TABLE", "usermeta")
	return t, err
}

// userTable: sites that share their users name the tables in full (wpdb::tables,
// class-wpdb.php), sometimes those of another database.
func (o SiteOptions) userTable(constant, name string) (string, error) {
	custom, defined := o.Constants[constant]
	if !defined {
		return quote(o.Prefix + name), nil
	}
	if !tablePattern.MatchString(custom) {
		return "", fmt.Errorf("%s of wp-config.php is %q: only letters, digits and _ are allowed", constant, custom)
	}
	return quote(custom), nil
}

// quote quotes a name that one of the patterns has passed.
func quote(name string) string { return "`" + strings.ReplaceAll(name, ".", "`.`") + "`" }

// blog is the number of the blog to serve, 1 on a single site.
func (o SiteOptions) blog() int64 {
	if o.Blog > 0 {
		return o.Blog
	}
	return constantID(o.Constants, "BLOG_ID_CURRENT_SITE")
}

func constantID(constants map[string]string, name string) int64 {
	if n, err := strconv.ParseInt(constants[name], 10, 64); err == nil && n > 0 {
		return n
	}
	return 1
}

// isMultisite follows is_multisite (load.php).
func isMultisite(constants map[string]string) bool {
	if v, defined := constants["MULTISITE"]; defined {
		return v != "" && v != "0" && !strings.EqualFold(v, "false")
	}
	for _, name := range []string{"SUBDOMAIN_INSTALL", "VHOST", "SUNRISE"} {
		if _, defined := constants[name]; defined {
			return true
		}
	}
	return false
}
