package outbox

import (
	"holdline/internal/chat"
	"holdline/internal/spool"
)

const (
	// maxBatchBytes bounds the bodies of one call: the companion plugin takes
	// 1 MiB of JSON, which may be twice as long.
	maxBatchBytes = 384 << 10
	// suspect is how many failures in a row, in whatever company, have a channel
	// tried alone. It is not the first: at the begin of an outage that is many
	// channels', and at its end each would need a call.
	suspect = 2
	// tellOperator is the failure in a row that is logged, some 5 s after the
	// first.
	tellOperator = 5
)

// taken is a message from the spool and what becomes of it.
type taken struct {
	seq  uint64
	msg  Message
	bad  error // it cannot be read
	fate Fate
}

// batch is what one call of Store is given; messages of a channel are adjacent.
type batch struct {
	all   []taken
	bytes int
}

// add returns the first record that does not fit, if any.
func (b *batch) add(recs []spool.Record) *spool.Record {
	for i, r := range recs {
		if b.bytes += len(r.Body); b.bytes > maxBatchBytes && len(b.all) > 0 {
			return &recs[i]
		}
		t := taken{seq: r.Seq}
		if t.msg, t.bad = readRecord(r); t.bad != nil {
			t.fate.Refused = &chat.Refusal{
				Reason: chat.ReasonUnavailable,
				Text:   "The message was damaged on the server's disk: send it again.",
			}
		}
		b.all = append(b.all, t)
	}
	return nil
}

// plan parts records into what is stored together, first, and channels that have
// to be tried alone, and fewer at a time with every failure: it may be the length
// of the call that fails. What has no room is given back.
func (o *Outbox) plan(recs []spool.Record) ([]*batch, error) {
	together := new(batch)
	batches := []*batch{together}
	for len(recs) > 0 {
		n := 1
		for n < len(recs) && recs[n].Lane == recs[0].Lane {
			n++
		}
		into, fit := together, n
		if alone, failures := o.suspected(recs[0].Lane); alone {
			into, fit = new(batch), min(n, max(o.opt.Batch>>min(failures, 16), 1))
			batches = append(batches, into)
		}
		over := into.add(recs[:fit])
		if over == nil && fit < n {
			over = &recs[fit]
		}
		if over != nil {
			if err := o.opt.Spool.Retry(over.Seq, 0); err != nil {
				return nil, err
			}
		}
		recs = recs[n:]
	}
	if len(together.all) == 0 {
		batches = batches[1:]
	}
	return batches, nil
}

// byChannel parts a batch.
func byChannel(all []taken) [][]taken {
	var out [][]taken
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].msg.Channel == all[0].msg.Channel {
			n++
		}
		out = append(out, all[:n])
		all = all[n:]
	}
	return out
}
