package spool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fateInModel is what a power cut may do to a record.
type fateInModel int

const (
	mayStay  fateInModel = iota // put or marked, but not promised either way
	mustStay                    // acknowledged
	marked                      // its mark is written; the next good sync makes it mustGo
	mustGo                      // its mark is durable
)

type modelRecord struct {
	lane, id, body string
	seq            uint64
	fate           fateInModel
	here           bool // waits in this life
	taken          bool
}

// spoolModel drives a Spool as Run would, from one goroutine, so that every run
// can be repeated by rapid.
type spoolModel struct {
	tb      testing.TB
	dir     string
	opt     Options
	disk    *testDisk
	s       *Spool
	records []*modelRecord // by number
	ids     int
}

func (m *spoolModel) find(seq uint64) *modelRecord {
	for _, r := range m.records {
		if r.seq == seq {
			return r
		}
	}
	return nil
}

// accept is the first half of Put.
func (m *spoolModel) accept(t *rapid.T, lane, id, body string) (Receipt, *commit, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	receipt, pending, err := m.s.accept(lane, id, []byte(body))
	if err == nil && receipt.State == Accepted {
		if m.find(receipt.Seq) != nil {
			t.Fatalf("number %d was given twice", receipt.Seq)
		}
		m.records = append(m.records, &modelRecord{lane: lane, id: id, body: body, seq: receipt.Seq, here: true})
	}
	return receipt, pending, err
}

// commit is the other half, for all that were accepted.
func (m *spoolModel) commit(t *rapid.T) {
	err := m.s.commit(true)
	failing := m.disk.failSync != nil
	if failing && err == nil && m.s.next.dir {
		t.Fatalf("a failed sync was not told")
	}
	for _, r := range m.records {
		switch {
		case err != nil && r.here && r.fate == mayStay && !m.isWaiting(r):
			r.here = false
		case err != nil && r.fate == marked:
			r.fate = mayStay // its mark may be in the file that was given up
		case err == nil && r.here && r.fate == mayStay:
			r.fate = mustStay
		case err == nil && r.fate == marked && len(m.s.owed) == 0:
			r.fate = mustGo
		}
	}
}

func (m *spoolModel) isWaiting(r *modelRecord) bool {
	e := m.s.waiting[key{r.lane, r.id}]
	return e != nil && e.seq == r.seq
}

func (m *spoolModel) put(t *rapid.T) {
	lane := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "lane")
	m.ids++
	body := strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "size"))
	_, _, err := m.accept(t, lane, fmt.Sprint(m.ids), body)
	if err != nil && !errors.Is(err, ErrFull) && m.disk.failCut == nil {
		t.Fatalf("put: %v", err)
	}
	if err != nil && m.s.bytes < m.opt.MaxBytes/2 && m.disk.room < 0 && len(m.s.segments) < 24 {
		t.Fatalf("there was room, but: %v", err)
	}
}

func (m *spoolModel) repeat(t *rapid.T) {
	if len(m.records) == 0 {
		m.put(t) // so that there is something to repeat
		return
	}
	r := rapid.SampledFrom(m.records).Draw(t, "record")
	was := m.s.waiting[key{r.lane, r.id}]
	receipt, pending, err := m.accept(t, r.lane, r.id, "repeated")
	switch {
	case was != nil && (err != nil || receipt.State != Waiting || receipt.Seq != was.seq || pending != was.pending):
		t.Fatalf("a waiting record was put again: %+v %v", receipt, err)
	case err == nil && receipt.State == Waiting && was == nil:
		t.Fatalf("%s is not waiting, but: %+v", r.id, receipt)
	case err == nil && (receipt.State == Stored || receipt.State == Refused) && m.find(receipt.Seq).here:
		t.Fatalf("%s waits, but: %+v", r.id, receipt)
	}
}

func (m *spoolModel) take(t *rapid.T) {
	limit, depth := rapid.IntRange(1, 9).Draw(t, "limit"), rapid.IntRange(1, 4).Draw(t, "depth")
	resting := make(map[string]bool)
	for _, r := range m.records {
		resting[r.lane] = resting[r.lane] || r.taken
	}
	recs := takeNow(m.tb, m.s, limit, depth)
	if len(recs) > limit {
		t.Fatalf("%d records, asked for %d", len(recs), limit)
	}
	last, run := "", 0
	for _, got := range recs {
		r := m.find(got.Seq)
		if got.Lane != last {
			if last != "" {
				resting[last] = true // it must not come again after another one
			}
			last, run = got.Lane, 0
		}
		if run++; run > depth || resting[got.Lane] {
			t.Fatalf("lane %s: %d records in one go, asked for %d; was it in flight: %v", got.Lane, run, depth, resting[got.Lane])
		}
		switch {
		case r == nil || !r.here || got.Err != nil:
			t.Fatalf("handed out from nowhere: %+v", got)
		case r.taken:
			t.Fatalf("handed out twice in one life: %+v", got)
		case r.fate == mayStay:
			t.Fatalf("handed out before it was durable: %+v", got)
		case string(got.Body) != r.body || got.Lane != r.lane || got.ID != r.id:
			t.Fatalf("handed out changed: %+v, was %+v", got, r)
		}
		for _, older := range m.records {
			if older.here && !older.taken && older.lane == r.lane && older.seq < r.seq {
				t.Fatalf("%d was handed out before %d of the same lane", r.seq, older.seq)
			}
		}
		r.taken = true
	}
}

func (m *spoolModel) giveBack(t *rapid.T) {
	taken := slices.DeleteFunc(slices.Clone(m.records), func(r *modelRecord) bool { return !r.taken })
	if len(taken) == 0 {
		m.take(t) // so that there is something to give back
		return
	}
	r := rapid.SampledFrom(taken).Draw(t, "record")
	early := slices.ContainsFunc(taken, func(older *modelRecord) bool { return older.lane == r.lane && older.seq < r.seq })
	var err error
	switch rapid.SampledFrom([]string{"done", "done", "done", "refuse", "retry"}).Draw(t, "how") {
	case "done":
		err = m.s.Done(r.seq, int64(r.seq))
	case "refuse":
		err = m.s.Refuse(r.seq, int64(r.seq))
	case "retry":
		if err := m.s.Retry(r.seq, 0); err != nil {
			t.Fatal(err)
		}
		for _, later := range taken {
			if later.lane == r.lane && later.seq >= r.seq {
				later.taken = false
			}
		}
		return
	}
	switch {
	case early && !errors.Is(err, ErrOrder):
		t.Fatalf("%d was marked before an older one of its lane: %v", r.seq, err)
	case !early && err != nil:
		t.Fatal(err)
	case !early:
		r.taken, r.here, r.fate = false, false, marked
	}
}

// traffic is one lane that flows while others stand still, so that old records
// are carried.
func (m *spoolModel) traffic(t *rapid.T) {
	for range rapid.IntRange(1, 30).Draw(t, "messages") {
		m.ids++
		if _, _, err := m.accept(t, "d", fmt.Sprint(m.ids), strings.Repeat("y", 250)); err != nil {
			return
		}
		m.commit(t)
		for _, r := range takeNow(m.tb, m.s, 10, 2) {
			rec := m.find(r.Seq)
			rec.taken = true
			if r.Lane != "d" {
				continue
			}
			if err := m.s.Done(r.Seq, 0); err != nil {
				t.Fatal(err)
			}
			rec.here, rec.taken, rec.fate = false, false, marked
		}
	}
}

// crash ends this life by a power cut, or by a kill, which takes nothing that was
// written, and looks at what the next one finds.
func (m *spoolModel) crash(t *rapid.T) {
	next, err := os.MkdirTemp(m.dir, "life")
	if err != nil {
		t.Fatal(err)
	}
	draw := func(n int) int { return rapid.IntRange(0, n).Draw(t, "power") }
	disk := m.disk.cutPower(m.tb, m.s.dir, next, draw)
	if err := m.s.closeFiles(); err != nil {
		t.Fatal(err)
	}
	m.disk, m.opt.disk = disk, disk
	if m.s, err = Open(next, m.opt); err != nil {
		t.Fatal(err)
	}
	if m.s.recovered.Corrupt > 0 || len(m.s.recovered.SetAside) > 0 {
		t.Fatalf("a power cut is no damage in the middle: %+v", m.s.recovered)
	}
	for _, r := range m.records {
		is := m.isWaiting(r)
		switch {
		case r.fate == mustStay && r.here && !is:
			t.Fatalf("%+v was acknowledged and is lost; %+v", r, m.s.recovered)
		case r.fate == mustGo && is:
			t.Fatalf("%+v was stored, and comes again", r)
		}
		r.here, r.taken, r.fate = is, false, mayStay
		if is {
			r.fate = mustStay
		}
	}
	for _, e := range m.s.waiting {
		if m.find(e.seq) == nil {
			t.Fatalf("record %d %s/%s was never put", e.seq, e.lane.name, e.id)
		}
	}
	m.dropUnknown()
}

// dropUnknown forgets records that no file tells of any more: their numbers may
// be given again.
func (m *spoolModel) dropUnknown() {
	m.records = slices.DeleteFunc(m.records, func(r *modelRecord) bool { return r.seq > m.s.seq || !r.here })
}

func (m *spoolModel) check(t *rapid.T) {
	s, live, n := m.s, int64(0), 0
	for i, seg := range s.segments {
		info, err := os.Stat(seg.path)
		if i == 0 && seg.live == 0 && errors.Is(err, os.ErrNotExist) {
			continue // removed, but the folder's sync failed
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > seg.size || info.Size() < seg.size && !seg.sealed {
			t.Fatalf("%s has %d bytes, counted are %d", seg.path, info.Size(), seg.size)
		}
		n += seg.live
	}
	for _, e := range s.waiting {
		live += int64(e.size)
	}
	waiting := 0
	for _, r := range m.records {
		if r.here {
			waiting++
		}
	}
	if n != len(s.waiting) || n != waiting || live != s.liveBytes {
		t.Fatalf("counted: %d in files, %d waiting, %d in the model; %d of %d bytes", n, len(s.waiting), waiting, live, s.liveBytes)
	}
	if s.bytes > m.opt.MaxBytes+2*m.opt.SegmentBytes {
		t.Fatalf("%d bytes of %d", s.bytes, m.opt.MaxBytes)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "model")
		if err != nil {
			rt.Fatal(err)
		}
		m := &spoolModel{tb: t, dir: dir, disk: newTestDisk(), opt: Options{
			MaxBytes: 12 << 10, SegmentBytes: rapid.SampledFrom([]int64{1 << 10, 3 << 10}).Draw(rt, "segment"), Remember: time.Hour,
		}}
		m.opt.disk = m.disk
		first, err := os.MkdirTemp(dir, "life")
		if err != nil {
			rt.Fatal(err)
		}
		if m.s, err = Open(first, m.opt); err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = m.s.closeFiles() }()
		rt.Repeat(map[string]func(*rapid.T){
			"put": m.put, "put more": m.put, "repeat": m.repeat, "take": m.take, "give back": m.giveBack,
			"give more back": m.giveBack, "traffic": m.traffic, "commit": m.commit, "crash": m.crash,
			"tidy": func(t *rapid.T) {
				m.commit(t)
				if err := m.s.tidy(); err != nil && m.disk.failSync == nil && m.disk.room < 0 {
					t.Fatal(err)
				}
			},
			"full disk": func(t *rapid.T) { m.disk.room = rapid.IntRange(0, 400).Draw(t, "room") },
			"bad disk":  func(*rapid.T) { m.disk.failSync = errors.New("input/output error") },
			"full bad disk": func(t *rapid.T) {
				m.disk.room, m.disk.failCut = rapid.IntRange(0, 400).Draw(t, "room"), errors.New("input/output error")
			},
			"good disk": func(*rapid.T) { m.disk.failSync, m.disk.failCut, m.disk.room = nil, nil, -1 },
			"":          m.check,
		})
	})
}
