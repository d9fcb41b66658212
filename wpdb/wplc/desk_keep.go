package wplc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"holdline/internal/chat"
)

// Keep is where a Desk writes what the next process has to know, should this one
// be killed, such as a *keep.Map. Its methods are called concurrently, while locks
// are held: none may take longer than a write into the system's memory.
type Keep interface {
	Put(key string, value []byte) error
	Delete(key string) error
	// All are the entries that an earlier process has left.
	All() iter.Seq2[string, []byte]
}

const (
	// maxKeptReply bounds one answer of PHP's that is kept, and maxKeptReplies all of
	// them together, in bytes. Larger ones live in memory only.
	maxKeptReply   = 64 << 10
	maxKeptReplies = 8 << 20
	// markTime is how long read flags are on their way to WordPress, with time to
	// spare: after a restart those of an older answer are not written again.
	markTime = 30 * time.Second
	// markLife is how long ago a process may have ended whose flags are written by
	// the next one. Later the tables may have been emptied and ids mean other rows.
	markLife = 5 * time.Minute
	// maxMarks bounds the flags that are kept for one client.
	maxMarks = 2 * maxUnread
)

// Keys begin with what they are for.
const (
	keptPosition = "c"
	keptSlot     = "s"
)

// position is how far a client has got, and what it was told of late.
type position struct {
	LoopCursor
	told []int64 // whose read flags may not have reached WordPress
	at   time.Time
}

// moved is the position of a client that was told something.
func (p position) moved(base, next LoopCursor, delivered []int64) position {
	now := time.Now()
	told := slices.Clone(delivered)
	if now.Sub(p.at) < markTime {
		told = slices.Concat(p.told, delivered)
		slices.Sort(told)
		told = slices.Compact(told)
	}
	told = told[max(0, len(told)-maxMarks):]
	return position{p.joined(base, next), told, now}
}

// positionVersion is the first byte of a kept position. Then come varints: the time
// (Unix ms), seen, the distance of settled from it, and given and told as their numbers
// and their distances.
const positionVersion = 2

func (p position) append(b []byte) []byte {
	b = append(b, positionVersion)
	b = binary.AppendVarint(b, p.at.UnixMilli())
	b = binary.AppendVarint(b, p.seen)
	b = binary.AppendVarint(b, p.seen-p.settled)
	for _, ids := range [][]int64{p.given, p.told} {
		b = binary.AppendUvarint(b, uint64(len(ids)))
		for _, id := range ids {
			b = binary.AppendVarint(b, p.seen-id)
		}
	}
	return b
}

var errKept = errors.New("it is damaged, or of another version")

func parsePosition(b []byte) (p position, err error) {
	if len(b) == 0 || b[0] != positionVersion {
		return p, errKept
	}
	b = b[1:]
	number := func() (n int64) {
		n, size := binary.Varint(b)
		if size <= 0 {
			err = errKept
			return 0
		}
		b = b[size:]
		return n
	}
	list := func(most int) (ids []int64) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(most) {
			err = errKept
			return nil
		}
		b = b[size:]
		for range n {
			id := p.seen - number()
			if id <= 0 {
				err = errKept
			}
			ids = append(ids, id)
		}
		return ids
	}
	p.known, p.at = true, time.UnixMilli(number())
	p.seen = number()
	p.settled = p.seen - number()
	if p.settled < 0 || p.settled > p.seen {
		err = errKept
	}
	p.given = list(farBack + maxUnread)
	p.told = list(maxMarks)
	if len(b) > 0 {
		err = errKept
	}
	if err != nil {
		return position{}, err
	}
	return p, nil
}

// keptReply is a slot as it is kept, in JSON.
type keptReply struct {
	Came   int64 // Unix ms
	Status int
	Header http.Header
	Body   []byte
}

// parseSlot reads what is sent to a browser as it is.
func parseSlot(key string, b []byte) (*slot, error) {
	var r keptReply
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, errKept
	}
	if len(r.Body) > maxKeptReply || r.Status != 0 && (r.Status < 200 || r.Status > 999) {
		return nil, errKept
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return nil, errKept
		}
	}
	came := time.UnixMilli(r.Came)
	if now := time.Now(); came.After(now) {
		came = now
	}
	return &slot{key: key, carries: true, came: came, reply: &chat.Reply{Status: r.Status, Header: r.Header, Body: r.Body}}, nil
}

// kept writes to the Keep while there is one.
type kept struct {
	log   *slog.Logger
	gripe gripe

	mu sync.RWMutex
	to Keep // nil for none
}

func (k *kept) set(to Keep) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.to = to
}

func (k *kept) has() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.to != nil
}

// put and remove do without what cannot be written: browsers have what they have,
// only a kill would let them be told again.
func (k *kept) put(kind, key string, value []byte) {
	k.write(func(to Keep) error { return to.Put(kind+key, value) })
}

func (k *kept) remove(kind, key string) {
	k.write(func(to Keep) error { return to.Delete(kind + key) })
}

// write keeps the lock meanwhile: once set has returned, the old Keep may be closed.
func (k *kept) write(change func(to Keep) error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.to == nil {
		return
	}
	if err := change(k.to); err != nil {
		k.complain(err)
	}
}

func (k *kept) complain(err error) {
	k.gripe.tell(k.log, "what browsers were told cannot be written down; if Holdline is killed now, some may be told again", err)
}

// position keeps where a client is.
func (k *kept) position(key string, p position) {
	switch {
	case !k.has():
	case p.known:
		k.put(keptPosition, key, p.append(nil))
	default:
		k.remove(keptPosition, key)
	}
}

// TakeOver has the Desk know what another process has left in a Keep, and write to
// it from now on. Loops may be answered meanwhile: a client of both processes has
// what either of them told it.
func (d *Desk) TakeOver(keep Keep) {
	had := make(map[string][]byte)
	var bad []string
	var unmarked []int64 // read flags that the other one may not have written
	for entry, value := range keep.All() {
		marks, err := d.restore(entry, value)
		if err != nil {
			bad = append(bad, entry)
			continue
		}
		had[entry] = value
		unmarked = append(unmarked, marks...)
	}
	d.kept.set(keep)
	for _, entry := range bad {
		d.kept.write(func(to Keep) error { return to.Delete(entry) })
	}
	if len(bad) > 0 {
		d.opt.Logger.Warn("some of what the last process has left about browsers cannot be read; these may be told something again", "entries", len(bad))
	}
	d.cursors.Each(func(key string, p position) {
		if value, ok := had[keptPosition+key]; !ok || !bytes.Equal(value, p.append(nil)) {
			d.kept.position(key, p)
		}
	})
	d.slots.rewrite()
	d.mark(unmarked)
}

// LetGo has the Desk write no more to its Keep. Before that Run must have ended and
// every Told have returned, or the next process tells some clients again.
func (d *Desk) LetGo() { d.kept.set(nil) }

// restore takes one entry over, and returns the messages whose read flags may not
// be written.
func (d *Desk) restore(entry string, value []byte) (unmarked []int64, err error) {
	if entry == "" {
		return nil, errKept
	}
	switch kind, key := entry[:1], entry[1:]; kind {
	case keptPosition:
		p, err := parsePosition(value)
		if err != nil {
			return nil, fmt.Errorf("a position: %w", err)
		}
		if time.Since(p.at) < markLife {
			unmarked = p.told
		}
		d.cursors.Update(key, p.and)
	case keptSlot:
		s, err := parseSlot(key, value)
		if err != nil {
			return nil, fmt.Errorf("an answer: %w", err)
		}
		if !d.slots.has(key) {
			d.slots.add(s)
		}
	default:
		return nil, errKept
	}
	return unmarked, nil
}

// and is the position of a client of this process and of another, which has left p.
func (p position) and(here position) position {
	if !here.known {
		return p
	}
	here.LoopCursor = here.joined(LoopCursor{}, p.LoopCursor)
	return here
}
