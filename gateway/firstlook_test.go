package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"holdline/gateway"
	"holdline/wpdb"
)

// Who comes back while a process starts waits for its first look at the site, and
// is not told to come again; the operator need not wait.
func TestVisitorsWaitForTheFirstLook(t *testing.T) {
	looked := make(chan struct{})
	s := prepareSite(t, func(o *gateway.Options) {
		o.Connect = func(ctx context.Context, _ wpdb.Sink) (*gateway.Backend, error) {
			select {
			case <-looked:
			case <-ctx.Done():
			}
			return nil, errors.New("the site is away")
		}
	})
	s.start()
	if status, _ := s.admin(t, "/healthz"); status != http.StatusOK {
		t.Error("/healthz", status)
	}
	conn, err := net.Dial("tcp", s.gw.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "GET /holdline/v1/poll?channels=wplc/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	answer := bufio.NewReader(conn)
	if _, err := answer.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("answered before it was known whether the site can be read: %v", err)
	}
	close(looked)
	conn.SetReadDeadline(time.Time{})
	response, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		t.Error(response.Status, response.Header)
	}
}
