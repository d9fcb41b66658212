package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"holdline/config"
	"holdline/internal/chat"
	"holdline/internal/hub"
	"holdline/internal/live"
	"holdline/wpdb"
)

// slowSource is a Speech that answers when it is let, or at once.
type slowSource struct {
	Tail
	asked int
	let   chan error
}

func (s *slowSource) Name() string { return "slow" }

func (s *slowSource) Stats() wpdb.TailStats { return wpdb.TailStats{Last: 7} }

func (s *slowSource) Speaker(ctx context.Context, v chat.Viewer, name, as string) (chat.Party, error) {
	s.asked++
	select {
	case err := <-s.let:
		return chat.Party{Kind: chat.KindVisitor}, err
	case <-ctx.Done():
		return chat.Party{}, ctx.Err()
	}
}

func (s *slowSource) Listener(context.Context, chat.Viewer, string) chat.Party {
	return chat.Party{Kind: chat.KindVisitor}
}
func (s *slowSource) CheckText(body string) (string, error) { return body, nil }
func (s *slowSource) Unread(context.Context, string, chat.Party, int64) ([]int64, error) {
	return nil, nil
}

// newTalk is a line to a slow source. Without a Store nothing can be sent, which
// is what each message is answered.
func newTalk(src *slowSource) *talk {
	g := &Gateway{log: slog.New(slog.DiscardHandler)}
	g.apply(config.Config{Limits: smallLimits})
	g.metrics = newMetrics(g)
	b := &Backend{Feeds: []Feed{{Tail: src, Speech: src}}}
	h := hub.New(hub.Options{})
	s := g.newSpeech(h, b)
	s.live = live.New(live.Options{Hub: h})
	return &talk{speech: s, pass: pass{user: &tally{key: "ann"}}}
}

func sendWord(n int, channel string) []byte {
	return fmt.Appendf(nil, `{"type":"send","channel":%q,"client_id":"client-%04d","body":"x"}`, channel, n)
}

func TestMessagesOfOneLineAreHandledInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &slowSource{let: make(chan error)}
		line := newTalk(src)
		var got []string
		for i := range 30 {
			line.Say(sendWord(i, fmt.Sprintf("slow/%d", i%3)), func(b []byte) { got = append(got, string(b)) })
		}
		for range 3 {
			synctest.Wait()
			src.let <- nil
		}
		synctest.Wait()
		if len(got) != 30 || src.asked != 3 {
			t.Fatalf("%d answers, %d questions, want 30 and one for each channel", len(got), src.asked)
		}
		for i, text := range got {
			if !strings.Contains(text, fmt.Sprintf("client-%04d", i)) || !strings.Contains(text, chat.ReasonUnsupported) {
				t.Errorf("answer %d is %s", i, text)
			}
		}
		if line.queue != nil {
			t.Error("there is still a queue when all is done")
		}
		line.speech.talks.stop()
	})
}

func TestLineThatSaysTooMuchAtATimeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, word := range map[string]string{
			"many": `{"type":"typing","channel":"slow/1","typing":true}`,
			"big":  `{"type":"typing","channel":"slow/1","typing":true,"x":"` + strings.Repeat("x", 2500) + `"}`,
		} {
			line := newTalk(&slowSource{let: make(chan error)})
			refused := 0
			for range maxTalk + 50 {
				line.Say([]byte(word), func(b []byte) {
					if strings.Contains(string(b), `"reason":"rate"`) && strings.Contains(string(b), `"retry_ms":1000`) {
						refused++
					}
				})
			}
			synctest.Wait()
			if line.queue.bytes > maxTalkBytes || len(line.queue.words) > maxTalk || refused < 49 {
				t.Errorf("%s: %d words of %d bytes wait, %d refused", name, len(line.queue.words), line.queue.bytes, refused)
			}
			line.speech.talks.stop() // those who wait are let go
		}
	})
}

func TestEndedGrantSaysNothing(t *testing.T) {
	src := &slowSource{}
	line := newTalk(src)
	line.expires = time.Now().Unix() - 1
	var got string
	line.handle(t.Context(), heard{sendWord(1, "slow/1"), func(b []byte) { got = string(b) }})
	if !strings.Contains(got, chat.ReasonForbidden) || src.asked > 0 {
		t.Errorf("told %s, asked %d times", got, src.asked)
	}
}

func TestNobodyKnowsWhoSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &slowSource{let: make(chan error, 2)}
		line := newTalk(src)
		for range 2 { // trouble is not remembered
			src.let <- errors.New("disk on fire")
			var got string
			line.handle(t.Context(), heard{sendWord(1, "slow/1"), func(b []byte) { got = string(b) }})
			if !strings.Contains(got, chat.ReasonUnavailable) || strings.Contains(got, "fire") || !strings.Contains(got, "retry_ms") {
				t.Errorf("told %s", got)
			}
		}
		var got string
		began := time.Now()
		line.handle(t.Context(), heard{sendWord(1, "slow/1"), func(b []byte) { got = string(b) }})
		if !strings.Contains(got, chat.ReasonUnavailable) || time.Since(began) != lookupTimeout {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
	})
}

func TestPanicOverAMessageIsOneClients(t *testing.T) {
	line := newTalk(&slowSource{})
	line.speech.backend.Feeds[0].Tail = nil
	var got string
	line.handle(t.Context(), heard{sendWord(1, "slow/1"), func(b []byte) { got = string(b) }})
	if !strings.Contains(got, chat.ReasonUnavailable) {
		t.Errorf("told %s", got)
	}
}

// There is one for every WebSocket, and a pass for every held connection.
func TestLinesStaySmall(t *testing.T) {
	if got := unsafe.Sizeof(talk{}); got > 128 {
		t.Errorf("a talk is %d bytes, want at most 128", got)
	}
	if got := unsafe.Sizeof(pass{}); got > 64 {
		t.Errorf("a pass is %d bytes, want at most 64", got)
	}
	t.Logf("a talk is %d bytes, a pass %d", unsafe.Sizeof(talk{}), unsafe.Sizeof(pass{}))
}
