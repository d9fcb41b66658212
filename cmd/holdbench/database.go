package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"holdline/internal/mariadb"
)

const (
	databaseName = "wordpress"
	readerName   = "holdline"
	insertRow    = "INSERT INTO wp_wplc_chat_msgs" +
		" (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)" +
		" VALUES (?, 'Bench', ?, UTC_TIMESTAMP(), 0, 2, '', '', 0, 0)"
)

// database is a private MariaDB with the tables of a WordPress site that has WP
// Live Chat Support, and the connection that stands for PHP.
type database struct {
	server   *mariadb.Server
	password string // of the SELECT-only user
	root     *sql.DB
	insert   *sql.Stmt
	inserts  atomic.Int64 // questions the bench itself has asked
}

// startDatabase makes the database in dir, with an active chat for each of the
// channels.
func startDatabase(ctx context.Context, dir, schema, password string, channels int) (*database, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the database: %w", err)
	}
	server, err := mariadb.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	d := &database{server: server, password: password}
	if err := d.fill(ctx, schema, channels); err != nil {
		d.Close()
		return nil, fmt.Errorf("prepare the database: %w", err)
	}
	return d, nil
}

func (d *database) fill(ctx context.Context, schema string, channels int) error {
	if err := d.server.Exec(ctx, "", "CREATE DATABASE "+databaseName+" CHARACTER SET utf8mb4"); err != nil {
		return err
	}
	for _, name := range []string{"wordpress.sql", "wplc-8.sql"} {
		text, err := os.ReadFile(filepath.Join(schema, name))
		if err != nil {
			return fmt.Errorf("read the tables (--schema): %w", err)
		}
		if err := d.server.Exec(ctx, databaseName, string(text)); err != nil {
			return fmt.Errorf("make the tables of %s: %w", name, err)
		}
	}
	err := d.server.Exec(ctx, databaseName, fmt.Sprintf(`
		INSERT INTO wp_options (option_name, option_value) VALUES
			('siteurl', 'http://127.0.0.1'), ('home', 'http://127.0.0.1'),
			('timezone_string', ''), ('gmt_offset', '0');
		CREATE USER '%[1]s'@'localhost' IDENTIFIED BY '%[2]s';
		GRANT SELECT ON %[3]s.* TO '%[1]s'@'localhost'`, readerName, d.password, databaseName))
	if err != nil {
		return err
	}
	if err := d.server.Exec(ctx, databaseName, openChats(channels)); err != nil {
		return fmt.Errorf("open the chats: %w", err)
	}
	if d.root, err = d.server.Open(databaseName); err != nil {
		return err
	}
	// One connection, so that counting the bench's own questions is exact.
	d.root.SetMaxOpenConns(1)
	if d.insert, err = d.root.PrepareContext(ctx, insertRow); err != nil {
		return fmt.Errorf("prepare the writer: %w", err)
	}
	return d.awaitAlone(ctx)
}

// awaitAlone waits until the connections that have made the tables are gone.
// MariaDB counts a connection's good-bye (COM_QUIT) among the questions, and
// reads it when it gets round to it, which may be while others' are counted.
func (d *database) awaitAlone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		d.inserts.Add(1)
		var name string
		var connected int
		err := d.root.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_connected'").Scan(&name, &connected)
		if err != nil {
			return fmt.Errorf("wait for the connections that made the tables to end: %w", err)
		}
		if connected == 1 {
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%d connections to the database, want the writer's alone: %w", connected, err)
		}
	}
}

// openChats inserts n active sessions (status 3) with the ids 1 to n.
func openChats(n int) string {
	var sb strings.Builder
	sb.WriteString("INSERT INTO wp_wplc_chat_sessions (timestamp, name, email, ip, status, session, url," +
		" last_active_timestamp, agent_id, other, rel) VALUES ")
	for i := range n {
		if i > 0 {
			sb.WriteByte(',')
		}
		sb.WriteString("(UTC_TIMESTAMP(),'Guest','','',3,'','',UTC_TIMESTAMP(),1,'','')")
	}
	return sb.String()
}

// Publish inserts a row and returns the time right after its COMMIT (the writer
// is in autocommit mode, as WordPress is).
func (d *database) Publish(ctx context.Context, channel int, body string) (time.Time, error) {
	d.inserts.Add(1)
	if _, err := d.insert.ExecContext(ctx, channel, body); err != nil {
		return time.Time{}, fmt.Errorf("insert a row: %w", err)
	}
	return time.Now(), nil
}

// counters are the server's own, without what the bench has asked.
type counters struct {
	questions int64 // statements from clients
	selects   int64 // Com_select; the bench never runs one
	at        time.Time
}

func (d *database) counters(ctx context.Context) (counters, error) {
	d.inserts.Add(1) // this SHOW, which counts itself
	rows, err := d.root.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Com_select')")
	if err != nil {
		return counters{}, fmt.Errorf("read the database's counters: %w", err)
	}
	defer rows.Close()
	c := counters{at: time.Now()}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return counters{}, fmt.Errorf("read the database's counters: %w", err)
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return counters{}, fmt.Errorf("read the database's counters: %w", err)
		}
		if name == "Questions" {
			c.questions = n - d.inserts.Load()
		} else {
			c.selects = n
		}
	}
	return c, rows.Err()
}

// Close ends the server.
func (d *database) Close() error {
	if d.root != nil {
		d.root.Close()
	}
	return d.server.Stop()
}
