package wordpress

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
)

// The parts of the check page.
var (
	//go:embed check/index.html
	checkHTML []byte
	//go:embed check/check.css
	checkStyle []byte
	//go:embed check/check.js
	checkScript []byte
)

// CheckPage is the page on which a site's owner sees which transports get through
// the proxies on the way, as one HTML document, and the Content-Security-Policy
// that it has to be served with: its own script and style by their digests, and
// nothing from anywhere but the server that it came from.
func CheckPage() (page []byte, policy string) {
	page = bytes.Replace(checkHTML, []byte("/* style */"), checkStyle, 1)
	page = bytes.Replace(page, []byte("/* script */"), checkScript, 1)
	policy = "default-src 'none'; script-src " + digest(checkScript) + "; style-src " + digest(checkStyle) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return page, policy
}

// digest names an inline script or style
// (https://www.w3.org/TR/CSP3/#grammardef-hash-source).
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
