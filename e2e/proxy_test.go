//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdline/e2e/backstage"
)

// front is a proxy that other people wrote, set up to pass everything to a
// target.
type front struct {
	name    string
	address string
	// upgrades: passes WebSockets on.
	upgrades bool
	// keeps: keeps its connections to the target for the next request.
	keeps bool
	// watches: hangs up when the client does, even while it waits for an answer.
	// Apache looks after its client only when it has something to write.
	watches bool
	// delays: holds small answers back even if it is asked not to.
	delays bool
	config string // of nginx's location or Apache's virtual host
}

// nginxFronts are the ways in which nginx is found in front of sites. The first
// is what it does with nothing but a proxy_pass.
func nginxFronts() []*front {
	const upgrade = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; "
	return []*front{
		{name: "nginx, HTTP 1.0, buffering", watches: true, config: "proxy_http_version 1.0; proxy_buffering on;"},
		{name: "nginx, HTTP 1.0, no buffering", watches: true, config: "proxy_http_version 1.0; proxy_buffering off;"},
		{name: "nginx, HTTP 1.1, buffering", upgrades: true, keeps: true, watches: true, config: upgrade + "proxy_buffering on;"},
		{name: "nginx, HTTP 1.1, no buffering", upgrades: true, keeps: true, watches: true, config: upgrade + "proxy_buffering off;"},
		// With chunks nginx would pass on what it has anyway.
		{name: "nginx, HTTP 1.0, buffering by force", watches: true, delays: true, config: "proxy_http_version 1.0; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"},
	}
}

// runNginx starts one nginx with all the fronts.
func runNginx(t *testing.T, target string, fronts []*front) {
	t.Helper()
	dir := t.TempDir()
	var servers strings.Builder
	for _, f := range fronts {
		f.address = backstage.FreeAddress(t)
		fmt.Fprintf(&servers, "\tserver {\n\t\tlisten %s;\n\t\tlocation /holdline/ { proxy_pass http://holdline; %s }\n\t}\n", f.address, f.config)
	}
	config := fmt.Sprintf(`
daemon off;
master_process off; # nothing is left when the test is killed
pid pid;
error_log stderr warn;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
	upstream holdline { server %s; keepalive 4; }
%s}
`, target, servers.String())
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	backstage.Start(t, exec.Command("/usr/sbin/nginx", "-p", dir, "-c", path, "-e", "stderr"))
	for _, f := range fronts {
		backstage.AwaitListening(t, f.address)
	}
}

// runApache starts Apache with mod_proxy.
func runApache(t *testing.T, target string) *front {
	t.Helper()
	dir := t.TempDir()
	f := &front{name: "Apache", upgrades: true, keeps: true, address: backstage.FreeAddress(t)}
	var modules strings.Builder
	for _, name := range []string{"mpm_event", "authz_core", "proxy", "proxy_http"} {
		fmt.Fprintf(&modules, "LoadModule %[1]s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", name)
	}
	config := fmt.Sprintf(`
%s
ServerRoot %s
PidFile pid
DefaultRuntimeDir .
ErrorLog log
Mutex pthread
ServerName localhost
Listen %s
User www-data
Group www-data
# The only process (-X), so nothing is left when the test is killed.
ThreadsPerChild 32
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
ProxyPass /holdline/ http://%s/holdline/ upgrade=websocket
`, modules.String(), dir, f.address, target)
	path := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	backstage.Start(t, exec.Command("/usr/sbin/apache2", "-X", "-f", path))
	t.Cleanup(func() {
		if text, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("Apache's log:\n%s", backstage.LastLines(string(text)))
		}
	})
	backstage.AwaitListening(t, f.address)
	return f
}
