//go:build linux

package docs_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The arrows between packages run as architecture.md says.
func TestArrowsRunOneWay(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], "holdline/")
		for _, to := range fields[1:] {
			seen++
			if why := forbidden(from, to); why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
	if seen < 300 {
		t.Errorf("only %d imports were looked at", seen)
	}
}

// forbidden says why a package of ours must not import another, or nothing.
func forbidden(from, path string) string {
	transports := []string{"poll", "sse", "ws"}
	top, _, _ := strings.Cut(from, "/")
	to, ours := strings.CutPrefix(path, "holdline/")
	switch {
	case strings.HasPrefix(path, "github.com/labstack/echo") && from != "gateway":
		return "gateway alone knows echo"
	case strings.HasPrefix(path, "github.com/spf13/viper") && from != "config":
		return "config alone knows viper"
	case !ours:
		return ""
	case strings.HasPrefix(to, "cmd/"):
		return "nothing imports a command"
	case to == "gateway" && top != "cmd":
		return "nothing but a command imports gateway"
	case slices.Contains(transports, from) && slices.Contains(transports, to):
		return "transports do not know each other"
	case top == "wpdb" && (slices.Contains(transports, to) || to == "internal/park"):
		return "what reads the site knows no transport"
	case from == "internal/chat":
		return "chat is the ground floor"
	}
	return ""
}

func TestForbiddenArrows(t *testing.T) {
	for arrow, want := range map[string]bool{
		"sse holdline/ws": true, "poll holdline/internal/hub": false, "wpdb/wplc holdline/poll": true, "wpdb holdline/internal/chat": false,
		"ws github.com/labstack/echo/v4": true, "gateway github.com/labstack/echo/v4": false, "cmd/holdline github.com/spf13/viper": true,
		"internal/doctor holdline/gateway": true, "cmd/holdline holdline/gateway": false, "internal/chat holdline/internal/lru": true,
		"internal/chat strings": false, "internal/doctor holdline/cmd/holdline": true,
	} {
		from, to, _ := strings.Cut(arrow, " ")
		if got := forbidden(from, to); (got != "") != want {
			t.Errorf("%s: %q", arrow, got)
		}
	}
}
