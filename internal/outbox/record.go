package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdline/internal/chat"
	"holdline/internal/spool"
)

// recordVersion is of the JSON that is the spool's body. It changes when an older
// Holdline would misread it.
const recordVersion = 1

// record is a message but for its channel, which is the lane, and its client id,
// which with the sender's kind is the spool's id.
type record struct {
	Version int        `json:"v"`
	From    chat.Party `json:"from"`
	Body    string     `json:"body"`
	SentAt  time.Time  `json:"sent_at"`
	After   int64      `json:"after,omitempty"`
}

// spoolID makes visitors and agents unable to take each other's client ids.
func spoolID(m Message) string { return m.From.Kind + "/" + m.ClientID }

// encode is the inverse of decode.
func encode(m Message) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it would make markup six times as long
	err := enc.Encode(record{recordVersion, m.From, m.Body, m.SentAt, m.After})
	if err != nil {
		return nil, fmt.Errorf("outbox: encoding a message: %w", err)
	}
	return b.Bytes(), nil
}

// decode reads what encode wrote and a disk may have changed. With an error the
// message has what lane and id tell of it, for its sender to hear of its end.
func decode(lane, id string, body []byte) (Message, error) {
	kind, clientID, _ := strings.Cut(id, "/")
	m := Message{Channel: lane, ClientID: clientID, From: chat.Party{Kind: kind}}
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return m, fmt.Errorf("outbox: decoding a message: %w", err)
	}
	switch {
	case r.Version != recordVersion:
		return m, fmt.Errorf("outbox: a message has format %d, this Holdline knows %d", r.Version, recordVersion)
	case r.From.Kind != kind:
		return m, fmt.Errorf("outbox: a message of %q is kept as one of %q", r.From.Kind, kind)
	}
	m.From, m.Body, m.SentAt, m.After = r.From, r.Body, r.SentAt, r.After
	return m, check(m)
}

// readRecord decodes what the spool has, which may know better that it is damaged.
func readRecord(r spool.Record) (Message, error) {
	m, err := decode(r.Lane, r.ID, r.Body)
	if r.Err != nil {
		err = r.Err
	}
	return m, err
}

// check keeps out what would not survive the spool.
func check(m Message) error {
	if err := chat.CheckClientID(m.ClientID); err != nil {
		return err
	}
	if _, _, err := chat.SplitChannel(m.Channel); err != nil {
		return err
	}
	if m.From.Kind != chat.KindVisitor && m.From.Kind != chat.KindAgent {
		return errors.New("only visitors and agents send messages")
	}
	if _, err := m.SentAt.MarshalText(); err != nil {
		return fmt.Errorf("the time of sending cannot be written: %w", err)
	}
	return nil
}

// reasons are kept in the spool by their place here, from 1 on: add at the end
// only. The sentences stand for the ones that WordPress gave, which are not kept.
var reasons = [...]chat.Refusal{
	{Reason: chat.ReasonForbidden, Text: "You may not write here."},
	{Reason: chat.ReasonClosed, Text: "The chat has ended."},
	{Reason: chat.ReasonEmpty, Text: "The message has no text."},
	{Reason: chat.ReasonTooLong, Text: "The message is too long."},
	{Reason: chat.ReasonText, Text: "The message has characters that cannot be stored."},
	{Reason: chat.ReasonUnsupported, Text: "Messages cannot be stored from here."},
	{Reason: chat.ReasonRate, Text: "Too many messages in a short time."},
	{Reason: chat.ReasonFull, Text: "There was no room for the message."},
	{Reason: chat.ReasonUnavailable, Text: "The message could not be stored."},
	{Reason: chat.ReasonBadRequest, Text: "The message was refused."},
}

// refusalRef is what the spool keeps of a refusal; 0 for an unknown reason.
func refusalRef(r *chat.Refusal) int64 {
	for i := range reasons {
		if reasons[i].Reason == r.Reason {
			return int64(i + 1)
		}
	}
	return 0
}

// refusalOf is what can be said from that.
func refusalOf(ref int64) *chat.Refusal {
	r := chat.Refusal{Reason: chat.ReasonBadRequest, Text: "The message was refused."}
	if ref >= 1 && ref <= int64(len(reasons)) {
		r = reasons[ref-1]
	}
	return &r
}
