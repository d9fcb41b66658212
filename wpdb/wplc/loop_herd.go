package wplc

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// herdPause is the least distance between two queries of a herd, so that the
	// database's load does not grow with the number of visitors. Who asks after a
	// longer silence does not wait.
	herdPause = 40 * time.Millisecond
	// herdSize bounds the questions of one query.
	herdSize = 200
	// herdLimit is for a query whose asker has gone away while others wait for it.
	herdLimit = 10 * time.Second
)

// herd puts the questions that come at about the same time into one query. Every
// answer is of a query that began after the question was put.
type herd[Q, A any] struct {
	once    sync.Once
	turn    chan struct{} // holds one token: who takes it asks for all that wait
	mu      sync.Mutex
	waiting []*wish[Q, A]
	asked   time.Time // by who has the turn
}

type wish[Q, A any] struct {
	question Q
	done     bool // set, with the rest, by who has the turn
	answer   A
	err      error
}

// ask waits its turn unless somebody else asks for it. read answers questions in
// their order.
func (h *herd[Q, A]) ask(ctx context.Context, question Q, read func(context.Context, []Q) ([]A, error)) (answer A, err error) {
	h.once.Do(func() {
		h.turn = make(chan struct{}, 1)
		h.turn <- struct{}{}
	})
	w := &wish[Q, A]{question: question}
	h.mu.Lock()
	h.waiting = append(h.waiting, w)
	h.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			h.drop(w)
			return answer, ctx.Err()
		case <-h.turn:
		}
		if !w.done {
			h.lead(ctx, read)
		}
		done := w.done
		h.turn <- struct{}{}
		if done {
			return w.answer, w.err
		}
	}
}

// drop takes back a question that nobody has put yet.
func (h *herd[Q, A]) drop(w *wish[Q, A]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = slices.DeleteFunc(h.waiting, func(other *wish[Q, A]) bool { return other == w })
}

// lead asks for the first of those that wait. It has the turn.
func (h *herd[Q, A]) lead(ctx context.Context, read func(context.Context, []Q) ([]A, error)) {
	if pause := time.Until(h.asked.Add(herdPause)); pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return // the next one leads
		case <-timer.C:
		}
	}
	h.mu.Lock()
	n := min(len(h.waiting), herdSize)
	wishes := slices.Clone(h.waiting[:n])
	h.waiting = slices.Delete(h.waiting, 0, n)
	h.mu.Unlock()

	questions := make([]Q, n)
	for i, w := range wishes {
		questions[i] = w.question
	}
	h.asked = time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), herdLimit)
	defer cancel()
	answers, err := read(ctx, questions)
	for i, w := range wishes {
		if w.done, w.err = true, err; err == nil {
			w.answer = answers[i]
		}
	}
}
