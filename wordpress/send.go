package wordpress

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdline/internal/chat"
)

// SendAction is the ajax action by which messages become rows: POST
// /wp-admin/admin-ajax.php?action=holdline_send, signed like a sync call, with
//
//	{"call":"…","messages":[{"channel":"wplc/42","client_id":"…","from":"agent",
//	  "user":2,"body":"…","sent_at":1766380000,"after":1234}]}
//
// "user" is an agent's WordPress user, and "after" the id of the last row when the
// message was accepted. The answer has status 200 and one result for each message:
//
//	{"id":1235}                             its row, made now or earlier
//	{"refused":"closed","text":"…"}         it never will have one
//	{"again":true}                          this time it could not be stored
//	{}                                      not reached, or behind one of its chat
//	                                        that could not be stored
//
// Other answers are those of SyncAction, but for 409: to repeat a call does no harm.
const SendAction = "holdline_send"

// Limits of one send call.
const (
	MaxSendMessages = 50
	MaxSendBody     = 1 << 20  // bytes
	MaxSendAnswer   = 64 << 10 // bytes
)

// sending is the body of a call.
type sending struct {
	Call     string            `json:"call"`
	Messages []json.RawMessage `json:"messages"`
}

type sendMessage struct {
	Channel  string `json:"channel"`
	ClientID string `json:"client_id"`
	From     string `json:"from"`
	User     int64  `json:"user,omitempty"`
	Body     string `json:"body"`
	SentAt   int64  `json:"sent_at"`
	After    int64  `json:"after"`
}

type sendResult struct {
	ID      int64  `json:"id"`
	Refused string `json:"refused"`
	Text    string `json:"text"`
	Again   bool   `json:"again"`
}

// readSendAnswer returns the results of a call of n messages. The error is nil for
// delivered alone; it wraps ErrAbsent or ErrRefused as readAnswer's does.
func readSendAnswer(status int, body []byte, n int, now time.Time) ([]sendResult, result, error) {
	if len(body) > MaxSendAnswer {
		return nil, failed, fmt.Errorf("WordPress answers %d with more than %d bytes", status, MaxSendAnswer)
	}
	var a struct {
		OK      bool         `json:"ok"`
		Version int          `json:"version"`
		Error   string       `json:"error"`
		Time    int64        `json:"time"`
		Results []sendResult `json:"results"`
	}
	e := envelope{}
	if json.Unmarshal(body, &a) == nil {
		e = envelope{a.OK && a.Version > 0, clip(a.Error, mostName), a.Time}
	}
	if r, err := judge(status, body, e, now); r != delivered {
		return nil, r, err
	}
	if len(a.Results) != n {
		return nil, failed, fmt.Errorf("WordPress answers with %d results to %d messages", len(a.Results), n)
	}
	for i := range a.Results {
		if err := a.Results[i].check(); err != nil {
			return nil, failed, fmt.Errorf("WordPress's result for message %d of %d: %w", i+1, n, err)
		}
	}
	return a.Results, delivered, nil
}

// refusals are the reasons that the companion plugin has.
var refusals = []string{
	chat.ReasonForbidden, chat.ReasonClosed, chat.ReasonEmpty, chat.ReasonText,
	chat.ReasonUnsupported, chat.ReasonBadRequest,
}

func (r *sendResult) check() error {
	said := 0
	for _, is := range []bool{r.ID != 0, r.Refused != "", r.Again} {
		if is {
			said++
		}
	}
	switch {
	case said > 1:
		return errors.New("it is more than one thing at once")
	case r.ID < 0:
		return errors.New("its row id is below 0")
	case r.Refused != "" && !slices.Contains(refusals, r.Refused):
		return fmt.Errorf("%q is no reason", clip(r.Refused, mostName))
	}
	r.Text = clip(r.Text, mostName)
	return nil
}

// refusal is nil where there is none.
func (r *sendResult) refusal() *chat.Refusal {
	if r.Refused == "" {
		return nil
	}
	return &chat.Refusal{Reason: r.Refused, Text: r.Text}
}
