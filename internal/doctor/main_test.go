package doctor_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"holdline/internal/mariadb/mariadbtest"
)

// server is the one MariaDB of this package's tests.
var server *mariadbtest.Instance

func TestMain(m *testing.M) {
	var err error
	if server, err = mariadbtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
