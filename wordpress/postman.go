package wordpress

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"holdline/internal/chat"
	"holdline/internal/outbox"
)

// PostmanOptions are a postman's; Do is required.
type PostmanOptions struct {
	// Do makes one signed POST of SendAction. Of its answer, MaxSendAnswer bytes and
	// one are enough. It is called by several goroutines at once.
	Do func(ctx context.Context, body []byte) (status int, answer []byte, err error)
}

// Postman has messages stored by the chat plugin's own code, through the companion
// plugin. It keeps nothing and may be used concurrently.
type Postman struct{ opt PostmanOptions }

var _ outbox.Store = (*Postman)(nil)

// NewPostman returns a postman.
func NewPostman(opt PostmanOptions) *Postman { return &Postman{opt} }

// Store makes as many calls as it takes for all messages to be tried, but for
// those behind one of their channel that could not be stored. The fates are right
// also where a later call failed, as long as an earlier one told something; else
// the error wraps ErrAbsent or ErrRefused where the operator has to do something.
func (p *Postman) Store(ctx context.Context, ms []outbox.Message) ([]outbox.Fate, error) {
	r, err := newErrand(ms)
	if err != nil {
		return nil, err
	}
	for {
		body, sent, err := r.call()
		if err != nil || len(sent) == 0 {
			return r.fates, err
		}
		results, how, err := p.call(ctx, body, len(sent))
		switch {
		case how == delivered:
			if !r.apply(sent, results) {
				return r.fates, nil
			}
		case how == tooLarge && r.shrink(sent, len(body)):
		case r.told:
			return r.fates, nil // what is left comes again, and then the error
		default:
			return nil, err
		}
	}
}

func (p *Postman) call(ctx context.Context, body []byte, n int) ([]sendResult, result, error) {
	status, answer, err := p.opt.Do(ctx, body)
	if err != nil {
		return nil, failed, fmt.Errorf("call WordPress: %w", err)
	}
	return readSendAnswer(status, answer, n, time.Now())
}

// errand is one Store: what is known of its messages so far.
type errand struct {
	ms    []outbox.Message
	texts []json.RawMessage
	fates []outbox.Fate
	stuck map[string]bool // channels that have a message which could not be stored
	most  int             // messages of one call
	told  bool            // some fate is known
}

func newErrand(ms []outbox.Message) (*errand, error) {
	r := &errand{
		ms: ms, texts: make([]json.RawMessage, len(ms)), fates: make([]outbox.Fate, len(ms)),
		stuck: make(map[string]bool), most: MaxSendMessages,
	}
	for i, m := range ms {
		text, err := encodeMessage(m)
		if err != nil {
			return nil, err
		}
		if r.texts[i] = text; len(text) > MaxSendBody-frame {
			r.refuse(i)
		}
	}
	return r, nil
}

func encodeMessage(m outbox.Message) (json.RawMessage, error) {
	wire := sendMessage{
		Channel: m.Channel, ClientID: m.ClientID, From: m.From.Kind, Body: m.Body,
		SentAt: m.SentAt.Unix(), After: m.After,
	}
	if m.From.Kind == chat.KindAgent {
		wire.User = m.From.ID
	}
	text, err := encodeJSON(wire)
	return bytes.TrimSpace(text), err
}

// frame is more than a call has besides its messages.
const frame = 128

// call writes the next call and says which messages are in it; none when there is
// nothing left to try.
func (r *errand) call() (body []byte, sent []int, err error) {
	s := sending{Call: rand.Text()}
	size := frame
	for i, text := range r.texts {
		if len(sent) == r.most {
			break
		}
		if r.fates[i] != (outbox.Fate{}) || r.stuck[r.ms[i].Channel] {
			continue
		}
		if size += len(text) + 1; size > MaxSendBody {
			break
		}
		s.Messages, sent = append(s.Messages, text), append(sent, i)
	}
	if len(sent) == 0 {
		return nil, nil, nil
	}
	body, err = encodeJSON(s)
	return body, sent, err
}

// apply takes the results of a call, and tells whether it led anywhere: where
// nothing at all was reached, the next call would do no better.
func (r *errand) apply(sent []int, results []sendResult) (progress bool) {
	for at, i := range sent {
		switch result := results[at]; {
		case result.Again:
			r.stuck[r.ms[i].Channel] = true
		case result.ID > 0 || result.Refused != "":
			r.fates[i] = outbox.Fate{ID: result.ID, Refused: result.refusal()}
			r.told = true
		default:
			continue
		}
		progress = true
	}
	return progress
}

// smallCall is a size, in bytes, that nothing on the way can mean when it finds a
// call too large.
const smallCall = 8 << 10

// shrink makes calls smaller after one of that size was found too large, and gives
// up a message that is so by itself. It is false where that makes no sense.
func (r *errand) shrink(sent []int, size int) bool {
	if size <= smallCall {
		return false
	}
	if r.most = len(sent) / 2; r.most == 0 {
		r.refuse(sent[0])
		r.most = 1
	}
	return true
}

func (r *errand) refuse(i int) {
	r.fates[i].Refused = &chat.Refusal{
		Reason: chat.ReasonTooLong,
		Text:   "The message is larger than what the way to WordPress lets through.",
	}
	r.told = true
}
