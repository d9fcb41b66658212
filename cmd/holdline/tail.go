package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/r3labs/sse/v2"
	"github.com/spf13/pflag"
	"gopkg.in/cenkalti/backoff.v1"

	"holdline/config"
	"holdline/internal/token"
)

// tail prints the live events of channels, one JSON object per line, and holds
// the line through restarts of either side: every row once, from its cursor on.
func tail(ctx context.Context, p program) error {
	var at, bearer, cursor string
	cfg, err := load(p, func(f *pflag.FlagSet) {
		f.StringVar(&at, "url", "", "address of the gateway with its base path (default: this configuration's listener)")
		f.StringVar(&bearer, "token", "", "token to come with (default: one minted with auth.secret)")
		f.StringVar(&cursor, "cursor", "", "begin behind this cursor instead of at the present")
	})
	if err != nil {
		return err
	}
	if len(cfg.Args) == 0 {
		return usageError{errors.New("say which channels to print: holdline tail wplc/42 wplc/agents")}
	}
	if at == "" {
		if at, err = localURL(cfg); err != nil {
			return usageError{err}
		}
	}
	if bearer == "" {
		if err := completeSecret(&cfg); err != nil {
			return err
		}
	}
	if bearer == "" && !cfg.Auth.Secret.Empty() {
		claims := token.Claims{Subject: "holdline tail", Channels: cfg.Args, Expires: time.Now().Add(24 * time.Hour)}
		if bearer, err = (token.Keys{Secret: []byte(cfg.Auth.Secret.Reveal())}).Mint(claims); err != nil {
			return usageError{err}
		}
	}
	t := newTailer(at, strings.Join(cfg.Args, ","), bearer, cursor)
	return t.run(ctx, p.stdout, p.stderr)
}

func localURL(cfg config.Config) (string, error) {
	if strings.HasPrefix(cfg.Listen, "unix:") {
		return "", errors.New("the gateway listens on a unix socket: say --url with the address browsers use")
	}
	if cfg.TLS.On() {
		return "", errors.New("the gateway speaks TLS, with a certificate for its name: say --url with the address browsers use")
	}
	return "http://" + cfg.Listen + cfg.BasePath, nil
}

// tailer is one r3labs client inside a reconnect loop of our own: the client's
// own loop takes a clean end of the stream for the end of all, gives up after a
// quarter of an hour and cannot be cancelled.
type tailer struct {
	client *sse.Client
	after  time.Duration // what the server last told us to wait; 0 for nothing
	heard  bool          // this attempt got through
}

func newTailer(at, channels, bearer, cursor string) *tailer {
	t := &tailer{client: sse.NewClient(at+"/sse?channels="+url.QueryEscape(channels), sse.ClientMaxBufferSize(4<<20))}
	t.client.Connection.Transport = wholeBlocks{http.DefaultTransport}
	t.client.ReconnectStrategy = &backoff.StopBackOff{}
	t.client.ResponseValidator = t.validate
	if bearer != "" {
		t.client.Headers["Authorization"] = "Bearer " + bearer
	}
	if cursor != "" {
		t.client.LastEventID.Store([]byte(cursor))
	}
	return t
}

// errRefused is an answer that a second attempt would only repeat.
var errRefused = errors.New("refused")

func (t *tailer) validate(_ *sse.Client, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read the refusal: %w", err)
	}
	var told struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &told) != nil || told.Error == "" {
		told.Error = resp.Status
	}
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return errors.New(told.Error)
	}
	return fmt.Errorf("%w: %s", errRefused, told.Error)
}

func (t *tailer) run(ctx context.Context, stdout, stderr io.Writer) error {
	for failures := 0; ; failures++ {
		t.heard, t.after = false, 0
		err := t.client.SubscribeRawWithContext(ctx, func(e *sse.Event) { t.print(e, stdout) })
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errRefused) {
			return err
		}
		if t.heard {
			failures = 0
		}
		wait := t.after
		if wait == 0 {
			top := min(10*time.Second, 250*time.Millisecond<<min(failures, 6))
			wait = top/4 + rand.N(top)
		}
		fmt.Fprintf(stderr, "holdline: the line is down (%s); again in %s\n", reason(err), wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func reason(err error) string {
	if err == nil {
		return "the server ended it"
	}
	return err.Error()
}

// print writes an event's JSON. Blocks without data only move the cursor, which
// the client keeps by itself.
func (t *tailer) print(e *sse.Event, stdout io.Writer) {
	t.heard = true
	if string(e.Event) == "reconnect" {
		var hint struct {
			Data struct {
				AfterMS int64 `json:"after_ms"`
			} `json:"data"`
		}
		if json.Unmarshal(e.Data, &hint) == nil {
			t.after = min(time.Duration(hint.Data.AfterMS)*time.Millisecond, time.Minute)
		}
		return
	}
	if len(e.Data) > 0 {
		fmt.Fprintf(stdout, "%s\n", e.Data)
	}
}
