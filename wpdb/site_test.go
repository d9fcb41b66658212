package wpdb_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"holdline/internal/wpauth"
	"holdline/wpdb"
)

func TestSiteFacts(t *testing.T) {
	for _, tc := range []struct {
		name            string
		sql             string
		constants       map[string]string
		url             string
		siteURL, home   string
		hashOf, zoneOff string // of the time zone: what time 2026-07-01 12:00 UTC is there
	}{
		{name: "as installed", siteURL: siteURL, home: siteURL, hashOf: siteURL, zoneOff: "12:00"},
		{
			name: "home elsewhere and a named zone", siteURL: siteURL, home: "https://example.test", hashOf: siteURL, zoneOff: "14:00",
			sql: "UPDATE wp_options SET option_value='https://example.test//' WHERE option_name='home'; INSERT INTO wp_options (option_name, option_value) VALUES ('timezone_string', 'Europe/Berlin'), ('gmt_offset', '9')",
		},
		{
			name: "constants and hours", siteURL: "http://a.test", home: "http://b.test", hashOf: "http://a.test", zoneOff: "17:30",
			constants: map[string]string{"WP_SITEURL": "http://a.test/", "WP_HOME": "http://b.test"},
			sql:       "INSERT INTO wp_options (option_name, option_value) VALUES ('timezone_string', ''), ('gmt_offset', '5.5')",
		},
		{name: "behind a proxy", url: "https://public.test/", siteURL: siteURL, home: "https://public.test", hashOf: siteURL, zoneOff: "12:00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name, _ := server.Database(t, schema(t)+tc.sql)
			constants := maps.Clone(keys)
			maps.Copy(constants, tc.constants)
			site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: constants, URL: tc.url})
			if site.SiteURL() != tc.siteURL || site.Home() != tc.home {
				t.Errorf("siteurl %q, home %q", site.SiteURL(), site.Home())
			}
			if got, want := site.CookieNames(), wpauth.ResolveCookieNames(nil, tc.hashOf, false); got != want {
				t.Errorf("cookies %+v, want %+v", got, want)
			}
			noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
			if got := noon.In(site.Location()).Format("15:04"); got != tc.zoneOff {
				t.Errorf("noon is %s in %v", got, site.Location())
			}
			if site.Prefix() != "wp_" || site.Multisite() {
				t.Errorf("prefix %q, multisite %v", site.Prefix(), site.Multisite())
			}
		})
	}
}

func TestTimeZones(t *testing.T) {
	for _, tc := range []struct{ name, offset, want string }{
		{"", "", "+00:00"},
		{"", "0", "+00:00"},
		{"UTC", "5", "+00:00"},
		{"", "5.5", "+05:30"},
		{"", "5.75", "+05:45"},
		{"", "-3.5", "-03:30"},
		{"", "-0.5", "-00:30"},
		{"", "14", "+14:00"},
		{"", "-12", "-12:00"},
		{"Asia/Kolkata", "", "+05:30"},
		{"America/St_Johns", "", "-02:30"}, // in summer
		{"Not/AZone", "2", "+02:00"},
		{"Local", "2", "+02:00"},
		{"../../etc/passwd", "", "+00:00"},
		{"", "NaN", "+00:00"},
		{"", "1e9", "+00:00"},
		{"", "half", "+00:00"},
	} {
		zone := wpdb.Location(tc.name, tc.offset)
		if got := time.Date(2026, 7, 1, 12, 0, 0, 0, zone).Format("-07:00"); got != tc.want {
			t.Errorf("timezone_string %q, gmt_offset %q: %s, want %s", tc.name, tc.offset, got, tc.want)
		}
	}
}

func FuzzLocation(f *testing.F) {
	f.Add("Europe/Berlin", "5.5")
	f.Add("", "-12")
	f.Add("Local", "0x10")
	f.Fuzz(func(t *testing.T, name, offset string) {
		zone := wpdb.Location(name, offset)
		if zone == nil || zone == time.Local && name != "" {
			t.Fatalf("zone %v", zone)
		}
		if _, seconds := time.Unix(0, 0).In(zone).Zone(); seconds < -24*3600 || seconds > 24*3600 {
			t.Errorf("%d seconds east", seconds)
		}
	})
}

func TestSiteRefusesBadNames(t *testing.T) {
	db := open(t, rootOptions(server, "mysql"))
	for _, opt := range []wpdb.SiteOptions{
		{Prefix: "wp_`; --"},
		{Prefix: "wp-"},
		{Prefix: "wp_", Constants: map[string]string{"CUSTOM_USER_TABLE": "users WHERE 1"}},
		{Prefix: "wp_", Constants: map[string]string{"CUSTOM_USER_META_TABLE": "a.b.c"}},
	} {
		if _, err := wpdb.OpenSite(t.Context(), db, opt); err == nil || !strings.Contains(err.Error(), "only letters") {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	if _, err := wpdb.OpenSite(t.Context(), db, wpdb.SiteOptions{Prefix: "wp_"}); wpdb.Classify(err) != wpdb.NoTable {
		t.Errorf("no WordPress in the database: %v", err)
	}
}

func TestFactsAreReadAgainInTheBackground(t *testing.T) {
	name, root := server.Database(t, schema(t))
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{})
	mustExec(t, root, "UPDATE wp_options SET option_value = 'https://new.test' WHERE option_name = 'home'")
	before := selects(t, root)
	for range 100 {
		site.Home()
	}
	if n := selects(t, root) - before; n != 0 {
		t.Errorf("%d queries for fresh facts", n)
	}
	unlock := lockOptions(t, root)
	site.Age()
	if got := site.Home(); got != siteURL {
		t.Errorf("home = %q before the refresh", got)
	}
	unlock()
	site.AwaitRefresh()
	if got := site.Home(); got != "https://new.test" {
		t.Errorf("home after the refresh = %q", got)
	}
	if n := selects(t, root) - before; n != 1 {
		t.Errorf("%d queries for a refresh, want 1", n)
	}
	// Old facts serve while the database has none.
	mustExec(t, root, "RENAME TABLE wp_options TO gone")
	site.Age()
	site.Home()
	site.AwaitRefresh()
	if got := site.Home(); got != "https://new.test" {
		t.Errorf("home without a database = %q", got)
	}
}

// lockOptions lets nobody read the table until unlock, so that who waits for a
// refresh waits for ever, and who does not cannot be late.
func lockOptions(t *testing.T, root *sql.DB) (unlock func()) {
	t.Helper()
	conn, err := root.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do := func(query string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	do("LOCK TABLES wp_options WRITE")
	return func() {
		t.Helper()
		do("UNLOCK TABLES")
		conn.Close()
	}
}

func TestOptionsAndMeta(t *testing.T) {
	name, root := server.Database(t, schema(t))
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{})
	mustExec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES ('chat', 'ü\\'1')")
	mustExec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (7, 'k', 'first'), (7, 'k', 'second'), (7, 'null', NULL)")
	ctx := t.Context()
	for range 3 {
		if v, ok, err := site.Option(ctx, "chat"); v != "ü'1" || !ok || err != nil {
			t.Errorf("option: %q, %v, %v", v, ok, err)
		}
		if v, ok, err := site.Option(ctx, "absent' OR 1='1"); v != "" || ok || err != nil {
			t.Errorf("absent option: %q, %v, %v", v, ok, err)
		}
	}
	before := selects(t, root)
	mustExec(t, root, "UPDATE wp_options SET option_value = '2' WHERE option_name = 'chat'")
	if v, _, _ := site.Option(ctx, "chat"); v != "ü'1" || selects(t, root) != before {
		t.Errorf("option within its minute: %q", v)
	}
	site.Age()
	if v, _, _ := site.Option(ctx, "chat"); v != "2" {
		t.Errorf("option after its minute: %q", v)
	}
	for _, tc := range []struct {
		user  int64
		key   string
		value string
		ok    bool
	}{{7, "k", "first", true}, {7, "null", "", true}, {7, "x", "", false}, {8, "k", "", false}} {
		if v, ok, err := site.UserMeta(ctx, tc.user, tc.key); v != tc.value || ok != tc.ok || err != nil {
			t.Errorf("meta %s of %d: %q, %v, %v", tc.key, tc.user, v, ok, err)
		}
	}
}

// WordPress's own answers, asked of real tables.
func TestCapabilityVectors(t *testing.T) {
	var vectors struct {
		Capabilities struct {
			Roles string `json:"wp_user_roles"`
			Cases []struct {
				Name   string
				Meta   *string `json:"capabilities_meta"`
				Result struct{ Can map[string]bool }
			}
		}
	}
	readVectors(t, &vectors)
	name, root := server.Database(t, schema(t))
	mustExec(t, root, "INSERT INTO wp_options (option_name, option_value) VALUES ('wp_user_roles', ?)", vectors.Capabilities.Roles)
	for i, c := range vectors.Capabilities.Cases {
		newPerson(i+1, fmt.Sprint("user", i+1)).create(t, root)
		if c.Meta != nil {
			mustExec(t, root, "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (?, 'wp_capabilities', ?)", i+1, *c.Meta)
		}
	}
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{})
	if len(vectors.Capabilities.Cases) == 0 {
		t.Fatal("no vectors")
	}
	for i, c := range vectors.Capabilities.Cases {
		for capability, want := range c.Result.Can {
			if got, err := site.UserCan(t.Context(), int64(i+1), capability); got != want || err != nil {
				t.Errorf("%s: %s = %v, %v", c.Name, capability, got, err)
			}
		}
	}
	if got, err := site.UserCan(t.Context(), 999, "exist"); got || err != nil {
		t.Errorf("nobody exists: %v, %v", got, err)
	}
	mustExec(t, root, "UPDATE wp_options SET option_value = 'a:1:{' WHERE option_name = 'wp_user_roles'")
	if err := site.Refresh(t.Context()); err != nil {
		t.Errorf("damaged roles stop the site: %v", err)
	}
	if got, err := site.UserCan(t.Context(), 1, "read"); got || err == nil {
		t.Errorf("with damaged roles: %v, %v", got, err)
	}
}

func readVectors(t testing.TB, into any) {
	t.Helper()
	data, err := os.ReadFile("../testdata/wp-auth-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// multisite is what a network adds to the tables of a single site.
const multisite = `
ALTER TABLE wp_users ADD spam TINYINT NOT NULL DEFAULT 0, ADD deleted TINYINT NOT NULL DEFAULT 0;
CREATE TABLE wp_sitemeta (meta_id BIGINT AUTO_INCREMENT PRIMARY KEY, site_id BIGINT, meta_key VARCHAR(255), meta_value LONGTEXT, KEY (meta_key(191)));
CREATE TABLE wp_blogs (blog_id BIGINT PRIMARY KEY, site_id BIGINT, domain VARCHAR(200), path VARCHAR(100));
CREATE TABLE wp_2_options LIKE wp_options;
INSERT INTO wp_blogs VALUES (1, 1, 'net.test', '/'), (2, 5, 'net.test', '/two/');
INSERT INTO wp_2_options (option_name, option_value) VALUES ('siteurl', 'https://net.test/two'), ('home', 'https://net.test/two'), ('gmt_offset', '-2'),
  ('wp_2_user_roles', 'a:1:{s:5:"agent";a:1:{s:12:"capabilities";a:1:{s:4:"chat";b:1;}}}');
INSERT INTO wp_sitemeta (site_id, meta_key, meta_value) VALUES (1, 'siteurl', 'https://wrong.test/'), (5, 'siteurl', 'https://net.test/'), (5, 'siteurl', 'https://later.test/'),
  (5, 'site_admins', 'a:1:{i:0;s:4:"boss";}'), (5, 'nonce_key', 'k'), (5, 'nonce_salt', 's');
`

func multisiteConstants() map[string]string {
	constants := maps.Clone(keys)
	delete(constants, "NONCE_KEY")
	delete(constants, "NONCE_SALT")
	constants["MULTISITE"] = "1"
	constants["WP_SITEURL"] = "https://ignored.test"
	return constants
}

func TestMultisite(t *testing.T) {
	name, root := server.Database(t, schema(t)+multisite)
	for i, login := range []string{"boss", "agent"} {
		newPerson(i+1, login).create(t, root)
	}
	mustExec(t, root, `INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES (2, 'wp_2_capabilities', 'a:1:{s:5:"agent";b:1;}'), (2, 'wp_capabilities', 'a:0:{}')`)
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: multisiteConstants(), Blog: 2})
	if site.Prefix() != "wp_2_" || site.BasePrefix() != "wp_" || !site.Multisite() || site.Home() != "https://net.test/two" {
		t.Errorf("blog 2: prefix %q, base %q, home %q", site.Prefix(), site.BasePrefix(), site.Home())
	}
	// The slash at the end counts here.
	if got, want := site.CookieNames(), wpauth.ResolveCookieNames(nil, "https://net.test/", true); got != want {
		t.Errorf("cookies %+v, want %+v", got, want)
	}
	if secret, ok := site.Salts().Secret(wpauth.SchemeNonce); secret != "ks" || !ok {
		t.Errorf("the network's nonce salt: %v", ok)
	}
	for _, tc := range []struct {
		user       int64
		capability string
		want       bool
	}{{1, "anything", true}, {1, "do_not_allow", false}, {2, "chat", true}, {2, "anything", false}} {
		if got, err := site.UserCan(t.Context(), tc.user, tc.capability); got != tc.want || err != nil {
			t.Errorf("user %d can %s: %v, %v", tc.user, tc.capability, got, err)
		}
	}
	main := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: multisiteConstants()})
	if main.Prefix() != "wp_" || main.SiteURL() != siteURL {
		t.Errorf("main blog: prefix %q, siteurl %q", main.Prefix(), main.SiteURL())
	}
}

func TestCustomUserTables(t *testing.T) {
	name, root := server.Database(t, schema(t)+"RENAME TABLE wp_users TO shared_users, wp_usermeta TO shared_meta")
	mustExec(t, root, "INSERT INTO shared_users (ID, user_login) VALUES (3, 'x')")
	mustExec(t, root, "INSERT INTO shared_meta (user_id, meta_key, meta_value) VALUES (3, 'k', 'v')")
	constants := maps.Clone(keys)
	constants["CUSTOM_USER_TABLE"] = name + ".shared_users"
	constants["CUSTOM_USER_META_TABLE"] = "shared_meta"
	site := openSite(t, open(t, rootOptions(server, name)), wpdb.SiteOptions{Constants: constants})
	if v, ok, err := site.UserMeta(t.Context(), 3, "k"); v != "v" || !ok || err != nil {
		t.Errorf("meta: %q, %v, %v", v, ok, err)
	}
	if got, err := site.UserCan(t.Context(), 3, "exist"); !got || err != nil {
		t.Errorf("user: %v, %v", got, err)
	}
}
