package wpconfig

import (
	"fmt"
	"os"
	"path/filepath"
)

// Find returns the wp-config.php that WordPress in folder dir uses, by the rule
// of wp-load.php: dir/wp-config.php, else the parent folder's, unless that folder
// holds a wp-settings.php and so is another installation.
//
// Debian's /usr/share/wordpress/wp-config.php is found like any other. It picks
// /etc/wordpress/config-<host>.php by the request's Host header, so give
// [Options.Request] an HTTP_HOST, or name that file itself to [Load].
func Find(dir string) (string, error) {
	own := filepath.Join(dir, "wp-config.php")
	if isFile(own) {
		return own, nil
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find wp-config.php: %w", err)
	}
	parent := filepath.Dir(full)
	above := filepath.Join(parent, "wp-config.php")
	if !isFile(above) {
		return "", fmt.Errorf("find wp-config.php: there is none in %s or in %s; set wordpress.config to its path", dir, parent)
	}
	if isFile(filepath.Join(parent, "wp-settings.php")) {
		return "", fmt.Errorf("find wp-config.php: there is none in %s, and %s belongs to another WordPress; set wordpress.config to its path", dir, above)
	}
	return above, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
