package gateway

import "testing"

// The lines with true are what WordPress 6.1 allows for a site at
// http://example.test:8080.
func TestOriginsThatWordPressAllows(t *testing.T) {
	for origin, want := range map[string]bool{
		"http://example.test":         true,
		"https://example.test":        true,
		"HTTPS://EXAMPLE.test":        true,
		"http://example.test:8080":    false,
		"http://other.test":           false,
		"http://example.test.evil":    false,
		"ftp://example.test":          false,
		"null":                        false,
		"http://example.test/%zz\x00": false,
	} {
		if got := wordPressAllows(origin, []string{"http://example.test:8080"}); got != want {
			t.Errorf("%q: %v", origin, got)
		}
	}
}
