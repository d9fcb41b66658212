// Package wordpress holds what runs inside the site, the companion must-use plugin
// and the browser client, and what calls the former: the courier, which carries
// writes, and the postman, which has messages stored.
package wordpress

import _ "embed"

// MUPlugin is the text of holdline.php, which belongs into wp-content/mu-plugins.
// It runs on PHP 5.6 to 8 and WordPress 4.4 and later. Its head says what may be
// defined in wp-config.php.
//
//go:embed holdline.php
var MUPlugin string
