package wplc

import (
	"encoding/json"
	"fmt"
	"strings"

	"holdline/internal/chat"
	"holdline/internal/phpser"
	"holdline/wpdb"
)

// Values of wplc_chat_msgs.originates (functions.php:1222-1229).
const (
	noteForVisitor = 0
	fromAgent      = 1
	fromVisitor    = 2
	noteForAgents  = 3
)

// record is one row of wplc_chat_msgs as it is stored.
type record struct {
	id, chat    int64
	from        []byte
	msg         []byte
	timestamp   []byte
	status      int64
	originates  int64
	other, rel  []byte
	afrom, ato  int64
	otherParsed phpser.Value
}

// fields are in the order of messageColumns. Texts are []byte because that takes
// NULL as well.
func (r *record) fields() []any {
	return []any{
		&r.id, &r.chat, &r.from, &r.msg, &r.timestamp, &r.status, &r.originates,
		&r.other, &r.rel, &r.afrom, &r.ato,
	}
}

// messageData is the Data of a message event.
type messageData struct {
	Originates int64           `json:"originates"`           // 0 note for the visitor, 1 agent, 2 visitor, 3 note for agents
	Read       bool            `json:"read"`                 // one of the plugin's own loops has delivered it
	Rel        string          `json:"rel,omitempty"`        // the id that the writing client gave it
	Other      json.RawMessage `json:"other,omitempty"`      // the plugin's extra fields, e.g. {"ntype":"joined",…}
	Unreadable bool            `json:"unreadable,omitempty"` // encrypted with an unknown key: no body
	Truncated  bool            `json:"truncated,omitempty"`  // the body is only the beginning
}

// Columns is the SELECT list that Decode reads. The connection must hand over
// datetimes as text (no parseTime).
func (s *Source) Columns() string { return s.columns }

// Decode makes the event of one row. Silent are rows that the plugin's loops show
// to nobody (an unknown originates, a chat id of 0) and those between agents.
func (s *Source) Decode(scan func(dest ...any) error) (wpdb.Row, error) {
	var r record
	if err := scan(r.fields()...); err != nil {
		return wpdb.Row{}, fmt.Errorf("wplc: read a row of %s: %w", s.Table(), err)
	}
	if r.chat <= 0 || r.afrom > 0 || r.ato > 0 || r.originates < noteForVisitor || r.originates > noteForAgents {
		return wpdb.Row{ID: r.id, Silent: true}, nil
	}
	r.parseOther()
	event, err := s.event(&r)
	if err != nil {
		return wpdb.Row{}, err
	}
	return wpdb.Row{ID: r.id, Event: event}, nil
}

func (s *Source) event(r *record) (chat.Event, error) {
	body := s.text.message(string(r.msg))
	if r.originates == noteForVisitor || r.originates == noteForAgents {
		body = s.text.note(string(r.msg))
	}
	data, err := json.Marshal(messageData{
		Originates: r.originates,
		Read:       r.status == 1,
		Rel:        string(r.rel),
		Other:      r.otherJSON(),
		Unreadable: body.unreadable,
		Truncated:  body.truncated,
	})
	if err != nil {
		return chat.Event{}, fmt.Errorf("wplc: encode row %d of %s: %w", r.id, s.Table(), err)
	}
	return chat.Event{
		Type:     chat.TypeMessage,
		Channel:  room{chat: r.chat, agents: r.originates == noteForAgents}.channel(),
		ID:       r.id,
		From:     r.party(),
		Body:     body.body,
		SentAt:   utc(string(r.timestamp), s.site.Location()),
		Data:     data,
		ClientID: r.clientID(),
	}, nil
}

// clientID is the id that the sender's client gave the message. What is no such id
// in the column was put there by somebody else, the plugin's REST route for one.
func (r *record) clientID() string {
	if id := string(r.rel); (r.originates == fromAgent || r.originates == fromVisitor) && chat.CheckClientID(id) == nil {
		return id
	}
	return ""
}

func (r *record) party() *chat.Party {
	p := &chat.Party{Kind: chat.KindSystem, Name: name(string(r.from))}
	switch r.originates {
	case fromAgent:
		p.Kind = chat.KindAgent
		if aid, ok := r.otherParsed.Get("aid"); ok {
			if id, ok := aid.Number(); ok && id > 0 {
				p.ID = id
			}
		}
	case fromVisitor:
		p.Kind = chat.KindVisitor
	}
	return p
}

// parseOther reads the serialized column; what is no array is as good as empty.
func (r *record) parseOther() {
	if len(r.other) == 0 {
		return
	}
	if v, err := phpser.Parse(r.other); err == nil {
		r.otherParsed = v
	}
}

// otherJSON is nil where there is nothing, or something that JSON cannot say.
func (r *record) otherJSON() json.RawMessage {
	if r.otherParsed.Len() == 0 {
		return nil
	}
	b, err := phpser.AppendJSON(nil, r.otherParsed)
	if err != nil {
		return nil
	}
	return b
}

// Filter restricts a read to the messages of channels. Names that are no chat's
// ("agents", a hash) match no row.
func (s *Source) Filter(names []string) (where string, args []any) {
	var everybody, agents []any
	for _, name := range names {
		switch r, ok := parseRoom(name); {
		case !ok || r.chat == 0:
		case r.agents:
			agents = append(agents, r.chat)
		default:
			everybody = append(everybody, r.chat)
		}
	}
	var conditions []string
	if everybody != nil {
		conditions = append(conditions, "`chat_sess_id` IN ("+placeholders(len(everybody))+") AND `originates` <> 3")
	}
	if agents != nil {
		conditions = append(conditions, "`chat_sess_id` IN ("+placeholders(len(agents))+") AND `originates` = 3")
	}
	if conditions == nil {
		return "FALSE", nil
	}
	return "(" + strings.Join(conditions, " OR ") + ")", append(everybody, agents...)
}

func placeholders(n int) string { return strings.Repeat("?,", n-1) + "?" }
