package wpconfig

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// vectors were produced by PHP 8.2 itself; see "_how" in the file.
type vectors struct {
	DBHost []struct {
		Raw  string          `json:"DB_HOST"`
		Want json.RawMessage `json:"parse_db_host"`
	} `json:"db_host"`
	WPConfig []configVector `json:"wp_config"`
}

type configVector struct {
	Name   string            `json:"name"`
	Files  map[string]string `json:"files"`
	Env    map[string]string `json:"env"`
	Result struct {
		Constants   map[string]any `json:"constants"`
		TablePrefix *string        `json:"table_prefix"`
	} `json:"php_result"`
}

func loadVectors(t testing.TB) vectors {
	t.Helper()
	raw, err := os.ReadFile("../../testdata/wp-auth-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v configVector) load() (*Config, error) {
	fsys := fstest.MapFS{"tmp/secret_pw": {Data: []byte("from file\r\n")}}
	for name, text := range v.Files {
		if strings.HasPrefix(text, "<<docker-library/") {
			text = dockerConfig
		}
		fsys[path.Join("srv/site", name)] = &fstest.MapFile{Data: []byte(text)}
	}
	return Load("/srv/site/wp-config.php", Options{FS: fsys, LookupEnv: env(v.Env), Request: map[string]string{}})
}

func env(m map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// dockerConfig has the statements of the official image's wp-config.php that the
// vector exercises.
var dockerConfig = func() string {
	var b strings.Builder
	b.WriteString(`<?php
if (!function_exists('getenv_docker')) {
	function getenv_docker($env, $default) {
		$file = getenv($env . '_FILE');
		return $file ? rtrim(file_get_contents($file), "\r\n") : $default;
	}
}
define( 'DB_NAME', getenv_docker('WORDPRESS_DB_NAME', 'wordpress') );
define( 'DB_USER', getenv_docker('WORDPRESS_DB_USER', 'example username') );
define( 'DB_PASSWORD', getenv_docker('WORDPRESS_DB_PASSWORD', 'example password') );
define( 'DB_HOST', getenv_docker('WORDPRESS_DB_HOST', 'mysql') );
define( 'DB_CHARSET', getenv_docker('WORDPRESS_DB_CHARSET', 'utf8mb4') );
define( 'DB_COLLATE', getenv_docker('WORDPRESS_DB_COLLATE', '') );
`)
	for _, name := range saltNames[:8] {
		fmt.Fprintf(&b, "define( '%s', getenv_docker('WORDPRESS_%s', 'put your unique phrase here') );\n", name, name)
	}
	b.WriteString(`$table_prefix = getenv_docker('WORDPRESS_TABLE_PREFIX', 'wp_');
define( 'WP_DEBUG', !!getenv_docker('WORDPRESS_DEBUG', '') );
if (isset($_SERVER['HTTP_X_FORWARDED_PROTO']) && strpos($_SERVER['HTTP_X_FORWARDED_PROTO'], 'https') !== false) {
	$_SERVER['HTTPS'] = 'on';
}
if ($configExtra = getenv_docker('WORDPRESS_CONFIG_EXTRA', '')) {
	eval($configExtra);
}
if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
`)
	return b.String()
}()

func TestConfigVectors(t *testing.T) {
	all := loadVectors(t).WPConfig
	if len(all) != 18 {
		t.Fatalf("the file has %d wp_config vectors, want 18", len(all))
	}
	printed := map[string]bool{} // the constants that the PHP harness looked at
	for _, v := range all {
		for name := range v.Result.Constants {
			printed[name] = true
		}
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			c, err := v.load()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			for name, value := range c.Constants {
				if n, ok := value.(int64); ok {
					value = float64(n) // as encoding/json reads it
				}
				if printed[name] {
					got[name] = value
				}
			}
			if diff := cmp.Diff(v.Result.Constants, got); diff != "" {
				t.Errorf("constants differ from PHP's (-PHP +Go):\n%s\nunresolved: %v", diff, c.Unresolved)
			}
			if want := v.Result.TablePrefix; (want != nil) != c.TablePrefixSet || want != nil && *want != c.TablePrefix {
				t.Errorf("table prefix %q, set %v; PHP has %v", c.TablePrefix, c.TablePrefixSet, want)
			}
			if len(c.Unresolved) != 0 {
				t.Errorf("unresolved: %v", c.Unresolved)
			}
		})
	}
}

func TestDBHostVectors(t *testing.T) {
	all := loadVectors(t).DBHost
	if len(all) != 35 {
		t.Fatalf("the file has %d db_host vectors, want 35", len(all))
	}
	for _, v := range all {
		t.Run(fmt.Sprintf("%q", v.Raw), func(t *testing.T) {
			got, ok := ParseDBHost(v.Raw)
			if string(v.Want) == "false" {
				if ok {
					t.Errorf("ParseDBHost gave %+v, PHP gives up", got)
				}
				return
			}
			var host string
			var port *int
			var socket *string
			var ipv6 bool
			if err := json.Unmarshal(v.Want, &[]any{&host, &port, &socket, &ipv6}); err != nil {
				t.Fatal(err)
			}
			want := DBHost{Host: host, IPv6: ipv6}
			if port != nil {
				want.Port = *port
			}
			if socket != nil {
				want.Socket = *socket
			}
			if !ok || got != want {
				t.Errorf("ParseDBHost = %+v, %v; PHP has %+v", got, ok, want)
			}
		})
	}
}
