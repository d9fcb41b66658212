package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"

	"holdline/config"
	"holdline/internal/chat"
)

// typeSend is what a client calls the one of its messages that is to be stored;
// the others are called as the events that come of them.
const typeSend = "send"

// word is one message of a client.
type word struct {
	kind     string // send, typing, seen, delivered or signal
	channel  string
	clientID string // of send and signal
	as       side   // as whom it is said
	body     string // of send
	typing   bool
	upTo     int64      // of seen and delivered
	to       chat.Party // of signal
	payload  json.RawMessage
}

// wireWord is any message in its JSON form, and in that of what is told of it.
type wireWord struct {
	Type     string          `json:"type"`
	Channel  string          `json:"channel"`
	ClientID string          `json:"client_id"`
	As       string          `json:"as"`
	Body     string          `json:"body"`
	Typing   *bool           `json:"typing"`
	UpTo     int64           `json:"up_to"`
	To       wireParty       `json:"to"`
	Payload  json.RawMessage `json:"payload"`
}

type wireParty struct {
	Kind string `json:"kind"`
	ID   int64  `json:"id"`
}

// maxWord is how many bytes a message may have on the wire: twice what it may
// say, for a quotation mark is two bytes in JSON, and what is around it.
func maxWord(l config.Limits) int64 { return 2*int64(max(l.Message, l.Signal)) + 2<<10 }

// parseWord reads a message of at most maxWord bytes, which is of the kind given
// if it does not say. Fields that nobody knows are passed over, a field of the
// wrong type is refused. What could be read of a bad message is returned with the
// refusal, so that the sender can be told which it was.
func parseWord(text []byte, kind string, l config.Limits) (word, *chat.Refusal) {
	var wire wireWord
	if int64(len(text)) > maxWord(l) {
		return word{kind: kind}, &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("A message has at most %d bytes.", maxWord(l))}
	}
	if !utf8.Valid(text) {
		return word{kind: kind}, badRequest("A message is JSON in UTF-8.")
	}
	err := json.Unmarshal(text, &wire)
	w := word{
		kind: cmp.Or(wire.Type, kind), channel: wire.Channel, clientID: wire.ClientID, body: wire.Body,
		upTo: wire.UpTo, to: chat.Party{Kind: wire.To.Kind, ID: wire.To.ID}, payload: wire.Payload,
	}
	if err != nil {
		return w, badRequest(jsonSentence(err))
	}
	if wire.Typing != nil {
		w.typing = *wire.Typing
	} else if w.kind == string(chat.TypeTyping) {
		return w, badRequest("typing must be true or false.")
	}
	return w, w.check(wire.As, l)
}

// formWord reads the fields of a form that sends.
func formWord(form url.Values, l config.Limits) (word, *chat.Refusal) {
	w := word{
		kind: typeSend, channel: form.Get("channel"), clientID: form.Get("client_id"), body: form.Get("body"),
	}
	if !utf8.ValidString(w.body) {
		return w, badRequest("A message is text in UTF-8.")
	}
	return w, w.check(form.Get("as"), l)
}

// check holds a message against the protocol, and reads as whom it is said.
func (w *word) check(as string, l config.Limits) (refused *chat.Refusal) {
	if _, _, err := chat.SplitChannel(w.channel); err != nil {
		return badRequest("No channel: " + err.Error() + ".")
	}
	if w.as, refused = sideOf(as); refused != nil {
		return refused
	}
	switch w.kind {
	case typeSend:
		if int64(len(w.body)) > int64(l.Message) {
			return &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("The message is too long: the limit is %d bytes (limits.message).", l.Message)}
		}
		return refusalOf(chat.CheckClientID(w.clientID))
	case string(chat.TypeTyping):
	case string(chat.TypeSeen), string(chat.TypeDelivered):
		if w.upTo <= 0 {
			return badRequest("up_to must be the id of a message.")
		}
	case string(chat.TypeSignal):
		return w.checkSignal(l)
	default:
		return badRequest("This server knows the messages send, typing, seen, delivered, signal and ping.")
	}
	return nil
}

func (w *word) checkSignal(l config.Limits) *chat.Refusal {
	switch {
	case w.to.Kind != chat.KindVisitor && w.to.Kind != chat.KindAgent, w.to.ID < 0:
		return badRequest("to must say whom the signal is for: kind, visitor or agent, and id.")
	case len(w.payload) == 0:
		return badRequest("A signal has a payload.")
	case int64(len(w.payload)) > int64(l.Signal):
		return &chat.Refusal{Reason: chat.ReasonTooLong, Text: fmt.Sprintf("The signal is too long: the limit is %d bytes (limits.signal).", l.Signal)}
	}
	return refusalOf(chat.CheckClientID(w.clientID))
}

// side is as whom somebody speaks or listens that could be both a visitor and an
// agent.
type side uint8

const (
	asAny side = iota
	asVisitor
	asAgent
	sides
)

// String is the side as clients and sources say it.
func (s side) String() string {
	return [sides]string{asVisitor: chat.KindVisitor, asAgent: chat.KindAgent}[s]
}

// sideOf reads what String writes, and refuses what nobody can speak or listen as.
func sideOf(text string) (side, *chat.Refusal) {
	for s := range sides {
		if s.String() == text {
			return s, nil
		}
	}
	return asAny, badRequest("as must be visitor or agent.")
}

// jsonSentence says what is wrong with a text that is no message.
func jsonSentence(err error) string {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return "The message is not JSON: " + err.Error() + "."
	}
	switch wrong.Field {
	case "":
		return "A message is a JSON object with a type."
	case "typing":
		return "typing must be true or false."
	case "up_to", "to.id":
		return wrong.Field + " must be a whole number."
	case "to":
		return "to must be an object with kind and id."
	}
	return wrong.Field + " must be a string."
}

func badRequest(sentence string) *chat.Refusal {
	return &chat.Refusal{Reason: chat.ReasonBadRequest, Text: sentence}
}

// refusalOf is the refusal that an error is, or nil for none. What is no refusal
// is not for the sender's eyes.
func refusalOf(err error) *chat.Refusal {
	if err == nil {
		return nil
	}
	var refused *chat.Refusal
	if errors.As(err, &refused) {
		return refused
	}
	return &chat.Refusal{Reason: chat.ReasonUnavailable, Text: "This cannot be known just now; try again in a moment."}
}
