//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSystemdsUnits has systemd itself look at the units. There is no manager here to
// run them.
func TestSystemdsUnits(t *testing.T) {
	dir := t.TempDir()
	for kind, name := range map[string]string{"systemd": "holdline.service", "systemd-socket": "holdline.socket"} {
		code, text, stderr := holdline("snippet", kind)
		if code != 0 || stderr != "" {
			t.Fatalf("%s: code %d: %s", kind, code, stderr)
		}
		// Neither program nor manual need be installed for the unit to be right.
		text = strings.ReplaceAll(text, "/usr/bin/holdline", "/bin/true")
		text = strings.ReplaceAll(text, "Documentation=man:holdline(1)\n", "")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	analyze := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("systemd-analyze", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := analyze("verify", "./holdline.service", "./holdline.socket"); out != "" {
		t.Errorf("systemd complains:\n%s", out)
	}
	out := analyze("security", "--offline=yes", "./holdline.service")
	m := regexp.MustCompile(`exposure level for holdline.service: ([\d.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no level in:\n%s", out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 1.5 {
		t.Errorf("the service is exposed at level %s, want 1.5 or less", m[1])
	}
}
