package wpconfig

import "strings"

// saltNames are the ten constants that wp_salt() reads (WordPress
// wp-includes/pluggable.php).
var saltNames = []string{
	"AUTH_KEY", "AUTH_SALT", "SECURE_AUTH_KEY", "SECURE_AUTH_SALT", "LOGGED_IN_KEY", "LOGGED_IN_SALT",
	"NONCE_KEY", "NONCE_SALT", "SECRET_KEY", "SECRET_SALT",
}

// needed are the names that a WordPress site practically always sets.
var needed = append([]string{"DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", prefixName}, saltNames[:8]...)

const sameEnvironment = "give Holdline the environment that PHP has, or write the value as plain text into wp-config.php"

// setting says how the operator sets in Holdline what PHP alone knows: a key of
// its configuration, or a sentence where there is none.
func setting(name string) string {
	switch name {
	case "DB_NAME":
		return "database.name"
	case "DB_USER":
		return "database.user"
	case "DB_PASSWORD":
		return "database.password_file"
	case "DB_HOST":
		return "database.address"
	case prefixName:
		return "database.table_prefix"
	case "MYSQL_CLIENT_FLAGS":
		return "database.tls"
	case "WP_SITEURL", "WP_HOME":
		return "wordpress.url"
	case "COOKIEHASH", "LOGGED_IN_COOKIE", "AUTH_COOKIE", "SECURE_AUTH_COOKIE", "COOKIEPATH", "SITECOOKIEPATH", "ADMIN_COOKIE_PATH",
		"PLUGINS_COOKIE_PATH", "COOKIE_DOMAIN":
		return sameEnvironment + "; until then WordPress's login cookies may not be recognized"
	case "MULTISITE", "SUBDOMAIN_INSTALL", "VHOST", "SUNRISE", "SITE_ID_CURRENT_SITE", "BLOG_ID_CURRENT_SITE", "DOMAIN_CURRENT_SITE",
		"PATH_CURRENT_SITE", "CUSTOM_USER_TABLE", "CUSTOM_USER_META_TABLE":
		return sameEnvironment
	case "JWT_AUTH_SECRET_KEY", "GRAPHQL_JWT_AUTH_SECRET_KEY", "SIMPLE_JWT_PRIVATE_KEY", "SIMPLE_JWT_PUBLIC_KEY":
		return sameEnvironment + "; until then tokens of this plugin are refused"
	}
	for _, salt := range saltNames {
		if name == salt {
			return sameEnvironment + "; until then WordPress logins cannot be checked"
		}
	}
	return ""
}

// Why tells why the value of a constant, or of "$table_prefix", is not known. ok
// is false for names that are known, or not set at all.
func (c *Config) Why(name string) (why string, ok bool) {
	for _, u := range c.Unresolved {
		if u.Name == name {
			return u.Why, true
		}
	}
	return "", false
}

// Defined reports whether the constant is certainly defined, even if its value
// is not known.
func (c *Config) Defined(name string) bool { return c.defined[name] }

// String returns a constant as PHP would write it into a text: true is "1",
// false and null are "". ok is false when it is not defined or not known.
func (c *Config) String(name string) (value string, ok bool) {
	v, ok := c.Constants[name]
	if !ok {
		return "", false
	}
	return text(v)
}

// Texts are all constants that String knows, by name. A nil Config has none.
func (c *Config) Texts() map[string]string {
	if c == nil {
		return nil
	}
	texts := make(map[string]string, len(c.Constants))
	for name := range c.Constants {
		if value, ok := c.String(name); ok {
			texts[name] = value
		}
	}
	return texts
}

// Bool returns a constant's truth as PHP sees it; "" and "0" are false. A constant
// that is not defined or not known is false.
func (c *Config) Bool(name string) bool {
	yes, _ := truth(c.Constants[name])
	return yes
}

// Int returns an integer constant, or one whose text is an integer. ok is false
// when it is not defined, not known or something else.
func (c *Config) Int(name string) (value int64, ok bool) {
	v, ok := c.Constants[name]
	if !ok {
		return 0, false
	}
	return integer(v)
}

// Multisite is WordPress's is_multisite(): MULTISITE decides if it is defined,
// else any of SUBDOMAIN_INSTALL, VHOST and SUNRISE (wp-includes/load.php). If
// MULTISITE is defined but not known the answer is false; ask [Config.Why].
func (c *Config) Multisite() bool {
	if c.Defined("MULTISITE") {
		return c.Bool("MULTISITE")
	}
	return c.Defined("SUBDOMAIN_INSTALL") || c.Defined("VHOST") || c.Defined("SUNRISE")
}

// SaltConstants returns those of the ten key and salt constants of wp_salt() that
// are known. A name that is absent may still be defined: before falling back to
// the options table as WordPress does for undefined ones, ask [Config.Why].
func (c *Config) SaltConstants() map[string]string {
	salts := make(map[string]string, len(saltNames))
	for _, name := range saltNames {
		if v, ok := c.String(name); ok {
			salts[name] = strings.Clone(v)
		}
	}
	return salts
}
