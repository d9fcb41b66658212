//go:build e2e

package client

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"holdline/internal/mariadb/mariadbtest"
)

// What all tests of the package share: one MariaDB and one built program.
var (
	database *mariadbtest.Instance
	program  string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "holdline")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/holdline").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	if database, err = mariadbtest.Start(); err != nil {
		return 1, err
	}
	code = m.Run()
	if wordpress != nil {
		if err := wordpress.Down(); err != nil {
			return 1, err
		}
	}
	if err := database.Close(); err != nil {
		return 1, err
	}
	if code == 0 {
		err = goleak.Find()
	}
	return code, err
}
