// Package schema holds the tables of a WordPress site with WP Live Chat Support,
// for the demo, which makes such a site, and for tests. It is here because the
// SQL files are: a file can only be embedded from its own folder or below.
package schema

import _ "embed"

// WordPress makes the core tables that Holdline reads, with the prefix wp_.
//
//go:embed wordpress.sql
var WordPress string

// WPLC8 makes the tables of WP Live Chat Support 8.0.25.
//
//go:embed wplc-8.sql
var WPLC8 string
