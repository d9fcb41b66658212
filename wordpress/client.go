package wordpress

import _ "embed"

// Client is the browser client as one classic script, minified: it defines
// window.Holdline in a page and is the client's SharedWorker when started as one,
// so it must be served from the page's origin to be shared by tabs. As it begins
// with a comment and exports nothing, `import "…/client.js"` works as well.
//
// Its source is in client/src; "npm run build" in client/ makes it anew.
//
//go:embed client/holdline.js
var Client []byte
