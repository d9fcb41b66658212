package wpdb

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"holdline/internal/wpauth"
)

// facts are what a site says about itself, at one moment.
type facts struct {
	siteURL, home string
	location      *time.Location
	cookies       wpauth.CookieNames
	salts         wpauth.Salts
	missingSalts  []string
	roles         wpauth.Roles
	superAdmins   wpauth.SuperAdmins
	// capsErr says why nobody's capabilities can be known: a damaged row, which
	// is no reason to serve nothing at all.
	capsErr error
}

// readFacts makes one query on a single site and three on a multisite.
func (s *Site) readFacts(ctx context.Context) (*facts, error) {
	f := &facts{}
	rolesName := s.tables.prefix + "user_roles"
	names := append(wpauth.SaltOptions(), "siteurl", "home", "timezone_string", "gmt_offset", rolesName)
	options, err := s.readPairs(ctx, "SELECT option_name, option_value FROM "+s.tables.options+
		" WHERE option_name IN ("+marks(len(names))+")", names)
	if err != nil {
		return nil, fmt.Errorf("read the site's options: %w", err)
	}
	network := options // what WordPress calls site options
	if s.tables.multisite {
		if network, err = s.readNetwork(ctx); err != nil {
			return nil, err
		}
		f.superAdmins, f.capsErr = wpauth.ParseSuperAdmins([]byte(network["site_admins"]))
	}
	if roles, ok := options[rolesName]; ok && f.capsErr == nil {
		f.roles, f.capsErr = wpauth.ParseRoles([]byte(roles))
	}
	f.siteURL, f.home = s.urls(options)
	f.location = location(options["timezone_string"], options["gmt_offset"])
	f.cookies = wpauth.ResolveCookieNames(s.opt.Constants, network["siteurl"], s.tables.multisite)
	f.salts, f.missingSalts = wpauth.ResolveSalts(s.opt.Constants, network)
	return f, nil
}

// readNetwork reads the options of the network that the blog belongs to.
func (s *Site) readNetwork(ctx context.Context) (map[string]string, error) {
	id := constantID(s.opt.Constants, "SITE_ID_CURRENT_SITE")
	if _, err := queryRow(ctx, s.db, []any{&id}, "SELECT site_id FROM "+s.tables.blogs+" WHERE blog_id = ?", s.opt.blog()); err != nil {
		return nil, fmt.Errorf("read the blog's network: %w", err)
	}
	names := append(wpauth.SaltOptions(), "siteurl", "site_admins")
	// Table sitemeta has no unique key: the oldest row counts.
	network, err := s.readPairs(ctx, "SELECT meta_key, meta_value FROM "+s.tables.sitemeta+
		" WHERE site_id = "+strconv.FormatInt(id, 10)+" AND meta_key IN ("+marks(len(names))+") ORDER BY meta_id", names)
	if err != nil {
		return nil, fmt.Errorf("read the network's options: %w", err)
	}
	return network, nil
}

// readPairs reads names and values; of equal names the first counts.
func (s *Site) readPairs(ctx context.Context, query string, names []string) (map[string]string, error) {
	args := make([]any, len(names))
	for i, name := range names {
		args[i] = name
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	pairs := make(map[string]string, len(names))
	for rows.Next() {
		var name string
		var value []byte // NULL reads as empty
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		if _, seen := pairs[name]; !seen {
			pairs[name] = string(value)
		}
	}
	return pairs, rows.Err()
}

// marks returns n placeholders for an IN list.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// urls follows get_option (option.php): constants of wp-config.php go first on
// a single site (ms-default-filters.php takes them away on a multisite), an
// empty home is the siteurl, and slashes at the end do not count.
func (s *Site) urls(options map[string]string) (siteURL, home string) {
	value := func(option, constant string) string {
		v := options[option]
		if c, defined := s.opt.Constants[constant]; defined && !s.tables.multisite {
			v = c
		}
		return strings.TrimRight(v, `/\`)
	}
	siteURL, home = value("siteurl", "WP_SITEURL"), value("home", "WP_HOME")
	if home == "" {
		home = siteURL
	}
	if s.opt.URL != "" {
		home = strings.TrimRight(s.opt.URL, `/\`)
	}
	return siteURL, home
}

// location follows wp_timezone_string (functions.php): a named zone, or else
// hours east of Greenwich, perhaps with a fraction. What neither PHP nor we
// understand is UTC.
func location(name, offset string) *time.Location {
	if name != "" && name != "Local" { // "Local" is this machine's, to Go alone
		if zone, err := time.LoadLocation(name); err == nil {
			return zone
		}
	}
	hours, err := strconv.ParseFloat(strings.TrimSpace(offset), 64)
	if err != nil || math.IsNaN(hours) || math.Abs(hours) > 24 || hours == 0 {
		return time.UTC
	}
	minutes := int(hours * 60) // PHP drops the seconds too
	sign := '+'
	if minutes < 0 {
		sign = '-'
	}
	abs := max(minutes, -minutes)
	return time.FixedZone(fmt.Sprintf("%c%02d:%02d", sign, abs/60, abs%60), minutes*60)
}
