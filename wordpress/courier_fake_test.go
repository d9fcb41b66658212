package wordpress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wordpress is a site as the courier sees it, and what it was asked.
type wordpress struct {
	t       *testing.T
	courier *Courier
	stop    context.CancelFunc
	ended   chan struct{} // Run has returned
	log     bytes.Buffer
	began   time.Time

	mu       sync.Mutex
	answer   func(s Sync, body []byte) (int, string, error)
	takes    time.Duration // for one call
	calls    []Sync
	at       []time.Duration // of the calls, since the beginning
	sizes    []int
	underWay int
}

// The bodies that WordPress may answer with.
const (
	helloBody = `{"ok":true,"version":1,"plugin":"8.0.25","hello":{"wordpress":"6.1.9","since":100}}`
	oops      = `{"ok":false}`
)

func works(Sync, []byte) (int, string, error) { return 200, helloBody, nil }

// begin starts a courier; it must be called in a synctest bubble.
func begin(t *testing.T, answer func(s Sync, body []byte) (int, string, error)) *wordpress {
	t.Helper()
	w := &wordpress{t: t, answer: answer, ended: make(chan struct{}), began: time.Now()}
	w.courier = NewCourier(CourierOptions{Do: w.do, Logger: slog.New(slog.NewTextHandler(&w.log, nil))})
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() {
		defer close(w.ended)
		if err := w.courier.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-w.ended
	})
	synctest.Wait()
	return w
}

func (w *wordpress) do(ctx context.Context, body []byte) (int, []byte, error) {
	var s Sync
	if err := json.Unmarshal(body, &s); err != nil {
		w.t.Errorf("a call with %q: %v", body, err)
	}
	w.mu.Lock()
	for _, earlier := range w.calls {
		if earlier.Call == s.Call {
			w.t.Errorf("two calls are named %q", s.Call)
		}
	}
	w.calls, w.at, w.sizes = append(w.calls, s), append(w.at, time.Since(w.began)), append(w.sizes, len(body))
	if w.underWay++; w.underWay > 1 && len(s.Adopt) == 0 {
		w.t.Error("two calls are under way")
	}
	takes, answer := w.takes, w.answer
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.underWay--
		w.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-time.After(takes):
	}
	status, text, err := answer(s, body)
	return status, []byte(text), err
}

// behave makes WordPress answer otherwise from now on.
func (w *wordpress) behave(answer func(s Sync, body []byte) (int, string, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func always(status int, body string) func(Sync, []byte) (int, string, error) {
	return func(Sync, []byte) (int, string, error) {
		if status == 0 {
			return 0, "", errors.New("connection refused")
		}
		return status, body, nil
	}
}

// pass lets time pass and returns the calls of that time, as text.
func (w *wordpress) pass(d time.Duration) []string {
	w.t.Helper()
	w.mu.Lock()
	from := len(w.calls)
	w.mu.Unlock()
	time.Sleep(d) // a bubble's
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var told []string
	for i := from; i < len(w.calls); i++ {
		told = append(told, fmt.Sprint(w.at[i], " ", sketch(w.calls[i])))
	}
	return told
}

// sketch is a call in short.
func sketch(s Sync) string {
	var parts []string
	for _, b := range s.Beats {
		parts = append(parts, fmt.Sprintf("beat %d:%d %s", b.Chat, b.Status, b.Session))
	}
	for _, t := range s.Transitions {
		parts = append(parts, fmt.Sprintf("move %d:%d>%d %s", t.Chat, t.From, t.To, t.Session))
	}
	if len(s.Read) > 0 {
		parts = append(parts, fmt.Sprint("read ", s.Read))
	}
	if len(s.Missed) > 0 {
		parts = append(parts, fmt.Sprint("missed ", s.Missed))
	}
	if len(s.Adopt) > 0 {
		parts = append(parts, fmt.Sprint("adopt ", s.Adopt))
	}
	if s.Age {
		parts = append(parts, "age")
	}
	if len(parts) == 0 {
		return "hello"
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, ", ")
}

func beat(chat int64, status int, session string) Beat {
	return Beat{chat, status, Visit{Session: session}}
}

func (w *wordpress) stats() CourierStats { return w.courier.Stats() }
