package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version prints the version alone on the first line, for scripts.
func version(_ context.Context, p program) error {
	_, err := fmt.Fprint(p.stdout, thisBuild())
	return err
}

// build is what Go itself has noted in the program: there is nothing to keep in
// step, and nothing that a linker flag could claim.
type build struct {
	version string // the commit's tag, or a pseudo-version of the commit; "unreleased" where Go could not ask git
	commit  string // "" if unknown
	date    string // of the commit, RFC 3339; "" if unknown
	changed bool   // there were changes that were not committed
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{version: "unreleased"}
	}
	return readBuild(info)
}

func readBuild(info *debug.BuildInfo) build {
	b := build{version: strings.TrimPrefix(info.Main.Version, "v")}
	if b.version == "" || b.version == "(devel)" {
		b.version = "unreleased"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.time":
			b.date = s.Value
		case "vcs.modified":
			b.changed = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	commit := "unknown"
	if b.commit != "" {
		commit = b.commit + " of " + b.date
	}
	if b.changed {
		commit += ", and changes that were not committed"
	}
	return fmt.Sprintf("holdline %s\ncommit %s\n%s %s/%s\n", b.version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
