//go:build linux

package backstage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdline/internal/mariadb/mariadbtest"
)

// Main is the TestMain of a package whose tests share one MariaDB and one built
// program: mariadbtest.Main, with the program in a folder of its own meanwhile.
func Main(m *testing.M, server **mariadbtest.Instance, program *string, end func() error) (code int) {
	dir, err := os.MkdirTemp("", "hl")
	if err == nil {
		defer os.RemoveAll(dir)
		*program, err = Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return mariadbtest.Main(m, server, end)
}

// Build builds the checkout's holdline into a folder; flags are go build's, such as
// -race.
func Build(dir string, flags ...string) (program string, err error) {
	program = filepath.Join(dir, "holdline")
	args := append([]string{"build", "-o", program}, flags...)
	if out, err := exec.Command("go", append(args, "holdline/cmd/holdline")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return program, nil
}
