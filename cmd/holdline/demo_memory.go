package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/chat"
	"holdline/internal/memrows"
	"holdline/wpdb"
)

// memoryDesk is the chat of a demo without a database. The tail, the hub and the
// transports are the real ones; only the table is not.
type memoryDesk struct {
	table *memrows.Table
	book  *ledger

	mu     sync.Mutex
	status int
	sent   map[string]int64 // rows by who sent them and the client's id
}

// openMemory says why it is not the database.
func openMemory(cfg config.Config, book *ledger, log *slog.Logger, why string) *desk {
	m := &memoryDesk{table: memrows.New(), book: book, status: chatPending, sent: make(map[string]int64)}
	return &desk{
		writer: m, book: book, kind: "memory",
		notice: "NO DATABASE: the chat is kept in memory (" + why + ").\n" +
			"All else is real, but nothing here has been read from MySQL.",
		connect: func(_ context.Context, sink wpdb.Sink) (*gateway.Backend, error) {
			source := &memorySource{desk: m}
			tail := wpdb.NewTail(source, m.table, nil, sink, wpdb.TailOptions{
				Logger: log, Interval: cfg.Tail.Interval, IdleInterval: cfg.Tail.IdleInterval,
				GapWindow: cfg.Tail.GapWindow, Batch: cfg.Tail.Batch,
			})
			return &gateway.Backend{Feeds: []gateway.Feed{{Tail: tail, MayRead: source.mayRead, Speech: source}}}, nil
		},
		settle: func(context.Context, string) error { return nil },
		close:  func() error { return nil },
	}
}

// say implements writer.
func (m *memoryDesk) say(_ context.Context, s saying) (receipt, error) {
	return m.commit(s, func() {}), nil
}

// move implements writer.
func (m *memoryDesk) move(_ context.Context, status int, note saying) (receipt, error) {
	return m.commit(note, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.status = status
	}), nil
}

func (m *memoryDesk) commit(s saying, also func()) receipt {
	message := memrows.Message{Chat: demoChat, Kind: s.who, Body: s.text, At: time.Now().UTC().Truncate(time.Second), ClientID: s.clientID}
	switch s.who {
	case chat.KindVisitor:
		message.Name = demoVisitor
	case chat.KindAgent:
		message.Name = demoAgent
	}
	tx := m.table.Begin()
	r := newReceipt(tx.Insert(message), s.rung)
	m.book.enter(r)
	also()
	tx.Commit()
	if s.clientID != "" {
		m.mu.Lock()
		m.sent[sentKey(s.who, s.clientID)] = r.ID
		m.mu.Unlock()
	}
	return r
}

func sentKey(who, clientID string) string { return who + "/" + clientID }

// find implements writer.
func (m *memoryDesk) find(_ context.Context, who, clientID string, after int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id := m.sent[sentKey(who, clientID)]; id > after {
		return id, nil
	}
	return 0, nil
}

// chatStatus implements writer.
func (m *memoryDesk) chatStatus(context.Context) (int, error) {
	status, _ := m.state()
	return status, nil
}

// queries implements writer: what would have been queries.
func (m *memoryDesk) queries(context.Context) (int64, error) {
	q := m.table.Queries()
	return int64(q.Read + q.Find + q.Present + q.Edge + q.InFlight), nil
}

func (m *memoryDesk) state() (status, agent int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status == chatPending {
		return m.status, 0
	}
	return m.status, 1
}

// memorySource adds the chat's status to the rows, in the form in which package
// wplc tells it.
type memorySource struct {
	memrows.Source
	desk *memoryDesk
	told map[string]int // channel to status; of Status's one goroutine
}

var _ wpdb.Statuser = (*memorySource)(nil)

// Status implements wpdb.Statuser.
func (s *memorySource) Status(_ context.Context, _ wpdb.Querier, watched []string) ([]chat.Event, error) {
	status, agent := s.desk.state()
	told := make(map[string]int)
	var events []chat.Event
	for _, name := range []string{strconv.Itoa(demoChat), "agents"} {
		if !slices.Contains(watched, name) {
			continue
		}
		told[name] = status
		if had, ok := s.told[name]; ok && had == status {
			continue
		}
		data, err := json.Marshal(statusOf(name, status, agent))
		if err != nil {
			return nil, fmt.Errorf("encode a status: %w", err)
		}
		events = append(events, chat.Event{Type: chat.TypeStatus, Channel: "wplc/" + name, Data: data})
	}
	s.told = told
	return events, nil
}

// statusOf is the data of a status event.
func statusOf(name string, status, agent int) any {
	state := map[int]string{chatEnded: "ended", chatPending: "pending", chatActive: "active"}[status]
	if name != "agents" {
		return map[string]any{"status": status, "state": state, "agent_id": agent}
	}
	chats := []any{}
	if status != chatEnded {
		chats = append(chats, map[string]any{"id": demoChat, "name": demoVisitor, "status": status, "state": state})
	}
	return map[string]any{"visitors": len(chats), "chats": chats}
}

// Speaker implements gateway.Speech. The agent's token is the one that reads the
// list of chats.
func (s *memorySource) Speaker(ctx context.Context, v chat.Viewer, name, as string) (chat.Party, error) {
	status, _ := s.desk.state()
	who := s.Listener(ctx, v, as)
	switch {
	case name != strconv.Itoa(demoChat) || !v.HasGrant("wplc/"+name) || as == chat.KindAgent && who.Kind != as:
		return chat.Party{}, &chat.Refusal{Reason: chat.ReasonForbidden, Text: "Only the demo's visitor and its agent may write here."}
	case status == chatEnded:
		return chat.Party{}, &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."}
	}
	return who, nil
}

// Listener implements gateway.Speech.
func (s *memorySource) Listener(_ context.Context, v chat.Viewer, as string) chat.Party {
	if as != chat.KindVisitor && v.HasGrant("wplc/agents") {
		return chat.Party{Kind: chat.KindAgent, ID: demoAgentUser, Name: demoAgent}
	}
	return chat.Party{Kind: chat.KindVisitor, Name: demoVisitor}
}

// CheckText implements gateway.Speech.
func (s *memorySource) CheckText(body string) (string, error) {
	body = strings.TrimSpace(body)
	switch {
	case body == "":
		return "", &chat.Refusal{Reason: chat.ReasonEmpty, Text: "There is no text."}
	case utf8.RuneCountInString(body) > demoText:
		return "", &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("The text has more than %d characters.", demoText)}
	}
	return body, nil
}

// Unread implements gateway.Speech: rows in memory have no flags.
func (s *memorySource) Unread(context.Context, string, chat.Party, int64) ([]int64, error) {
	return nil, nil
}

// mayRead goes by tokens: there are no logins without a database.
func (s *memorySource) mayRead(_ context.Context, v chat.Viewer, name string) (bool, error) {
	return v.HasGrant("wplc/" + name), nil
}
