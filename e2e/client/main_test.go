//go:build e2e

package client

import (
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

func TestMain(m *testing.M) { os.Exit(backstage.Main(m, &database, &program, downWordPress)) }
