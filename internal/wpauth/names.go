package wpauth

import (
	"crypto/md5"
	"encoding/hex"
	"regexp"
	"strings"
)

// LoggedInPrefix begins the name of the login cookie unless wp-config.php
// defines LOGGED_IN_COOKIE. Where COOKIEHASH cannot be computed (a siteurl made
// from the request) every cookie with this prefix may be tried: the name is not
// part of the signature.
const LoggedInPrefix = "wordpress_logged_in_"

// CookieNames are the names of a site's login cookies.
type CookieNames struct {
	Hash       string // COOKIEHASH
	Auth       string
	SecureAuth string
	LoggedIn   string
}

// ResolveCookieNames follows wp_cookie_constants (default-constants.php).
//
// siteURL is the row siteurl as stored: of the options table on a single site,
// of the sitemeta table on a multisite, where one hash serves the whole
// network and the row normally ends in a slash that counts. constants are those
// of wp-config.php by name; an undefined one must be absent from the map.
func ResolveCookieNames(constants map[string]string, siteURL string, multisite bool) CookieNames {
	hash, defined := constants["COOKIEHASH"]
	if !defined {
		hash = cookieHash(constants, siteURL, multisite)
	}
	name := func(constant, prefix string) string {
		if v, defined := constants[constant]; defined {
			return v
		}
		return prefix + hash
	}
	return CookieNames{
		Hash:       hash,
		Auth:       name("AUTH_COOKIE", "wordpress_"),
		SecureAuth: name("SECURE_AUTH_COOKIE", "wordpress_sec_"),
		LoggedIn:   name("LOGGED_IN_COOKIE", LoggedInPrefix),
	}
}

// cookieHash neither folds case nor equates http with https: WordPress does not.
func cookieHash(constants map[string]string, siteURL string, multisite bool) string {
	if !multisite {
		if v, defined := constants["WP_SITEURL"]; defined {
			siteURL = v
		}
		siteURL = strings.TrimRight(siteURL, `/\`) // get_option, option.php
	}
	if siteURL == "" {
		return ""
	}
	sum := md5.Sum([]byte(siteURL))
	return hex.EncodeToString(sum[:])
}

// CookiePath returns the path to which a single site limits its login cookies,
// COOKIEPATH for the value of home and SITECOOKIEPATH for that of siteurl. An
// endpoint below neither path, or on another host name, never receives them.
func CookiePath(siteOrHomeURL string) string {
	trimmed := strings.TrimRight(siteOrHomeURL, `/\`) + "/"
	return regexp.MustCompile(`(?i)https?://[^/]+`).ReplaceAllLiteralString(trimmed, "")
}
