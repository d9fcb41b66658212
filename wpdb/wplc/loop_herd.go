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
	// herdPatience is the same while all who wait are in no hurry. It is as long as
	// PHP's own loop sleeps between two looks.
	herdPatience = 500 * time.Millisecond
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
	hurry   chan struct{} // somebody has come who is in a hurry
	mu      sync.Mutex
	waiting []*wish[Q, A]
	asked   time.Time // by who has the turn
}

type wish[Q, A any] struct {
	question Q
	patient  bool
	done     bool // set, with the rest, by who has the turn
	answer   A
	err      error
}

// ask waits its turn unless somebody else asks for it. read answers questions in
// their order. Who is patient waits for others to come.
func (h *herd[Q, A]) ask(ctx context.Context, question Q, patient bool, read func(context.Context, []Q) ([]A, error)) (answer A, err error) {
	h.once.Do(func() {
		h.turn = make(chan struct{}, 1)
		h.turn <- struct{}{}
		h.hurry = make(chan struct{}, 1)
	})
	w := &wish[Q, A]{question: question, patient: patient}
	h.mu.Lock()
	h.waiting = append(h.waiting, w)
	h.mu.Unlock()
	if !patient {
		select {
		case h.hurry <- struct{}{}:
		default: // it is known already
		}
	}
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

// pause is how long to wait before the next query, for those that wait now.
func (h *herd[Q, A]) pause() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	distance := herdPause
	if !slices.ContainsFunc(h.waiting, func(w *wish[Q, A]) bool { return !w.patient }) {
		distance = herdPatience
	}
	return time.Until(h.asked.Add(distance))
}

// lead asks for the first of those that wait. It has the turn.
func (h *herd[Q, A]) lead(ctx context.Context, read func(context.Context, []Q) ([]A, error)) {
	for pause := h.pause(); pause > 0; pause = h.pause() {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return // the next one leads
		case <-h.hurry:
			timer.Stop()
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
