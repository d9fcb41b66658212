package wordpress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gives is a companion plugin that gives each chat away once; chats above the
// highest are dead.
func gives(highest int64) func(Sync, []byte) (int, string, error) {
	var mu sync.Mutex
	given := map[int64]bool{}
	return func(s Sync, _ []byte) (int, string, error) {
		mu.Lock()
		defer mu.Unlock()
		var told []string
		for _, chat := range s.Adopt {
			told = append(told, fmt.Sprintf(`"%d":%t`, chat, chat <= highest && !given[chat]))
			given[chat] = true
		}
		return 200, strings.TrimSuffix(helloBody, "}") + `,"adopted":{` + strings.Join(told, ",") + `}}`, nil
	}
}

// adopt asks for a chat and returns what comes of it, as text.
func (w *wordpress) adopt(ctx context.Context, chat int64) <-chan string {
	got := make(chan string, 1)
	go func() {
		ok, err := w.courier.Adopt(ctx, chat)
		got <- fmt.Sprint(ok, " ", err)
	}()
	synctest.Wait()
	return got
}

func TestAdoptGivesAChatToOneBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, gives(50))
		w.takes = time.Second
		var got []<-chan string
		for range 5 {
			got = append(got, w.adopt(t.Context(), 41))
		}
		got = append(got, w.adopt(t.Context(), 60))                                                     // dead
		got = append(got, w.adopt(t.Context(), 101), w.adopt(t.Context(), 0), w.adopt(t.Context(), -1)) // no old ones
		if d := cmp.Diff([]string{"1s adopt [60]"}, w.pass(5*time.Second)); d != "" || sketch(w.calls[1]) != "adopt [41]" {
			t.Errorf("after a call for chat 41 (-want +got):\n%s", d)
		}
		count := map[string]int{}
		for i := range got {
			count[<-got[i]]++
		}
		if d := cmp.Diff(map[string]int{"true <nil>": 1, "false <nil>": 8}, count); d != "" {
			t.Errorf("answers (-want +got):\n%s", d)
		}
		for _, chat := range []int64{41, 60} {
			if got := <-w.adopt(t.Context(), chat); got != "false <nil>" {
				t.Errorf("chat %d again: %s", chat, got)
			}
		}
		if more := w.pass(time.Second); more != nil {
			t.Errorf("what is known is asked again: %q", more)
		}
		time.Sleep(time.Minute) // a dead chat may come to life
		if got := <-w.adopt(t.Context(), 60); got != "false <nil>" || len(w.calls) != 4 {
			t.Errorf("chat 60 after a minute: %s, %d calls", got, len(w.calls))
		}
	})
}

func TestAdoptPutsManyInFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, func(s Sync, body []byte) (int, string, error) {
			_, text, _ := gives(100_000)(s, body)
			return 200, strings.Replace(text, `"since":100`, `"since":100000`, 1), nil
		})
		var all sync.WaitGroup
		for chat := range int64(3000) {
			all.Go(func() {
				if ok, err := w.courier.Adopt(t.Context(), chat+1); !ok && !errors.Is(err, errManyAsk) {
					t.Errorf("chat %d: %t, %v", chat, ok, err)
				}
			})
		}
		w.pass(time.Minute)
		all.Wait()
		for i, s := range w.calls[1:] {
			if len(s.Adopt) > MaxSyncAdopt || i > 0 && w.at[i+1]-w.at[i] < 200*time.Millisecond {
				t.Errorf("call %d is for %d chats and comes %v after the last", i, len(s.Adopt), w.at[i+1]-w.at[i])
			}
		}
		if n := len(w.calls); n < 15 || n > 25 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestAdoptWhileWordPressIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, always(0, ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.courier.Adopt(ctx, 41); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before its first answer: %v", err)
		}
		w.behave(gives(50))
		w.pass(time.Minute)
		w.behave(always(503, ""))
		if got := <-w.adopt(t.Context(), 41); got != `false adopt chat 41: WordPress answers 503 ""` {
			t.Errorf("first: %s", got)
		}
		w.courier.Move(Transition{45, 1, 8, Visit{}})
		time.Sleep(urgentLag)
		synctest.Wait()
		calls := len(w.calls)
		if got := <-w.adopt(t.Context(), 41); got != "false adopt chat 41: WordPress has not answered lately" || len(w.calls) != calls {
			t.Errorf("while it is known to be down: %s, %d calls", got, len(w.calls)-calls)
		}
		w.behave(always(409, `{"error":"replay"}`))
		w.pass(time.Minute)
		if got := <-w.adopt(t.Context(), 41); got != "false adopt chat 41: WordPress has had this call before" {
			t.Errorf("replay: %s", got)
		}
		w.behave(gives(50))
		if got := <-w.adopt(t.Context(), 41); got != "true <nil>" {
			t.Errorf("up again: %s", got)
		}
	})
}

func TestAdoptWithoutACompanion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, always(400, "0"))
		if ok, err := w.courier.Adopt(t.Context(), 41); ok || !errors.Is(err, ErrAbsent) {
			t.Errorf("%t, %v", ok, err)
		}
	})
}

// A chat that WordPress gave away to a browser that has gone is the next one's.
func TestAdoptLosesNoChat(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 3 * time.Second} {
		t.Run("a call of "+takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := begin(t, gives(50))
				w.takes = takes
				ctx, leave := context.WithCancel(t.Context())
				first := w.adopt(ctx, 41)
				time.Sleep(takes / 2)
				leave()
				if got := <-first; got != "false adopt chat 41: context canceled" {
					t.Errorf("who left: %s", got)
				}
				second := w.adopt(t.Context(), 41)
				time.Sleep(takes)
				third := w.adopt(t.Context(), 41)
				got := []string{<-second, <-third}
				if d := cmp.Diff([]string{"true <nil>", "false <nil>"}, got); d != "" {
					t.Errorf("the next two (-want +got):\n%s", d)
				}

				ctx, leave = context.WithCancel(t.Context())
				defer leave()
				fourth := w.adopt(ctx, 42)
				time.Sleep(takes / 2)
				leave()
				<-fourth
				time.Sleep(takes)
				if got := <-w.adopt(t.Context(), 42); got != "true <nil>" {
					t.Errorf("who comes after the answer: %s", got)
				}
			})
		})
	}
}

func TestAdoptLeavesOutWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, gives(50))
		w.takes = time.Second
		w.adopt(t.Context(), 41)
		ctx, leave := context.WithCancel(t.Context())
		gone := w.adopt(ctx, 42)
		leave()
		<-gone
		if got := w.pass(5 * time.Second); got != nil {
			t.Errorf("calls %q", got)
		}
		if got := <-w.adopt(t.Context(), 42); got != "true <nil>" {
			t.Errorf("later: %s", got)
		}
	})
}

func TestAdoptEndsWithTheCourier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, gives(50))
		w.takes = time.Second
		under := w.adopt(t.Context(), 41)
		waits := w.adopt(t.Context(), 42)
		w.stop()
		if got := <-under; got != "true <nil>" {
			t.Errorf("under way: %s", got)
		}
		if got := <-waits; got != "false adopt chat 42: "+errOver.Error() {
			t.Errorf("waiting: %s", got)
		}
		<-w.ended
		if got := <-w.adopt(t.Context(), 43); got != "false adopt chat 43: "+errOver.Error() {
			t.Errorf("afterwards: %s", got)
		}
	})
}

func FuzzSyncAnswer(f *testing.F) {
	many := strings.Repeat(`"wplc_filter_`+strings.Repeat("x", 200)+`",`, 100)
	for _, seed := range []struct {
		status int
		body   string
	}{
		{200, helloBody},
		{200, `{"ok":true,"version":1,"adopted":{"41":true},"hello":{"custom":[` + many + `""],"since":-1},"strings":{"admin":"Betreuung","x":null}}`},
		{200, oops},
		{200, "0"},
		{400, " 0\n"},
		{400, `{"ok":false,"error":"json"}`},
		{403, `{"ok":false,"error":"time","time":9223372036854775807}`},
		{403, `{"ok":false,"error":"signature"}`},
		{409, `{"ok":false,"error":"replay"}`},
		{413, ""},
		{503, "<html>\x00\xff</html>"},
		{200, `{"ok":true,"version":1,"adopted":[],"hello":{}}`},
		{302, strings.Repeat("[", 20_000)},
	} {
		f.Add(seed.status, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a, r, err := readAnswer(status, body, time.Unix(1766380000, 0))
		if (err == nil) != (r == delivered || r == replayed) {
			t.Errorf("%s with the error %v", r, err)
		}
		if err != nil && (len(err.Error()) > 1024 || strings.ContainsAny(err.Error(), "\n\x00")) {
			t.Errorf("an error unfit for a log: %q", err)
		}
		if (r == delivered) != a.OK || a.OK && status != 200 || a.Hello.Since < 0 {
			t.Errorf("%s: %+v", r, a)
		}
		if len(a.Hello.Custom) > mostCustom || len(a.Strings) > mostStrings || len(a.Plugin) > mostName {
			t.Errorf("kept %d filters, %d texts, plugin %q", len(a.Hello.Custom), len(a.Strings), a.Plugin)
		}
		for _, name := range a.Hello.Custom {
			if len(name) > mostName {
				t.Errorf("a name of %d bytes", len(name))
			}
		}
	})
}
