package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The transports, in the order they are measured.
const (
	overSSE  = "sse"
	overPoll = "poll"
	overWS   = "ws"
)

// basePath is Holdline's default.
const basePath = "/holdline/v1"

// holdline runs the real `holdline serve` beside the private database.
type holdline struct {
	program  string
	dir      string
	secret   string
	interval time.Duration // tail.interval
	db       *database

	address netip.AddrPort // where clients go
	process *process
	token   string

	tls   bool
	relay *relay // to the server's own address, with tls
}

func (h *holdline) Name() string { return "holdline" }

func (h *holdline) Start(ctx context.Context) error {
	if _, err := os.Stat(h.program); err != nil {
		return fmt.Errorf("no holdline program (make build, or --holdline PATH): %w", err)
	}
	var err error
	if h.token, err = mint(h.secret); err != nil {
		return err
	}
	if h.address, err = freePort(); err != nil {
		return err
	}
	admin, err := freePort()
	if err != nil {
		return err
	}
	env := h.environment(admin)
	if h.tls {
		certificate, err := selfSigned(h.dir)
		if err != nil {
			return err
		}
		env = append(env, certificate...)
		if h.relay, h.address, err = startRelay(h.address); err != nil {
			return err
		}
	}
	cmd := exec.Command(h.program, "serve")
	cmd.Env = append(withoutHoldline(os.Environ()), env...)
	cmd.Dir = h.dir
	if h.process, err = startProcess("holdline serve", filepath.Join(h.dir, "holdline.log"), cmd); err != nil {
		return err
	}
	err = h.process.await(ctx, func(ctx context.Context) bool {
		return answers(ctx, fmt.Sprintf("http://%s/readyz", admin))
	})
	if err != nil {
		return errors.Join(err, h.Stop())
	}
	return nil
}

// environment is the configuration: defaults, apart from what makes ten
// thousand clients of one user possible.
func (h *holdline) environment(admin netip.AddrPort) []string {
	const many = "60000"
	return []string{
		"HOLDLINE_LISTEN=" + h.address.String(),
		"HOLDLINE_ADMIN_LISTEN=" + admin.String(),
		"HOLDLINE_WORDPRESS_URL=http://" + h.address.String(),
		"HOLDLINE_DATABASE_ADDRESS=" + h.db.server.Socket(),
		"HOLDLINE_DATABASE_NAME=" + databaseName,
		"HOLDLINE_DATABASE_USER=" + readerName,
		"HOLDLINE_DATABASE_PASSWORD=" + h.db.password,
		"HOLDLINE_DATABASE_TABLE_PREFIX=wp_",
		"HOLDLINE_AUTH_SECRET=" + h.secret,
		"HOLDLINE_TAIL_INTERVAL=" + h.interval.String(),
		"HOLDLINE_HEARTBEAT=15s",
		"HOLDLINE_STATE_DIR=off",
		// More would leave no files for those that are about to ask.
		"HOLDLINE_LIMITS_CONNECTIONS=" + strconv.Itoa(maxClients+200),
		"HOLDLINE_LIMITS_PER_ADDRESS=" + many,
		"HOLDLINE_LIMITS_OPEN_PER_ADDRESS=" + many,
		"HOLDLINE_LIMITS_PER_USER=" + many,
		"HOLDLINE_LOG_LEVEL=warn",
	}
}

// withoutHoldline drops the caller's own settings.
func withoutHoldline(environ []string) []string {
	var kept []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "HOLDLINE_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// mint makes the token that every client shows.
func mint(secret string) (string, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "holdbench", "channels": []string{"wplc/*"}, "exp": time.Now().Add(6 * time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	return token, nil
}

func (h *holdline) Address() netip.AddrPort { return h.address }

func (h *holdline) PIDs() ([]int, error) { return processTree(h.process.cmd.Process.Pid) }

func (h *holdline) Stop() error {
	err := h.process.stop()
	if h.relay != nil {
		err = errors.Join(err, h.relay.Close())
		h.relay = nil
	}
	return err
}

// Wire makes the client's side of a transport on one chat.
func (h *holdline) Wire(transport string, channel int, scratch *[]byte) wire {
	return h.resume(transport, channel, scratch, nil)
}

// resume is Wire for a client that goes on from where its journey has come to;
// nil is for one that stays at home.
func (h *holdline) resume(transport string, channel int, scratch *[]byte, trip *journey) wire {
	channels, from := "wplc/"+strconv.Itoa(channel), ""
	if trip != nil && trip.cursor != "" {
		from = "&cursor=" + trip.cursor
	}
	switch transport {
	case overSSE:
		return &sseWire{request: h.get("sse?channels="+channels+from, "Accept: text/event-stream\r\n"), scratch: scratch, trip: trip}
	case overWS:
		return &wsWire{request: h.get("ws?channels="+channels+from, wsUpgrade+"Sec-WebSocket-Protocol: holdline.v1\r\n"), trip: trip}
	}
	first, poll := "poll?channels="+channels+from, "poll?wait=25&channels="+channels
	if from != "" {
		// Not to be held, once: only an answer tells that it is back.
		first += "&wait=0"
	}
	return &pollWire{
		first: h.get(first, ""),
		trip:  trip,
		next: func(dst []byte, prev *answer) ([]byte, error) {
			cursor, ok := topString(prev.body, "cursor")
			if !ok {
				return dst, fmt.Errorf("the answer to a poll has no cursor: %.200q", prev.body)
			}
			return append(dst, h.get(poll+"&cursor="+cursor, "")...), nil
		},
	}
}

// wsUpgrade are the header lines of RFC 6455 section 4.1 besides the protocol.
const wsUpgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + wsKey + "\r\n"

func (h *holdline) get(path, header string) []byte {
	return fmt.Appendf(nil, "GET %s/%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n",
		basePath, path, h.address, h.token, header)
}

// Publisher rings the wake doorbell after each COMMIT, as the companion plugin
// does.
func (h *holdline) Publisher() publisher { return waking{h} }

type waking struct{ *holdline }

func (w waking) Publish(ctx context.Context, channel int, body string) (time.Time, error) {
	committed, err := w.db.Publish(ctx, channel, body)
	if err != nil {
		return committed, err
	}
	return committed, w.wake(ctx)
}

func (h *holdline) wake(ctx context.Context) error {
	const body = "{}"
	url := fmt.Sprintf("http://%s%s/wake", h.address, basePath)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("ring the wake doorbell: %w", err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(h.secret))
	io.WriteString(mac, stamp+"."+body)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Holdline-Timestamp", stamp)
	request.Header.Set("X-Holdline-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return post(request)
}

// post sends a request whose answer matters only as success.
func post(request *http.Request) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("post to %s: %w", request.URL.Path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("post to %s: %w", request.URL.Path, err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("post to %s: %s: %.200q", request.URL.Path, response.Status, answer)
	}
	return nil
}
