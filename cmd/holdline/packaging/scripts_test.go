package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestScripts runs the packages' scripts as dpkg and rpm do, among programs that
// only write down how they were called.
func TestScripts(t *testing.T) {
	const (
		enable  = "systemctl enable --quiet holdline.socket holdline.service\n"
		disable = "systemctl disable --quiet holdline.socket holdline.service\n"
	)
	for name, tc := range map[string]struct {
		command string // the script and its arguments
		fails   string // the program that does
		calls   string
	}{
		"deb: no user":             {"preinstall install", "getent", "groupadd --system holdline\nuseradd --system --gid holdline --home-dir /var/lib/holdline --no-create-home --shell /usr/sbin/nologin --comment Holdline holdline\n"},
		"deb: a user":              {"preinstall upgrade 1.0", "", ""},
		"rpm: a user":              {"preinstall 2", "", ""},
		"deb: first, no settings":  {"postinstall configure", "holdline", ""},
		"deb: first, empty":        {"postinstall configure ", "holdline", ""},
		"deb: first, settings":     {"postinstall configure", "", enable},
		"deb: upgraded":            {"postinstall configure 1.0", "", ""},
		"deb: upgraded, no longer": {"postinstall configure 1.0", "holdline", ""},
		"deb: an upgrade failed":   {"postinstall abort-upgrade 1.0", "", ""},
		"rpm: first, no settings":  {"postinstall 1", "holdline", ""},
		"rpm: first, settings":     {"postinstall 1", "", enable},
		"rpm: upgraded":            {"postinstall 2", "", ""},
		"deb: removed":             {"preremove remove", "", disable},
		"deb: to be upgraded":      {"preremove upgrade 2.0", "", ""},
		"rpm: removed":             {"preremove 0", "", disable},
		"rpm: the old one removed": {"preremove 1", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for _, program := range []string{"getent", "groupadd", "useradd", "systemctl", "holdline"} {
				stub := "#!/bin/sh\necho " + program + ` "$@" >>` + folder + "/calls\n"
				if program == tc.fails {
					stub += "exit 2\n"
				}
				if err := os.WriteFile(filepath.Join(folder, program), []byte(stub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			script := exec.Command("/bin/sh", strings.Split(tc.command, " ")...)
			script.Env = []string{"PATH=" + folder + ":/usr/bin:/bin"}
			out, err := script.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if told := strings.Contains(string(out), "systemctl enable --now"); told != (tc.fails == "holdline" && tc.calls == "" && !strings.Contains(tc.command, "1.0")) {
				t.Errorf("it tells the operator: %q", out)
			}
			if got := changes(t, filepath.Join(folder, "calls")); got != tc.calls {
				t.Errorf("it calls\n%swant\n%s", got, tc.calls)
			}
		})
	}
}

// changes are the calls that last: not what is asked, nor what is done only where
// systemd runs.
func changes(t *testing.T, file string) string {
	t.Helper()
	calls, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(calls)) {
		switch word := strings.Fields(line); {
		case word[0] == "getent", word[0] == "holdline", word[0] == "systemctl" && !strings.Contains(line, "able --quiet"):
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestPackage(t *testing.T) {
	var p struct {
		Contents []struct {
			Src, Dst, Type string
			FileInfo       struct {
				Mode         fs.FileMode
				Owner, Group string
			} `yaml:"file_info"`
		}
		Scripts map[string]string
	}
	text, err := os.ReadFile("nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	modes := make(map[string]string)
	for _, c := range p.Contents {
		modes[c.Dst] = strings.TrimSpace(strings.Join([]string{c.Type, c.FileInfo.Mode.String(), c.FileInfo.Owner, c.FileInfo.Group}, " "))
	}
	for file, want := range map[string]string{
		"/usr/bin/holdline":           "-rwxr-xr-x",
		"/etc/holdline":               "dir -rwxr-x--- root holdline",
		"/etc/holdline/holdline.yaml": "config|noreplace -rw-r----- root holdline",
		"/var/lib/holdline":           "dir -rwxr-x--- holdline holdline",
	} {
		if got := strings.Join(strings.Fields(modes[file]), " "); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	for when, file := range p.Scripts {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s: %v", when, err)
		}
	}
	if len(p.Scripts) != 4 {
		t.Errorf("there are %d scripts", len(p.Scripts))
	}
}
