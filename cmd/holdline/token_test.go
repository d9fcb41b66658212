package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/token"
)

// Where no secret is set, a token is signed by what serve makes of the site's keys.
func TestTokenOfASiteWithoutASecret(t *testing.T) {
	var b strings.Builder
	b.WriteString("<?php\ndefine( 'DB_NAME', 'wordpress' ); define( 'DB_USER', 'wp' ); $table_prefix = 'wp_';\n")
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"} {
		for _, part := range []string{"KEY", "SALT"} {
			fmt.Fprintf(&b, "define( '%s_%s', '%s' );\n", scheme, part, strings.Repeat(scheme[:1], 64))
		}
	}
	path := filepath.Join(t.TempDir(), "wp-config.php")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := holdline("token", "--wordpress-config", path, "--channels", "wplc/42", "--sub", "ann")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	cfg, err := config.Load([]string{"--wordpress-config", path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.ReadWordPress(&cfg); err != nil {
		t.Fatal(err)
	}
	claims, err := token.Keys{Secret: []byte(cfg.Auth.Secret.Reveal())}.Verify(strings.TrimSpace(out), time.Now())
	if err != nil || claims.Subject != "ann" {
		t.Errorf("%+v, %v", claims, err)
	}
	if code, _, stderr := holdline("token", "--wordpress-config", path+".not", "--channels", "wplc/42"); code != 2 || stderr == "" {
		t.Errorf("without the file: code %d, %q", code, stderr)
	}
}
