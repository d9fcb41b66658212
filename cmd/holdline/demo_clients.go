package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// demoClientsName is the command that the demo runs itself with.
const demoClientsName = "demo-clients"

// crowd says which clients to be. It comes over standard input, because a
// command line can be read by everybody on the machine.
type crowd struct {
	URL   string `json:"url"` // of the event stream
	Token string `json:"token"`
	Count int    `json:"count"`
}

// crowdReport is the one line of answer.
type crowdReport struct {
	Held  int    `json:"held"`
	Error string `json:"error,omitempty"`
}

// demoClients holds event streams and reads what comes, until its standard
// input ends.
func demoClients(ctx context.Context, p program) error {
	in := bufio.NewReader(p.stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return usageError{errors.New("this command is for the demo's own use: run holdline demo")}
	}
	var c crowd
	if err := json.Unmarshal(line, &c); err != nil {
		return usageError{fmt.Errorf("read which clients to be: %w", err)}
	}
	var streams streams
	defer streams.close()
	told := crowdReport{}
	if err := streams.open(ctx, c); err != nil {
		told.Error = err.Error()
	} else {
		told.Held = c.Count
	}
	if err := json.NewEncoder(p.stdout).Encode(told); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// streams are the connections of a crowd.
type streams struct {
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// open opens all of them, a few at a time: a listener's queue is short.
func (s *streams) open(ctx context.Context, c crowd) error {
	target, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("read the address: %w", err)
	}
	grp, ctx := errgroup.WithContext(ctx)
	grp.SetLimit(16)
	for range c.Count {
		if ctx.Err() != nil {
			break
		}
		grp.Go(func() error { return s.dial(ctx, target, c.Token) })
	}
	return grp.Wait()
}

func (s *streams) dial(ctx context.Context, target *url.URL, token string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n",
		target.RequestURI(), target.Host, token)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("refused (%s): %s", resp.Status, text)
	}
	s.wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) }) // ends with the connection
	return nil
}

func (s *streams) close() {
	s.mu.Lock()
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	s.wg.Wait()
}
