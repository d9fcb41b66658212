package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"holdline/internal/wpsite"
)

// fpmStatus is PHP-FPM's status page. The page has a pool of its own in the test
// site: asking for it makes no worker busy and is not in Accepted.
type fpmStatus struct {
	Active   int `json:"active processes"`
	Accepted int `json:"accepted conn"`
	Total    int `json:"total processes"`
}

func parseFPMStatus(body []byte) (fpmStatus, error) {
	var s fpmStatus
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("read PHP-FPM's status page: %w: %.200q", err, body)
	}
	if s.Total == 0 {
		return s, fmt.Errorf("read PHP-FPM's status page: no workers in %.200q", body)
	}
	return s, nil
}

// gauges read what a site costs.
type gauges struct {
	site     *wpsite.Site
	root     *sql.DB // its own statements are told apart by its user
	client   *http.Client
	holdline *siteHoldline // nil while there is none
}

func newGauges(ctx context.Context, site *wpsite.Site) (*gauges, error) {
	root, err := site.OpenAs("root", "")
	if err != nil {
		return nil, err
	}
	root.SetMaxOpenConns(1)
	if _, err := root.ExecContext(ctx, "SET GLOBAL userstat = 1"); err != nil {
		root.Close()
		return nil, fmt.Errorf("have the database count for each user: %w", err)
	}
	return &gauges{site: site, root: root, client: &http.Client{Transport: &http.Transport{}}}, nil
}

func (g *gauges) close() {
	g.root.Close()
	g.client.CloseIdleConnections()
}

func (g *gauges) fpm(ctx context.Context) (fpmStatus, error) {
	body, err := g.get(ctx, g.site.UpstreamURL+"/fpm-status?json")
	if err != nil {
		return fpmStatus{}, fmt.Errorf("ask PHP-FPM's status page: %w", err)
	}
	return parseFPMStatus(body)
}

func (g *gauges) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := g.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200q", response.Status, body)
	}
	return body, err
}

// statements are the database's counts so far.
type statements struct {
	at        time.Time
	questions int64            // of all, what reads these counts included
	users     map[string]int64 // without the gauges' own
}

// ownStatements is how many of the questions between two calls of statements are
// the gauges' own: the SELECT of the first and the SHOW of the second.
const ownStatements = 2

// statements counts what each user has asked. MariaDB's user statistics speak of
// SELECTs, of rows written, and of the rest (SET, SHOW, PREPARE and such).
func (g *gauges) statements(ctx context.Context) (statements, error) {
	s := statements{at: time.Now(), users: map[string]int64{}}
	fail := func(err error) (statements, error) {
		return s, fmt.Errorf("read the database's counters: %w", err)
	}
	var name string
	err := g.root.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &s.questions)
	if err != nil {
		return fail(err)
	}
	rows, err := g.root.QueryContext(ctx,
		"SELECT user, select_commands + update_commands + other_commands FROM information_schema.user_statistics WHERE user <> 'root'")
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var user string
		var n int64
		if err := rows.Scan(&user, &n); err != nil {
			return fail(err)
		}
		s.users[user] = n
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return s, nil
}

// since is the load from before to s, with so many visitors.
func (s statements) since(before statements, visitors int) rate {
	seconds := s.at.Sub(before.at).Seconds()
	r := rate{
		Visitors: visitors, Users: map[string]float64{},
		PerSecond: float64(s.questions-before.questions-ownStatements) / seconds,
	}
	for user, n := range s.users {
		if n > before.users[user] {
			r.Users[user] = float64(n-before.users[user]) / seconds
		}
	}
	return r
}

// The programs whose cost is told apart.
const (
	costPHP      = "PHP-FPM"
	costMariaDB  = "MariaDB"
	costHoldline = "Holdline"
)

// processes are the ids of the programs' processes. PHP-FPM's are its workers:
// the master and the status page's own worker serve no page.
func (g *gauges) processes() (map[string][]int, error) {
	run := filepath.Dir(g.site.FPMSocket)
	php, err := readPID(filepath.Join(run, "php-fpm.pid"))
	if err != nil {
		return nil, err
	}
	workers, err := fpmWorkers(php)
	if err != nil {
		return nil, err
	}
	mariadb, err := readPID(filepath.Join(run, "mariadbd.pid"))
	if err != nil {
		return nil, err
	}
	pids := map[string][]int{costPHP: workers, costMariaDB: {mariadb}}
	if g.holdline != nil {
		pids[costHoldline] = []int{g.holdline.process.cmd.Process.Pid}
	}
	return pids, nil
}

func readPID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("find a server's process: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("find a server's process in %s: %w", path, err)
	}
	return pid, nil
}

func fpmWorkers(master int) ([]int, error) {
	family, err := processTree(master)
	if err != nil {
		return nil, err
	}
	var workers []int
	for _, pid := range family[1:] {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // the status page's worker comes and goes
		}
		if isPoolWorker(title) {
			workers = append(workers, pid)
		}
	}
	if len(workers) == 0 {
		return nil, fmt.Errorf("PHP-FPM (process %d) has no workers", master)
	}
	return workers, nil
}

// isPoolWorker tells from a process's title whether it serves pages: the status
// page's pool is named after the one it speaks of.
func isPoolWorker(title []byte) bool {
	text := string(bytes.TrimRight(title, "\x00 "))
	return strings.Contains(text, ": pool ") && !strings.HasSuffix(text, "_status")
}

// cost is CPU in seconds so far and memory in bytes now.
type cost struct {
	cpu    map[string]float64
	memory map[string]int64 // PSS; VmRSS of Holdline
	peers  int              // PHP-FPM's workers
}

func (g *gauges) cost() (cost, error) {
	pids, err := g.processes()
	if err != nil {
		return cost{}, err
	}
	c := cost{cpu: map[string]float64{}, memory: map[string]int64{}, peers: len(pids[costPHP])}
	for name, ids := range pids {
		if c.cpu[name], err = cpuSeconds(ids); err != nil {
			return c, err
		}
		m, err := readMemory(ids)
		if err != nil {
			return c, err
		}
		c.memory[name] = m.pss
		if name == costHoldline {
			c.memory[name] = m.rss
		}
	}
	return c, nil
}

// doorbells is how often Holdline's wake doorbell has rung.
func (g *gauges) doorbells(ctx context.Context) (int, error) {
	body, err := g.get(ctx, "http://"+g.holdline.admin.String()+"/metrics")
	if err != nil {
		return 0, fmt.Errorf("ask for Holdline's metrics: %w", err)
	}
	return metric(body, `holdline_doorbells_total{bell="wake"}`), nil
}

// metric reads a counter from Prometheus's text format; 0 when it is not there.
func metric(text []byte, name string) int {
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, name+" ")
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err == nil {
			return int(n)
		}
	}
	return 0
}
