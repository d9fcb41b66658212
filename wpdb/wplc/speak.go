package wplc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"holdline/internal/chat"
)

// As whom a browser wants to be taken, where it could be both: an agent who tries
// the site's own chat box is an agent by login and a visitor by cookie.
const (
	asAny     = ""
	asVisitor = chat.KindVisitor
	asAgent   = chat.KindAgent
)

// Speaker tells who a viewer is on the channel wplc/<name>, if it may write there
// now. as is "", "visitor" or "agent".
//
// An agent is who MayRead takes for one by login, or the WordPress user that a
// token names, on channels that the token grants. A visitor is who has a grant of
// this very chat: a grant of all chats is an agent's, and makes nobody the visitor
// of each. Without as, an agent's right comes first.
//
// Messages are taken while a chat is pending, active, minimised or unanswered, the
// statuses in which the agents' list shows it. The plugin's function records them
// in any status, and even begins a chat for a number that does not exist
// (functions.php, wplc_record_chat_msg), but its pages offer no field to write in
// before a chat has begun nor after it has ended, and nobody would be told.
//
// The error is a *chat.Refusal (bad_request, forbidden, closed, unsupported), or
// one of the database. Safe for concurrent use; one query for the chat, by its
// primary key, besides MayRead's look-ups.
func (s *Source) Speaker(ctx context.Context, v chat.Viewer, name, as string) (chat.Party, error) {
	r, ok := parseRoom(name)
	switch {
	case as != asAny && as != asVisitor && as != asAgent:
		return chat.Party{}, &chat.Refusal{Reason: chat.ReasonBadRequest, Text: `as must be "visitor" or "agent", or be left out.`}
	case !ok || r.chat == 0 || r.agents:
		return chat.Party{}, &chat.Refusal{Reason: chat.ReasonForbidden, Text: "Nobody writes on this channel, only on that of a chat: wplc/ and its number."}
	case s.facts.Version != 8:
		// 5.x has neither a column for the client's id, without which a message that
		// is sent again could be stored twice, nor a function that takes one.
		return chat.Party{}, &chat.Refusal{Reason: chat.ReasonUnsupported, Text: "This version of WP Live Chat Support takes messages from its own pages only; 8.0 and later take them from here."}
	}
	who, err := s.speaks(ctx, v, r, as)
	if err != nil {
		return chat.Party{}, err
	}
	visitor, err := s.openChat(ctx, r.chat)
	if err != nil {
		return chat.Party{}, err
	}
	if who.Kind == chat.KindVisitor {
		who.Name = visitor
	}
	return who, nil
}

// speaks is the part of Speaker that does not look at the chat.
func (s *Source) speaks(ctx context.Context, v chat.Viewer, r room, as string) (chat.Party, error) {
	if as != asVisitor {
		id, err := s.agentOf(ctx, v, v.HasGrant(r.channel()))
		if err != nil {
			return chat.Party{}, fmt.Errorf("wplc: find out whether the viewer is an agent: %w", err)
		}
		if id > 0 {
			return s.agent(id), nil
		}
	}
	if as != asAgent && slices.Contains(v.Granted, r.channel()) {
		return chat.Party{Kind: chat.KindVisitor}, nil
	}
	return chat.Party{}, &chat.Refusal{Reason: chat.ReasonForbidden, Text: "Only an agent who is logged in, or the visitor of this chat, may write in it."}
}

// Listener is who a viewer is to the others of a channel, without a look at the
// chat: an agent by login or by a token's user, else a visitor, whose name only
// Speaker knows. What MayRead says is for the caller to heed. Safe for concurrent
// use; while the database cannot be asked, everybody is a visitor.
func (s *Source) Listener(ctx context.Context, v chat.Viewer, as string) chat.Party {
	if as != asVisitor {
		if id, err := s.agentOf(ctx, v, len(v.Granted) > 0); err == nil && id > 0 {
			return s.agent(id)
		}
	}
	return chat.Party{Kind: chat.KindVisitor}
}

// agentOf is the WordPress user as which a viewer is an agent, 0 for none. What a
// token says of its user counts where the token grants something.
func (s *Source) agentOf(ctx context.Context, v chat.Viewer, granted bool) (int64, error) {
	candidates := []int64{v.UserID}
	if granted && v.TokenUser != v.UserID {
		candidates = append(candidates, v.TokenUser)
	}
	for _, id := range candidates {
		if id <= 0 {
			continue
		}
		if is, err := s.isAgent(ctx, id); is || err != nil {
			return id, err
		}
	}
	return 0, nil
}

// agent is an agent as its messages will show it: the plugin writes "Admin", which
// is not translated, and Pro an agent's own name, which only PHP knows.
func (s *Source) agent(id int64) chat.Party {
	p := chat.Party{Kind: chat.KindAgent, ID: id, Name: "Admin"}
	if s.facts.Pro {
		p.Name = ""
	}
	return p
}

// openChat returns the visitor's name of a chat that takes messages.
func (s *Source) openChat(ctx context.Context, id int64) (visitor string, err error) {
	var status int64
	var stored []byte
	found := false
	query := "SELECT `status`, LEFT(`name`, 150) FROM " + quote(s.sessionTable()) + " WHERE `id` = ?"
	err = eachRow(ctx, s.site, query, []any{id}, func(scan func(...any) error) error {
		found = true
		return scan(&status, &stored)
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("wplc: look at chat %d: %w", id, err)
	case !found:
		return "", &chat.Refusal{Reason: chat.ReasonClosed, Text: "There is no such chat."}
	case status == statusBrowsing || status == statusInvited:
		return "", &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has not begun."}
	case !isListed(status):
		return "", &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."}
	case len(stored) == 0:
		return "Guest", nil // as wplc_record_chat_msg has it
	}
	return name(string(stored)), nil
}

// CheckText returns a text as every reader will be shown it once it is stored, or
// a *chat.Refusal: empty, too_long (for what one event may hold; the column takes
// more), or text. White space around it and control characters go, lines end with
// "\n"; all else stays as it was typed.
//
// That is more than the plugin's own pages keep: those take out whatever follows a
// "<", and a backslash, and silently lose a message with an emoji. Here such
// characters are stored as HTML character references, which the plugin's
// pages show as what they stand for (references.go). And so no markup comes this way,
// whereas the plugin's ajax handlers let <a> and <img> pass with all attributes.
func (s *Source) CheckText(body string) (string, error) {
	if !utf8.ValidString(body) {
		return "", &chat.Refusal{Reason: chat.ReasonText, Text: "The text is not UTF-8."}
	}
	body = strings.ReplaceAll(body, "\r\n", "\n")
	body = strings.TrimSpace(strings.Map(printable, body))
	switch {
	case body == "":
		return "", &chat.Refusal{Reason: chat.ReasonEmpty, Text: "There is no text."}
	case len(body) > maxBody || storedSize(body) > maxSent:
		return "", &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("The text has more than %d bytes.", maxBody)}
	}
	return body, nil
}

// printable drops the control characters of ASCII and of Unicode (C1) that nobody
// types and a paste brings along, and keeps line breaks and tabs.
func printable(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case r == '\r':
		return '\n'
	case r < ' ' || r >= 0x7F && r < 0xA0:
		return -1
	}
	return r
}

// Bounds of one look-up by Unread: there is no index on the chat's number, so it
// walks the primary key. A message that is older than so many rows of the whole
// site and not flagged yet is flagged by the plugin's own loops or never.
const (
	unreadWindow = 5000
	mostUnread   = 500
)

// Unread returns the ids, at most 500 and the highest, of the messages up to upTo
// that a reader of wplc/<name> is told by the other side or by the plugin, and
// that nobody has flagged as read. It is for writing back what a reader has seen.
// Safe for concurrent use; one range of the primary key, of 5,000 rows at most.
func (s *Source) Unread(ctx context.Context, name string, reader chat.Party, upTo int64) ([]int64, error) {
	r, ok := parseRoom(name)
	kinds := s.toldTo(reader, r.agents)
	if !ok || r.chat == 0 || kinds == nil || upTo <= 0 {
		return nil, nil
	}
	query := fmt.Sprintf("SELECT `id` FROM %s WHERE `id` <= ? AND `id` > ? AND `chat_sess_id` = ? AND `status` = 0"+
		" AND `originates` IN (%s)", quote(s.Table()), numbers(kinds))
	if s.facts.Version == 8 {
		query += " AND `afrom` = 0 AND `ato` = 0" // private ones are not on the channel
	}
	args := []any{upTo, upTo - unreadWindow, r.chat, mostUnread}
	var ids []int64
	err := eachRow(ctx, s.site, query+" ORDER BY `id` DESC LIMIT ?", args, func(scan func(...any) error) error {
		ids = append(ids, 0)
		return scan(&ids[len(ids)-1])
	})
	if err != nil {
		return nil, fmt.Errorf("wplc: look for unread messages of chat %d: %w", r.chat, err)
	}
	slices.Reverse(ids)
	return ids, nil
}

// Sent returns the rows that messages of one side of the chat wplc/<name> have, by
// client id, as far as they have one with an id above after; kind is the side's. A
// table whose ids began anew below after has none. Safe for concurrent use; one range
// of the primary key from after on.
func (s *Source) Sent(ctx context.Context, name, kind string, after int64, clientIDs []string) (map[string]int64, error) {
	r, ok := parseRoom(name)
	originates := map[string]int64{chat.KindAgent: fromAgent, chat.KindVisitor: fromVisitor}[kind]
	if !ok || r.chat == 0 || r.agents || originates == 0 || len(clientIDs) == 0 || s.facts.Version != 8 {
		return nil, nil
	}
	args := []any{after, r.chat, originates}
	for _, id := range clientIDs {
		args = append(args, id)
	}
	query := "SELECT `id`, `rel` FROM " + quote(s.Table()) + " WHERE `id` > ? AND `chat_sess_id` = ?" +
		" AND `originates` = ? AND `rel` IN (?" + strings.Repeat(",?", len(clientIDs)-1) + ") ORDER BY `id`"
	sent := make(map[string]int64)
	err := eachRow(ctx, s.site, query, args, func(scan func(...any) error) error {
		var id int64
		var clientID string // also one that differs in capitals, which the caller has not asked for
		err := scan(&id, &clientID)
		if err == nil && sent[clientID] == 0 {
			sent[clientID] = id
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("wplc: look for messages of chat %d: %w", r.chat, err)
	}
	return sent, nil
}

// toldTo is what of a channel the plugin's loops deliver to a reader, and flag: to
// agents their notes come on a channel of its own here.
func (s *Source) toldTo(reader chat.Party, agents bool) []int64 {
	switch {
	case reader.Kind == chat.KindAgent && agents:
		return []int64{noteForAgents}
	case reader.Kind == chat.KindAgent:
		return []int64{fromVisitor}
	case reader.Kind == chat.KindVisitor && !agents:
		return []int64{fromAgent, noteForVisitor}
	}
	return nil
}
