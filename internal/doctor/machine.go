package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"holdline/config"
)

// checkRunning asks the operator's listener of a running Holdline how it is.
func checkRunning(ctx context.Context, e *exam) []Finding {
	status, text, err := e.admin(ctx, "/readyz")
	if err != nil {
		return []Finding{warn("no Holdline answers at admin_listen ("+e.Config.AdminListen+")",
			"Start it: `holdline serve`, or `systemctl start holdline`; what only a running one can tell is left out here.")}
	}
	e.running = true
	if _, metrics, err := e.admin(ctx, "/metrics"); err == nil {
		e.maxFiles = int(metric(metrics, "process_max_fds"))
	}
	switch {
	case status == http.StatusOK && strings.TrimSpace(text) == "ready":
		return ok("it runs and is ready")
	case status == http.StatusServiceUnavailable && strings.HasPrefix(text, "not ready: "):
		return []Finding{fault("it runs, but takes no clients: "+strings.TrimSpace(strings.TrimPrefix(text, "not ready: ")),
			"Mend what the other findings say; it then goes on by itself.")}
	}
	e.running = false
	return []Finding{fault(fmt.Sprintf("something else than Holdline answers at admin_listen (%s), with %d", e.Config.AdminListen, status),
		"Give admin_listen an address of its own.")}
}

// admin asks the operator's listener.
func (e *exam) admin(ctx context.Context, what string) (status int, text string, err error) {
	listen := e.Config.AdminListen
	transport := &http.Transport{DisableKeepAlives: true}
	host := listen
	if socket, isUnix := strings.CutPrefix(listen, "unix:"); isUnix {
		host = "holdline"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+what, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(answer.Body, most))
	return answer.StatusCode, string(body), err
}

// metric is the value of a metric without labels in Prometheus's text format; 0
// when it is not there.
func metric(text, name string) float64 {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), name+" "); found {
			n, err := strconv.ParseFloat(rest, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// reservedFiles are kept by the gateway for all but held connections
// (reservedDescriptors there); fewFiles is what even a small site needs.
const (
	reservedFiles = 256
	fewFiles      = 1024 + reservedFiles
)

// checkDescriptors tells how many connections the file limit lets Holdline hold.
func checkDescriptors(_ context.Context, e *exam) []Finding {
	files, whose := e.maxFiles, "the running Holdline"
	if files == 0 {
		files, whose = descriptors(), "a program started here"
	}
	if files == 0 {
		return skipped("the limit is not known on this system")
	}
	wanted := e.Config.Limits.Connections
	room := max(0, files-reservedFiles)
	const raise = "Raise the limit: LimitNOFILE=65536 in Holdline's systemd unit, `ulimit -n 65536` before it is started elsewhere, or nofile in /etc/security/limits.conf"
	text := fmt.Sprintf("%s may open %d files, which is room for %d connections", whose, files, room)
	switch {
	case files < fewFiles && room < wanted:
		return []Finding{fault(text+" at a time", raise+".")}
	case room < wanted:
		return []Finding{warn(fmt.Sprintf("%s; limits.connections is %d", text, wanted), raise+fmt.Sprintf("; or lower limits.connections to %d.", room))}
	}
	return ok(text)
}

// What connections cost, for an estimate: Holdline's own kilobyte and the
// kernel's memory for two sockets, the browser's and the web server's.
const (
	programBytes    = 20 << 20
	connectionBytes = 1<<10 + 2*(4<<10)
)

// checkMemory estimates how many connections the memory suffices for.
func checkMemory(_ context.Context, e *exam) []Finding {
	limit, from := memoryLimit(e.Root)
	if limit == 0 {
		return skipped("the memory limit is not known on this system")
	}
	files := e.maxFiles
	if files == 0 {
		files = descriptors()
	}
	byMemory := max(0, limit-programBytes) / connectionBytes
	capacity := min(byMemory, int64(e.Config.Limits.Connections))
	if files > 0 {
		capacity = min(capacity, int64(max(0, files-reservedFiles)))
	}
	text := fmt.Sprintf("%d MB (%s); estimated capacity %d connections", limit>>20, from, capacity)
	if byMemory < int64(e.Config.Limits.Connections) {
		return []Finding{warn(fmt.Sprintf("%d MB (%s) suffice for about %d connections; limits.connections is %d", limit>>20, from, byMemory, e.Config.Limits.Connections),
			fmt.Sprintf("Give it more memory, or lower limits.connections to %d, so that it refuses clients before the system ends it.", byMemory))}
	}
	return ok(text)
}

// memoryLimit is the least of what the control groups of this process allow and
// what the machine has; 0 when nothing is known. See
// https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max).
func memoryLimit(root fs.FS) (limit int64, from string) {
	take := func(n int64, what string) {
		if n > 0 && (limit == 0 || n < limit) {
			limit, from = n, what
		}
	}
	take(memTotal(root), "the machine's")
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit, from
	}
	for line := range strings.SplitSeq(string(groups), "\n") {
		parts := strings.SplitN(line, ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) { // a parent's limit counts too
				take(number(root, path.Join("sys/fs/cgroup", dir, "memory.max")), "the control group's limit")
				if dir == "/" {
					break
				}
			}
		case strings.Contains(","+parts[1]+",", ",memory,"):
			take(number(root, path.Join("sys/fs/cgroup/memory", path.Clean("/"+parts[2]), "memory.limit_in_bytes")), "the control group's limit")
		}
	}
	return limit, from
}

// number reads a file that holds one; 0 for none, such as "max".
func number(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// memTotal is the machine's memory (proc_meminfo(5)), in bytes.
func memTotal(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "MemTotal:"); found {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil || kb < 0 || kb > 1<<40 {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

// checkFolders looks whether what has to outlive the process can be written.
func checkFolders(_ context.Context, e *exam) []Finding {
	spool, state := e.Config.Spool.Dir, e.Config.StateDirs(e.Env)
	if spool == "" && state == nil {
		if e.Config.StateDir == config.StateOff {
			return []Finding{warn("state_dir is off and spool.dir is not set, so browsers cannot send messages", "Set spool.dir to a folder of Holdline's own.")}
		}
		return []Finding{fault("there is no folder for state and messages: none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set", "Set state_dir to a folder of Holdline's own.")}
	}
	var found []Finding
	var good []string
	if spool != "" {
		if why := writable(spool); why != "" {
			found = append(found, fault("spool.dir: "+why, "Make the folder, and give it to the user that Holdline runs as: install -d -m 700 -o USER "+spool+"."))
		} else {
			good = append(good, spool)
		}
	}
	for i, dir := range state { // the first that can be written to is taken
		why := writable(dir)
		if why == "" {
			good = append(good, dir)
			break
		}
		if i == len(state)-1 {
			found = append(found, fault("no folder for state: "+why, "Set state_dir to a folder that the user that Holdline runs as may write to: install -d -m 700 -o USER "+dir+"."))
		}
	}
	return orOK(found, strings.Join(good, " and ")+" can be written to, by "+user())
}

// writable tells why a folder cannot be used; "" when it can, or could be made.
func writable(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if os.IsNotExist(err) && at != filepath.Dir(at) {
			continue // the gateway makes it in the nearest one that is there
		}
		if err != nil {
			return err.Error()
		}
		if !info.IsDir() {
			return at + " is not a folder"
		}
		if at == dir && info.Mode().Perm()&0o022 != 0 {
			return fmt.Sprintf("others may write to %s (%v)", dir, info.Mode().Perm())
		}
		f, err := os.CreateTemp(at, ".holdline-doctor-*")
		if err != nil {
			return fmt.Sprintf("%s may not write to %s", user(), at)
		}
		name := f.Name()
		if err := f.Close(); err != nil {
			return err.Error()
		}
		if err := os.Remove(name); err != nil {
			return err.Error()
		}
		return ""
	}
}

// user is who looked: Holdline itself may run as another.
func user() string { return "user " + strconv.Itoa(os.Getuid()) }
