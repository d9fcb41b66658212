package doctor_test

import (
	"os"
	"testing"

	"holdline/internal/mariadb/mariadbtest"
)

// server is the one MariaDB of this package's tests.
var server *mariadbtest.Instance

func TestMain(m *testing.M) { os.Exit(mariadbtest.Main(m, &server, nil)) }
