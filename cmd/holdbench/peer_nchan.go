package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	nginxProgram = "/usr/sbin/nginx"
	nchanModule  = "/usr/lib/nginx/modules/ngx_nchan_module.so"
)

// errNoNchan says what to install.
var errNoNchan = errors.New("nginx with Nchan is not installed: apt-get install nginx-light libnginx-mod-nchan")

//go:embed nchan.conf
var nchanConfig string

// nchan runs Debian's nginx with the Nchan module from a folder of its own.
type nchan struct {
	dir     string
	address netip.AddrPort
	process *process
}

func (n *nchan) Name() string { return "nchan" }

func (n *nchan) Start(ctx context.Context) error {
	for _, path := range []string{nginxProgram, nchanModule} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w (no %s)", errNoNchan, path)
		}
	}
	var err error
	if n.address, err = freePort(); err != nil {
		return err
	}
	config := filepath.Join(n.dir, "nginx.conf")
	text := strings.NewReplacer("@MODULE@", nchanModule, "@DIR@", n.dir, "@LISTEN@", n.address.String()).Replace(nchanConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure nginx: %w", err)
	}
	cmd := exec.Command(nginxProgram, "-p", n.dir, "-c", config, "-e", "stderr")
	if n.process, err = startProcess("nginx with Nchan", filepath.Join(n.dir, "nginx.log"), cmd); err != nil {
		return err
	}
	err = n.process.await(ctx, func(ctx context.Context) bool {
		return answers(ctx, fmt.Sprintf("http://%s/ready", n.address))
	})
	if err != nil {
		return errors.Join(err, n.Stop())
	}
	return nil
}

func (n *nchan) Address() netip.AddrPort { return n.address }

func (n *nchan) PIDs() ([]int, error) { return processTree(n.process.cmd.Process.Pid) }

func (n *nchan) Stop() error { return n.process.stop() }

// Wire makes the client's side of a transport on one channel.
func (n *nchan) Wire(transport string, channel int, scratch *[]byte) wire {
	switch transport {
	case overSSE:
		return &sseWire{request: n.get(channel, "Accept: text/event-stream\r\n"), scratch: scratch}
	case overWS:
		return &wsWire{request: n.get(channel, wsUpgrade)}
	}
	return &pollWire{
		first:      n.get(channel, ""),
		holdsFirst: true,
		// Nchan names the place in the validators of the last message.
		next: func(dst []byte, prev *answer) ([]byte, error) {
			if prev.head.lastModified == "" || prev.head.etag == "" {
				return dst, fmt.Errorf("an answer of Nchan has no validators: status %d", prev.head.status)
			}
			return append(dst, n.get(channel, fmt.Sprintf("If-Modified-Since: %s\r\nIf-None-Match: %s\r\n",
				prev.head.lastModified, prev.head.etag))...), nil
		},
	}
}

func (n *nchan) get(channel int, header string) []byte {
	return fmt.Appendf(nil, "GET /sub/%d HTTP/1.1\r\nHost: %s\r\n%s\r\n", channel, n.address, header)
}

// Publisher posts each message. Nchan is told by HTTP, so that its latency
// begins just before that request; Holdline's begins at the COMMIT, just before
// its own wake request.
func (n *nchan) Publisher() publisher { return nchanPublisher{n} }

type nchanPublisher struct{ *nchan }

func (n nchanPublisher) Publish(ctx context.Context, channel int, body string) (time.Time, error) {
	url := fmt.Sprintf("http://%s/pub/%d", n.address, channel)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return time.Time{}, fmt.Errorf("publish to Nchan: %w", err)
	}
	begin := time.Now()
	return begin, post(request)
}
