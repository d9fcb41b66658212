//go:build linux

package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/go-sql-driver/mysql"
	"github.com/golang-jwt/jwt/v5"
)

// stub is the least that the bench may take for `holdline serve`: a goroutine
// and a query every few milliseconds for each client. It runs as a process of
// its own from the test program and shares no code with Holdline.
type stub struct {
	db     *sql.DB
	secret string
}

// serveStub takes the environment that the bench gives to Holdline.
func serveStub() error {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "unix", os.Getenv("HOLDLINE_DATABASE_ADDRESS")
	cfg.User, cfg.Passwd = os.Getenv("HOLDLINE_DATABASE_USER"), os.Getenv("HOLDLINE_DATABASE_PASSWORD")
	cfg.DBName = os.Getenv("HOLDLINE_DATABASE_NAME")
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	s := &stub{db: sql.OpenDB(connector), secret: os.Getenv("HOLDLINE_AUTH_SECRET")}
	admin := http.NewServeMux()
	admin.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.db.PingContext(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	public := http.NewServeMux()
	public.HandleFunc("GET "+basePath+"/poll", s.allowed(s.poll))
	public.HandleFunc("GET "+basePath+"/sse", s.allowed(s.sse))
	public.HandleFunc("GET "+basePath+"/ws", s.allowed(s.ws))
	public.HandleFunc("POST "+basePath+"/wake", s.wake)
	ended := make(chan error, 2)
	go func() { ended <- serveOn(4, "HOLDLINE_ADMIN_LISTEN", admin) }()
	go func() { ended <- serveOn(3, "HOLDLINE_LISTEN", public) }()
	return <-ended
}

// serveOn takes the socket that it was started with (sd_listen_fds(3)), or binds.
func serveOn(fd uintptr, setting string, h http.Handler) error {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDNAMES") != "holdline:admin" {
		return http.ListenAndServe(os.Getenv(setting), h)
	}
	l, err := net.FileListener(os.NewFile(fd, setting))
	if err != nil {
		return err
	}
	return http.Serve(l, h)
}

// allowed wants the bench's token.
func (s *stub) allowed(next func(http.ResponseWriter, *http.Request, int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var claims struct {
			jwt.RegisteredClaims
			Channels []string `json:"channels"`
		}
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, err := jwt.ParseWithClaims(bearer, &claims, func(*jwt.Token) (any, error) { return []byte(s.secret), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
		chat, convErr := strconv.Atoi(strings.TrimPrefix(r.FormValue("channels"), "wplc/"))
		if err != nil || convErr != nil || len(claims.Channels) != 1 || claims.Channels[0] != "wplc/*" || claims.Subject == "" {
			http.Error(w, fmt.Sprint(err, convErr), http.StatusForbidden)
			return
		}
		next(w, r, chat)
	}
}

func (s *stub) wake(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(s.secret))
	fmt.Fprintf(mac, "%s.%s", r.Header.Get("X-Holdline-Timestamp"), body)
	if r.Header.Get("X-Holdline-Signature") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		http.Error(w, "the signature is wrong", http.StatusForbidden)
	}
}

// newest is the last row's id.
func (s *stub) newest(ctx context.Context) (id int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM wp_wplc_chat_msgs").Scan(&id)
	return id, err
}

// after waits for rows of a chat behind id: their events, and the last id.
func (s *stub) after(ctx context.Context, chat, id int) (events []string, last int, err error) {
	for {
		rows, err := s.db.QueryContext(ctx, "SELECT id, msg FROM wp_wplc_chat_msgs WHERE id > ? AND chat_sess_id = ? ORDER BY id", id, chat)
		if err != nil {
			return nil, id, err
		}
		for rows.Next() {
			var msg string
			if err := rows.Scan(&id, &msg); err != nil {
				return nil, id, err
			}
			events = append(events, fmt.Sprintf(`{"type":"message","channel":"wplc/%d","cursor":"%d","id":%[2]d,"body":%q}`, chat, id, msg))
		}
		if rows.Close(); len(events) > 0 {
			return events, id, rows.Err()
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return nil, id, err
		}
	}
}

func (s *stub) poll(w http.ResponseWriter, r *http.Request, chat int) {
	var events []string
	id, err := strconv.Atoi(r.FormValue("cursor"))
	if err != nil {
		id, err = s.newest(r.Context())
	} else {
		events, id, err = s.after(r.Context(), chat, id)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintf(w, `{"cursor":"%d","events":[%s]}`, id, strings.Join(events, ","))
}

func (s *stub) sse(w http.ResponseWriter, r *http.Request, chat int) {
	id, err := s.newest(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, ": hello\nretry: 30\n\n")
	for flush := http.NewResponseController(w).Flush; flush() == nil; {
		var events []string
		if events, id, err = s.after(r.Context(), chat, id); err != nil {
			return
		}
		for _, e := range events {
			fmt.Fprintf(w, "id: %d\nevent: message\ndata: %s\n\n", id, e)
		}
	}
}

func (s *stub) ws(w http.ResponseWriter, r *http.Request, chat int) {
	// Before the bench takes the client for held, and writes.
	id, err := s.newest(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"holdline.v1"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	if c.Subprotocol() != "holdline.v1" {
		c.Close(websocket.StatusPolicyViolation, "no subprotocol")
		return
	}
	ctx := c.CloseRead(r.Context())
	events := []string{`{"type":"hello"}`}
	for err == nil {
		for _, e := range events {
			// Ping waits for the pong: a client that does not answer gets nothing.
			if c.Ping(ctx) != nil || c.Write(ctx, websocket.MessageText, []byte(e)) != nil {
				return
			}
		}
		events, id, err = s.after(ctx, chat, id)
	}
}
