//go:build linux

package backstage

import (
	"bufio"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/internal/freeport"
)

// FreeAddress is a loopback address with a port that was free just now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	addresses, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return addresses[0]
}

// Serve starts a holdline with an environment that names this admin address, and waits
// until it is ready.
func Serve(t testing.TB, program, admin string, env []string) *Process {
	t.Helper()
	cmd := exec.Command(program, "serve")
	cmd.Env = env
	p := Start(t, cmd)
	AwaitReady(t, admin)
	return p
}

// AwaitReady waits until the holdline with this admin address says that it is ready.
func AwaitReady(t testing.TB, admin string) {
	t.Helper()
	Eventually(t, "Holdline is ready", time.Minute, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
}

// Metric is a number of the holdline with this admin address, and whether there is
// one: a counter with labels is there once it has counted. The name is as /metrics
// has it, with its labels.
func Metric(t testing.TB, admin, name string) (value float64, ok bool) {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value, true
		}
	}
	return 0, false
}
