package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdline/config"
)

func TestChanges(t *testing.T) {
	load := func(args ...string) config.Config {
		t.Helper()
		cfg, err := config.Load(args, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	secret := "--auth-secret=0123456789abcdef0123456789abcdef"
	for name, tc := range map[string]struct {
		a, b []string
		want []string
	}{
		"nothing":              {nil, nil, nil},
		"the default, written": {nil, []string{"--hold=25s", "--sources="}, nil},
		"the same secret":      {[]string{secret}, []string{secret}, nil},
		"another secret":       {[]string{secret}, []string{secret + "0"}, []string{"auth.secret"}},
		"a list":               {nil, []string{"--trusted-proxies=10.0.0.0/8"}, []string{"trusted_proxies"}},
		"several, in the order of the table": {
			[]string{"--drain=1s", "--pid-file=/run/pid"},
			[]string{"--listen=127.0.0.1:1", "--limits-sends=3"},
			[]string{"listen", "limits.sends", "pid_file", "drain"},
		},
		"print-config": {nil, []string{"--print-config"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := load(tc.a...), load(tc.b...)
			if diff := cmp.Diff(tc.want, a.Changes(b)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.want, b.Changes(a)); diff != "" {
				t.Error("the other way round:", diff)
			}
		})
	}
}
