package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"holdline/internal/wpauth"
	"holdline/wpdb"
)

// checkSalts tells where the secrets come from that login cookies are signed by.
func checkSalts(_ context.Context, e *exam) []Finding {
	var named []string
	for _, name := range []string{"LOGGED_IN_KEY", "LOGGED_IN_SALT", "NONCE_KEY", "NONCE_SALT"} {
		if value, _ := e.WordPress.String(name); value != "" {
			named = append(named, name)
		}
	}
	if e.site == nil {
		if len(named) == 4 {
			return ok("the keys are in wp-config.php")
		}
		return skipped("the keys are not in wp-config.php, and the options table cannot be read")
	}
	for _, scheme := range []wpauth.Scheme{wpauth.SchemeLoggedIn, wpauth.SchemeNonce} {
		if _, known := e.site.Salts().Secret(scheme); !known {
			constant := strings.ToUpper(string(scheme))
			return []Finding{fault(fmt.Sprintf("no %s_KEY and %s_SALT are known, in wp-config.php or the options table, so no login can be verified", constant, constant),
				"Define all eight keys and salts in wp-config.php (https://api.wordpress.org/secret-key/1.1/salt/ makes some), or log in to WordPress once so that it stores its own.")}
		}
	}
	if len(named) < 4 {
		return ok("the keys are in the options table")
	}
	return ok("the keys are in wp-config.php")
}

// checkCookie verifies a browser's login cookie as the gateway does.
func checkCookie(ctx context.Context, e *exam) []Finding {
	name := e.site.CookieNames().LoggedIn
	header := strings.TrimSpace(e.Cookie)
	if header == "" {
		return skipped("give --cookie '" + name + "=…' of a browser that is logged in, to see whether its login is accepted here")
	}
	if !strings.Contains(header, "=") {
		header = name + "=" + header
	}
	auth := wpdb.NewAuthenticator(e.site, wpdb.AuthOptions{Logger: quiet()})
	session, err := auth.Login(ctx, wpdb.Cookies{Header: header}, e.Now())
	if err != nil {
		return []Finding{refusedCookie(err, name, header)}
	}
	defer session.Release()
	return ok(fmt.Sprintf("it is the login of %s (user %d), good until %s", session.Login, session.UserID, session.Expires.UTC().Format("2006-01-02 15:04 MST")))
}

// refusedCookie says why, and never shows a part of the cookie's value.
func refusedCookie(err error, name, header string) Finding {
	const again = "Log in to WordPress again, and copy the cookie whole."
	switch {
	case errors.Is(err, wpauth.ErrNoCookie):
		given, _, _ := strings.Cut(header, "=")
		return fault(fmt.Sprintf("this site's login cookie is named %s, and none of that name was given (but %s)", name, given),
			"Copy the cookie of that name; if the browser has another one, its site has another address (option siteurl) than the database and wp-config.php that Holdline reads.")
	case errors.Is(err, wpauth.ErrMalformed):
		return fault("the cookie cannot have been made by WordPress ("+err.Error()+")", again)
	case errors.Is(err, wpauth.ErrExpired):
		return fault("the login has expired", again)
	case errors.Is(err, wpauth.ErrUnknownUser):
		return fault("the cookie names a user that this database does not have",
			"Check that database.name and database.table_prefix are those of the site where the browser is logged in.")
	case errors.Is(err, wpauth.ErrSignature):
		return fault("the cookie was not signed with the keys and salts that Holdline reads, or the password was changed since",
			"Set wordpress.config to the wp-config.php that PHP itself reads, with the same environment; if the keys were changed there, log in again.")
	case errors.Is(err, wpauth.ErrNoSession):
		return fault("the cookie is genuine, but its login has ended",
			"Log in again; if that does not help, a plugin keeps the logins elsewhere than in the usermeta table, where Holdline cannot see them.")
	case errors.Is(err, wpdb.ErrBarred):
		return fault("the user is marked as spam or deleted in the network", "Use another user, or remove the mark in the network's administration.")
	}
	return lost(err)
}
