package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"holdline/gateway"
)

// The one chat of the demo and who takes part in it.
const (
	demoChat    = 1
	demoVisitor = "Ann"
	demoAgent   = "Kim"
	// demoAgentUser is the agent's WordPress user.
	demoAgentUser = 1
)

// Values of wplc_chat_sessions.status that the demo sets (functions.php:1377 of
// WP Live Chat Support 8).
const (
	chatEnded   = 1
	chatPending = 2
	chatActive  = 3
)

// saying is one message to be stored.
type saying struct {
	who  string // chat.KindVisitor, chat.KindAgent, chat.KindSystem or saidForAgents
	text string
	rung bool // the doorbell is rung afterwards
	// clientID is the sender's id of what came through Holdline; "" for the rest.
	clientID string
}

// desk is where the demo writes, in PHP's place.
type desk struct {
	writer
	book *ledger
	// kind is "mariadb" or "memory".
	kind string
	// notice tells people where the rows are.
	notice string
	// byHand is a shell command that inserts a row; "" where there is none.
	byHand string
	// connect opens the site for the gateway; nil is the gateway's own way, over
	// the network and read-only.
	connect gateway.Connect
	// settle tells the site its address.
	settle func(ctx context.Context, url string) error
	close  func() error
}

// writer is safe for concurrent use.
type writer interface {
	// say stores a message and returns once it is committed.
	say(ctx context.Context, s saying) (receipt, error)
	// move sets the status of the chat and stores a note about it, in one
	// transaction.
	move(ctx context.Context, status int, note saying) (receipt, error)
	// find returns the row above after that a sender's client gave an id, or 0.
	find(ctx context.Context, who, clientID string, after int64) (int64, error)
	// chatStatus is the chat's status now.
	chatStatus(ctx context.Context) (int, error)
	// queries is how many queries Holdline has made so far, as the server
	// counts them.
	queries(ctx context.Context) (int64, error)
}

// receipt is a row of the demo's own with the moment of its COMMIT.
type receipt struct {
	ID int64 `json:"id"`
	// CommittedAt is when COMMIT was sent, in milliseconds since 1970: delays
	// that count from it never flatter.
	CommittedAt float64 `json:"committed_at"`
	Rung        bool    `json:"rung"`
}

func newReceipt(id int64, rung bool) receipt {
	return receipt{ID: id, CommittedAt: milliseconds(time.Now()), Rung: rung}
}

func milliseconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// ledger keeps the latest receipts. A row is entered just before its COMMIT, so
// nobody can have received a row that is not in here, unless it was inserted by
// hand. It is safe for concurrent use; the zero value is empty.
type ledger struct {
	mu   sync.Mutex
	rows []receipt
}

// ledgerSize is more than a page can miss between two looks.
const ledgerSize = 200

func (l *ledger) enter(r receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, r)
	if n := len(l.rows) - ledgerSize; n > 0 {
		l.rows = slices.Delete(l.rows, 0, n)
	}
}

// strike takes back a row whose COMMIT failed.
func (l *ledger) strike(r receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(have receipt) bool { return have == r })
}

func (l *ledger) list() []receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]receipt{}, l.rows...)
}
