// Package mariadb runs a private MariaDB in a folder: a real server for the demo
// and the tests that listens on a unix socket only and goes away with its owner.
package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrNotInstalled says that this machine has no MariaDB server to run.
var ErrNotInstalled = errors.New("mariadb-server is not installed: apt-get install mariadb-server")

// Server is a running MariaDB whose data lives in a folder of its own. Its
// methods are not for concurrent use; the server itself is.
type Server struct {
	dir     string
	args    []string
	program string
	cmd     *exec.Cmd
	exited  chan error
}

// Start installs an empty database system under dir (which must be short: a
// unix socket's path has 108 bytes) and starts the server on dir/sock. The
// superuser root needs no password there. Extra args go to mariadbd.
func Start(ctx context.Context, dir string, args ...string) (*Server, error) {
	program, err := lookup("mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := lookup("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, args: args, program: program}
	if _, err := os.Stat(s.data()); err != nil {
		cmd := exec.CommandContext(ctx, install, append([]string{
			"--no-defaults", "--datadir=" + s.data(),
			"--auth-root-authentication-method=normal", "--skip-test-db",
		}, s.userArgs()...)...)
		// As in Restart: what it starts would sweep /tmp, or be swept there.
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("install a private MariaDB: %w: %s", err, gist(out))
		}
	}
	return s, s.Restart(ctx)
}

// lookup finds a server program; /usr/sbin is on few users' PATH.
func lookup(name string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/libexec/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// userArgs: mariadbd refuses to run as root unless told so.
func (s *Server) userArgs() []string {
	if u, err := user.Current(); err == nil {
		return []string{"--user=" + u.Username}
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Socket is the path of the unix socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "sock") }

// Restart starts the server again after Kill or Stop and waits until it answers.
func (s *Server) Restart(ctx context.Context) error {
	logfile, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return fmt.Errorf("start a private MariaDB: %w", err)
	}
	defer logfile.Close()
	args := append([]string{
		"--no-defaults", "--datadir=" + s.data(), "--socket=" + s.Socket(),
		"--pid-file=" + filepath.Join(s.dir, "pid"), "--skip-networking", "--skip-name-resolve",
		// Its own, or a server that starts sweeps another's temporary tables away.
		"--tmpdir=" + s.dir,
		"--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
	}, s.userArgs()...)
	cmd := exec.Command(s.program, append(args, s.args...)...)
	cmd.Stdout, cmd.Stderr = logfile, logfile
	// A server must not outlive an owner that was killed.
	cmd.SysProcAttr = ownedProcess()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a private MariaDB: %w", err)
	}
	s.cmd, s.exited = cmd, make(chan error, 1)
	go func(exited chan<- error) { exited <- cmd.Wait() }(s.exited)
	return s.awaitReady(ctx)
}

func (s *Server) awaitReady(ctx context.Context) error {
	db, err := s.Open("")
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if db.PingContext(ctx) == nil {
			return nil
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("private MariaDB ended at its start: %w: %s", err, gist(log))
		case <-ctx.Done():
			return fmt.Errorf("private MariaDB does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Open connects as root to a database of that name ("" for none). The caller
// closes the pool.
func (s *Server) Open(database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = "root", "unix", s.Socket(), database
	cfg.MultiStatements = true
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to the private MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// Exec runs statements, separated by semicolons, as root.
func (s *Server) Exec(ctx context.Context, database, statements string) error {
	db, err := s.Open(database)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statements); err != nil {
		return fmt.Errorf("private MariaDB: %w", err)
	}
	return nil
}

// Kill ends the server at once, as a crash would (SIGKILL), and waits for it.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Stop ends the server in order and waits for it. The folder stays.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

func (s *Server) end(sig os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end the private MariaDB: %w", err)
	}
	<-s.exited
	s.cmd = nil
	return nil
}

// gist is the line that says what went wrong: the first error, or else the last
// line. mariadb-install-db ends with advice about its web site.
func gist(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if strings.Contains(line, "ERROR") {
			return line
		}
	}
	return lines[len(lines)-1]
}
