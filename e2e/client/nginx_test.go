//go:build e2e

package client

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"holdline/e2e/backstage"
)

// fronts are the ways in: what each does to WebSocket, streams and polls.
var fronts = []struct{ name, config string }{
	{"open", ws(upgrade) + sse("") + poll("")},
	{"no WebSocket", ws("") + sse("") + poll("")},
	{"no WebSocket, streams buffered", ws("") + sse(buffer) + poll("")},
	{"no WebSocket, streams buffered, polls cut at 10 s", ws("") + sse(buffer) + poll("proxy_read_timeout 10s;")},
	{"no WebSocket, streams buffered, polls cut at 1 s", ws("") + sse(buffer) + poll("proxy_read_timeout 1s;")},
	{"WebSocket cut at 3 s", ws(upgrade+"proxy_read_timeout 3s;") + sse("") + poll("")},
	{"WebSocket now and then", ws("if (-f blocked) { return 403; } "+upgrade) + sse("") + poll("")},
}

const (
	upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; "
	buffer  = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_http_version 1.0; "
)

func ws(more string) string  { return location("ws", more) }
func sse(more string) string { return location("sse", more) }
func poll(more string) string {
	all := location("poll", more)
	for _, endpoint := range []string{"info", "check", "send", "signal"} {
		all += location(endpoint, "")
	}
	return all
}

func location(endpoint, more string) string {
	version := "proxy_http_version 1.1; "
	if strings.Contains(more, "proxy_http_version") {
		version = ""
	}
	return fmt.Sprintf("\t\tlocation = /holdline/v1/%s { proxy_pass http://holdline; %s%s}\n", endpoint, version, more)
}

// runNginx starts one nginx with all the fronts, each behind a cable, which also
// serves the test's page and the client. It returns their origins.
func (s *site) runNginx(target string) (origins []string) {
	t := s.t
	t.Helper()
	dir := t.TempDir()
	s.dir = dir
	folder := func(path ...string) string {
		abs, err := filepath.Abs(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return abs
	}
	var servers strings.Builder
	var listening []string
	for _, f := range fronts {
		address := backstage.FreeAddress(t)
		listening = append(listening, address)
		c := newCable(t, address)
		s.cables[f.name], s.fronts[f.name] = c, c.origin()
		_, port, err := net.SplitHostPort(c.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		origins = append(origins, c.origin(), "http://"+insecure+":"+port)
		config := strings.ReplaceAll(f.config, "-f blocked", "-f "+dir+"/blocked")
		fmt.Fprintf(&servers, "\tserver {\n\t\tlisten %s;\n%s\t\tlocation /client/ { alias %s/; }\n\t\tlocation / { root %s; }\n\t}\n",
			address, config, folder("..", "..", "wordpress", "client"), folder("page"))
	}
	config := fmt.Sprintf(`
daemon off;
master_process off; # nothing is left when the test is killed
pid pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	types { text/html html; text/javascript js mjs; }
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	upstream holdline { server %s; }
%s}
`, target, servers.String())
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	backstage.Start(t, exec.Command("/usr/sbin/nginx", "-p", dir, "-c", path, "-e", "stderr"))
	for _, address := range listening {
		backstage.AwaitListening(t, address)
	}
	return origins
}
