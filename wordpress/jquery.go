package wordpress

import _ "embed"

// JQuery is the browser client's face for pages with jQuery 1.12 and later, as one
// classic script: it defines $.holdline and $.fn.holdline, and loads [Client] from
// the same folder when they are first called.
//
// The sources of both scripts are in jquery/src; "npm run build" in jquery/ makes
// them anew.
//
//go:embed jquery/jquery.holdline.js
var JQuery []byte

// Push is for pages of WP Live Chat Support 8.x, whose own scripts stay as they are:
// it answers their loops in the page when [Client] tells of news, so that the server
// holds no request for them. It does nothing without the global that the companion
// plugin prints.
//
//go:embed jquery/wplc.js
var Push []byte
