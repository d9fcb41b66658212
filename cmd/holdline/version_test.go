package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: "vcs." + key, Value: value} }
	commit := []debug.BuildSetting{setting("revision", "98ec46c1c0bc"), setting("time", "2026-11-22T16:37:16Z")}
	for name, tc := range map[string]struct {
		main     string
		settings []debug.BuildSetting
		want     string
	}{
		"a release":      {"v1.2.0", append(commit, setting("modified", "false")), "holdline 1.2.0\ncommit 98ec46c1c0bc of 2026-11-22T16:37:16Z\n"},
		"with changes":   {"v1.2.0+dirty", append(commit, setting("modified", "true")), "holdline 1.2.0+dirty\ncommit 98ec46c1c0bc of 2026-11-22T16:37:16Z, and changes that were not committed\n"},
		"without git":    {"(devel)", nil, "holdline unreleased\ncommit unknown\n"},
		"without a name": {"", nil, "holdline unreleased\ncommit unknown\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := readBuild(&debug.BuildInfo{Main: debug.Module{Version: tc.main}, Settings: tc.settings}).String()
			if want := tc.want + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"; got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		})
	}
}
