package mariadb_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"holdline/internal/mariadb/mariadbtest"
)

// What a crash must not take away is what the loss tests of other packages
// build on.
func TestServerSurvivesKill(t *testing.T) {
	srv, err := mariadbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for _, name := range []string{"wordpress.sql", "wplc-8.sql"} {
		schema, err := os.ReadFile(filepath.Join("..", "..", "testdata", "schema", name))
		if err != nil {
			t.Fatal(err)
		}
		srv.Database(t, string(schema))
	}
	name, root := srv.Database(t, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)")
	ctx := context.Background()
	if _, err := root.ExecContext(ctx, "INSERT INTO t VALUES (), ()"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := root.PingContext(ctx); err == nil {
		t.Fatal("a killed server answered")
	}
	if err := srv.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := srv.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var n int
	if err := again.QueryRowContext(ctx, "SELECT COUNT(*) FROM t").Scan(&n); err != nil || n != 2 {
		t.Fatalf("rows after a crash: %d, %v", n, err)
	}
}
