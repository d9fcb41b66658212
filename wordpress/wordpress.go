// Package wordpress holds what runs inside the site: the companion must-use
// plugin, and the messages between it and the gateway.
package wordpress

import _ "embed"

// MUPlugin is the text of holdline.php, which belongs into wp-content/mu-plugins.
// It runs on PHP 5.6 to 8 and WordPress 4.4 and later, and does nothing until
// wp-config.php defines HOLDLINE_URL and HOLDLINE_SECRET.
//
//go:embed holdline.php
var MUPlugin string
