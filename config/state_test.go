package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
)

func TestStateDirs(t *testing.T) {
	for name, tc := range map[string]struct {
		set  string
		env  map[string]string
		want []string
	}{
		"set":                {"/srv/state", map[string]string{"HOME": "/root"}, []string{"/srv/state"}},
		"systemd":            {"", map[string]string{"STATE_DIRECTORY": "/var/lib/holdline:/var/lib/other"}, []string{"/var/lib/holdline"}},
		"a user":             {"", map[string]string{"HOME": "/home/ann"}, []string{"/home/ann/.local/state/holdline"}},
		"a user's choice":    {"", map[string]string{"HOME": "/home/ann", "XDG_STATE_HOME": "/data"}, []string{"/data/holdline", "/home/ann/.local/state/holdline"}},
		"nothing to go by":   {"", nil, nil},
		"relative is wrong":  {"", map[string]string{"XDG_STATE_HOME": "state", "HOME": "."}, nil},
		"empty is not there": {"", map[string]string{"STATE_DIRECTORY": "", "HOME": ""}, nil},
		"off":                {config.StateOff, map[string]string{"HOME": "/home/ann"}, nil},
	} {
		cfg := config.Config{StateDir: tc.set}
		env := func(name string) (string, bool) { value, ok := tc.env[name]; return value, ok }
		if diff := cmp.Diff(tc.want, cfg.StateDirs(env)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
