//go:build linux

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdline/e2e/backstage"
	"holdline/internal/mariadb"
	"holdline/internal/token"
)

// builtProgram is this program, built once for all tests that need it as a file.
var builtProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hl")
	if err != nil {
		return "", err
	}
	builtFolder = dir
	file := filepath.Join(dir, "holdline")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// programCopy copies the built program to where a test may replace it.
func programCopy(t *testing.T) string {
	t.Helper()
	built, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "holdline")
	if err := os.Link(built, to); err != nil {
		t.Fatal(err)
	}
	return to
}

const stageSecret = "0123456789abcdef0123456789abcdef"

// outfit is a database with the chat plugin's tables, something in the place of
// WordPress, and the configuration of a Holdline between them.
type outfit struct {
	t       *testing.T
	db      *sql.DB
	program string
	dir     string // of configuration, state, and what runs
	public  string
	admin   string
	env     []string // more of the program's environment
	name    string   // of its log and pid_file, where there are several

	mu    sync.Mutex
	rows  map[string]int64 // by client id: what WordPress has stored
	calls map[string]int   // how often it was asked to
}

func newOutfit(t *testing.T) *outfit {
	t.Helper()
	dir := t.TempDir()
	// MariaDB's socket needs a short path.
	home, err := os.MkdirTemp("", "hl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	server, err := mariadb.Start(context.Background(), home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := server.Exec(t.Context(), "", "CREATE DATABASE site CHARACTER SET utf8mb4"); err != nil {
		t.Fatal(err)
	}
	s := &outfit{
		t: t, dir: dir, program: programCopy(t), public: backstage.FreeAddress(t), admin: backstage.FreeAddress(t),
		rows: make(map[string]int64), calls: make(map[string]int),
	}
	if s.db, err = server.Open("site"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	for _, file := range []string{"wordpress.sql", "wplc-8.sql"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		s.exec(string(text))
	}
	wordpress := httptest.NewServer(s)
	t.Cleanup(wordpress.Close)
	s.exec(`INSERT INTO wp_options (option_name, option_value) VALUES ('siteurl', ?), ('home', ?), ('wplc_db_version', '8.0.25'),
		('wplc_advanced_settings', 'a:2:{s:15:"wplc_iterations";i:10;s:24:"wplc_delay_between_loops";i:250000;}')`, wordpress.URL, wordpress.URL)
	s.configure(fmt.Sprintf(`
database: {address: %q, name: site, user: root}
wordpress: {upstream: %q}
auth: {secret: %s}
loops: {wplc: {answer: native, visitors: compatible}}
tail: {interval: 10ms}
`, server.Socket(), wordpress.URL, stageSecret))
	return s
}

// beside is another Holdline of the same site.
func (s *outfit) beside(name string) *outfit {
	return &outfit{
		t: s.t, db: s.db, dir: s.dir, program: s.program, name: name,
		public: backstage.FreeAddress(s.t), admin: backstage.FreeAddress(s.t),
	}
}

// configure writes the configuration file; addresses and folders are in the
// environment.
func (s *outfit) configure(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file("holdline.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// amend appends to the configuration and returns what it was before.
func (s *outfit) amend(text string) (before string) {
	s.t.Helper()
	old, err := os.ReadFile(s.file("holdline.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.configure(string(old) + text)
	return string(old)
}

func (s *outfit) file(name string) string { return filepath.Join(s.dir, name) }

func (s *outfit) exec(query string, args ...any) sql.Result {
	s.t.Helper()
	result, err := s.db.ExecContext(context.Background(), query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

// chat makes one and returns its number.
func (s *outfit) chat() int64 {
	s.t.Helper()
	id, err := s.exec(`INSERT INTO wp_wplc_chat_sessions (timestamp, name, email, ip, status, session, url, last_active_timestamp, agent_id, other, rel)
		VALUES (NOW(), 'Ann', 'ann@example.com', '', 3, '1', '', NOW(), 0, '', '')`).LastInsertId()
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// say writes a row of the agent's; it may be called by any goroutine.
func (s *outfit) say(chat int64, text string) error {
	_, err := s.insert(chat, text, 1)
	return err
}

func (s *outfit) insert(chat int64, text string, originates int) (int64, error) {
	result, err := s.db.ExecContext(context.Background(), `INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		VALUES (?, 'Admin', ?, NOW(), 0, ?, '', '', 0, 0)`, chat, text, originates)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// ServeHTTP stands in for WordPress with the companion plugin: it stores messages once
// each, by their client ids.
func (s *outfit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("action") != "holdline_send" {
		io.WriteString(w, `{"ok":true,"version":2,"hello":{"sends":true}}`)
		return
	}
	var call struct {
		Messages []struct {
			Channel  string `json:"channel"`
			ClientID string `json:"client_id"`
			Body     string `json:"body"`
		} `json:"messages"`
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	type result struct {
		ID int64 `json:"id"`
	}
	results := []result{}
	for _, m := range call.Messages {
		s.calls[m.ClientID]++
		if s.rows[m.ClientID] == 0 {
			chat, _ := strconv.ParseInt(strings.TrimPrefix(m.Channel, "wplc/"), 10, 64)
			id, err := s.insert(chat, m.Body, 0)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			s.rows[m.ClientID] = id
		}
		results = append(results, result{s.rows[m.ClientID]})
	}
	json.NewEncoder(w).Encode(map[string]any{"ok": true, "version": 2, "time": time.Now().Unix(), "results": results})
}

// token may read and write channels.
func (s *outfit) token(channels ...string) string {
	s.t.Helper()
	text, err := token.Keys{Secret: []byte(stageSecret)}.Mint(token.Claims{Subject: "test", Channels: channels, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// command is the program with its configuration; prefix runs it, such as a supervisor.
func (s *outfit) command(prefix ...string) *exec.Cmd {
	args := append(prefix, s.program, "serve", "--config", s.file("holdline.yaml"))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOLDLINE_LISTEN=" + s.public, "HOLDLINE_ADMIN_LISTEN=" + s.admin,
		"HOLDLINE_STATE_DIR=" + s.file("state"), "HOLDLINE_PID_FILE=" + s.file("pid"+s.name),
	}, s.env...)
	log, err := os.OpenFile(s.file("log"+s.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

// start runs the program until it is ready.
func (s *outfit) start() {
	s.t.Helper()
	s.run(s.command())
}

// run runs a command that becomes the program, or starts it, until the program is
// ready, and ends with the test all that came of it.
func (s *outfit) run(cmd *exec.Cmd) *exec.Cmd {
	s.t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait() // how it ended is in its log
	}()
	s.t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Error(err)
		}
		<-exited
		if s.t.Failed() {
			s.t.Logf("the log ends with:\n%s", backstage.LastLines(s.log()))
		}
	})
	backstage.AwaitReady(s.t, s.admin)
	backstage.Eventually(s.t, "pid_file is there", patience, func() bool { return s.readPID() != 0 })
	return cmd
}

// patience is how long a test waits for what should take a moment.
const patience = time.Minute

func (s *outfit) log() string {
	text, err := os.ReadFile(s.file("log" + s.name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// awaitLog waits until the log has had a text n times.
func (s *outfit) awaitLog(text string, n int) {
	s.t.Helper()
	backstage.Eventually(s.t, fmt.Sprintf("%q is logged %d times", text, n), patience, func() bool { return strings.Count(s.log(), text) >= n })
}

// readPID is what pid_file says, 0 for nothing.
func (s *outfit) readPID() int {
	text, err := os.ReadFile(s.file("pid" + s.name))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Errorf("pid_file says %q", text)
	}
	return pid
}

// signal sends one to the process of pid_file.
func (s *outfit) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.readPID(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// upgrade waits until a successor serves and its predecessor is gone.
func (s *outfit) upgrade() {
	s.t.Helper()
	old, log := s.readPID(), strings.Count(s.log(), "holdline has stopped")
	s.signal(syscall.SIGUSR2)
	backstage.Eventually(s.t, "a successor serves", patience, func() bool { return s.readPID() != old })
	s.awaitLog("holdline has stopped", log+1)
}
