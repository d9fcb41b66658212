package gateway

import (
	"strings"
	"testing"

	"holdline/internal/wpconfig"
)

// The same keys and secret stand in wordpress/php_test.go and testdata/call.php.
func TestSecretIsMadeOfTheSitesKeys(t *testing.T) {
	keys := map[string]any{}
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		keys[scheme+"_KEY"] = strings.Repeat(strings.ToLower(scheme), 8) + "_key"
		keys[scheme+"_SALT"] = strings.Repeat(strings.ToLower(scheme), 8) + "_salt"
	}
	const want = "b28d4a03736cfa0ab9349e5fea0076acf7529e47e02ea5103f07a0766f496584"
	if got := sharedSecret(&wpconfig.Config{Constants: keys}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for name, bad := range map[string]any{"AUTH_KEY": "put your unique phrase here", "NONCE_SALT": nil} {
		good := keys[name]
		if keys[name] = bad; bad == nil {
			delete(keys, name)
		}
		if got := sharedSecret(&wpconfig.Config{Constants: keys}); got != "" {
			t.Errorf("with %s = %v: %s", name, bad, got)
		}
		keys[name] = good
	}
}
