//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"

	"holdline/e2e/backstage"
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
	if program, err = backstage.Build(dir); err != nil {
		return 1, err
	}
	return mariadbtest.Main(m, &database, nil), nil
}
