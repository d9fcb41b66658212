package config

import (
	"path/filepath"
	"strings"
)

// StateDirs are the folders where state may be kept, the best first: the one that
// is set, or those that the environment suggests (systemd.exec(5), StateDirectory=;
// the XDG Base Directory Specification). None under StateOff.
func (c *Config) StateDirs(env func(string) (string, bool)) []string {
	switch c.StateDir {
	case "":
	case StateOff:
		return nil
	default:
		return []string{c.StateDir}
	}
	var dirs []string
	add := func(variable, below string) {
		value, _ := env(variable)
		if dir, _, _ := strings.Cut(value, ":"); filepath.IsAbs(dir) { // systemd lists several
			dirs = append(dirs, filepath.Join(dir, below))
		}
	}
	add("STATE_DIRECTORY", "")
	add("XDG_STATE_HOME", "holdline")
	add("HOME", ".local/state/holdline")
	return dirs
}
