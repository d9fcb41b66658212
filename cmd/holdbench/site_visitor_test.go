package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want loopAnswer
	}{
		"first contact": {
			`{"check":true,"debug":"","cid":7,"status":"5","wplc_name":"Guest","wplc_email":"no email set"}`,
			loopAnswer{cid: "7", status: "5", name: "Guest", email: "no email set"},
		},
		"a message": {
			`{"check":true,"cid":"7","status":3,"data":{"41":{"msg":"holdbench 12","originates":1,"other":{}}}}`,
			loopAnswer{cid: "7", status: "3", messages: []int{12}},
		},
		"somebody else's message": {`{"cid":"7","status":3,"data":{"41":{"msg":"Hello"},"42":{"msg":"holdbench x"}}}`, loopAnswer{cid: "7", status: "3"}},
		"no data":                 {`{"cid":"7","status":"3","data":null}`, loopAnswer{cid: "7", status: "3"}},
		"HTML":                    {`{"cid":"7","status":"12","data":"<span>Nobody</span>"}`, loopAnswer{cid: "7", status: "12"}},
		"a missing row":           {`{"cid":"7","status":null}`, loopAnswer{cid: "7"}},
	} {
		got, err := parseAnswer([]byte(tc.body))
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := parseAnswer([]byte("-1")); !errors.Is(err, errAnswer) {
		t.Errorf("a refused nonce: %v", err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"cid":7,"status":"5","data":{"41":{"msg":"holdbench 12"}}}`, `{"data":[{"msg":1}]}`, `{"cid":{},"data":"x"}`, "0", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := parseAnswer(body)
		if err != nil && (a.cid != "" || a.messages != nil) {
			t.Errorf("%q: an error and %+v", body, a)
		}
	})
}

// sitePlay answers a visitor's polls in turn; the last one is held.
type sitePlay struct {
	answers []sitePlayAnswer
	got     []url.Values
	cookies []string
	at      []time.Duration
	begin   time.Time
}

type sitePlayAnswer struct {
	status int
	body   string
}

func (p *sitePlay) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	n := len(p.got)
	p.got = append(p.got, form)
	p.cookies = append(p.cookies, r.Header.Get("Cookie"))
	p.at = append(p.at, time.Since(p.begin))
	if n >= len(p.answers) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	header := http.Header{}
	if n == 0 {
		header.Set("Set-Cookie", bindingCookie+"=v1.signed; Path=/; HttpOnly")
	}
	return &http.Response{
		StatusCode: p.answers[n].status, Status: http.StatusText(p.answers[n].status), Header: header, Request: r,
		Body: io.NopCloser(strings.NewReader(p.answers[n].body)),
	}, nil
}

func TestVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play := &sitePlay{begin: time.Now(), answers: []sitePlayAnswer{
			{200, `{"check":true,"cid":7,"status":"5","wplc_name":"Guest","wplc_email":"none"}`},
			{200, ""},
			{502, "Bad Gateway"},
			{200, `{"check":true,"cid":"7","status":3,"data":{"41":{"msg":"holdbench 1"},"43":{"msg":"holdbench 2"}}}`},
		}}
		var counts pollTally
		var box mailbox
		v, err := newVisitor(webSite{url: "http://127.0.0.1:8080", nonce: "abc"}, play, &counts, box.arrived)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := v.contact(ctx); err != nil || v.cid != "7" || !v.bound() {
			t.Fatalf("chat %q, bound %v, %v", v.cid, v.bound(), err)
		}
		v.status = statusActive
		ended := make(chan struct{})
		go func() { defer close(ended); v.run(ctx) }()
		time.Sleep(10 * time.Second) // of the bubble: the last poll is held since second 8
		synctest.Wait()
		if held := v.heldFor(time.Now()); held != 2*time.Second {
			t.Errorf("held for %s", held)
		}
		want := []time.Duration{0, 0, repollAfter, repollAfter + repollAfterError, 2*repollAfter + repollAfterError}
		if !reflect.DeepEqual(play.at, want) {
			t.Errorf("polls at %s, want %s", play.at, want)
		}
		if _, missing := box.take(1, 2); missing != 0 {
			t.Errorf("%d messages are missing", missing)
		}
		play.check(t)
		cancel()
		<-ended
		if counts.polls.Load() != 4 || counts.answers.Load() != 1 || counts.failed.Load() != 1 || v.heldFor(time.Now()) != 0 {
			t.Errorf("%d polls, %d answers, %d failed", counts.polls.Load(), counts.answers.Load(), counts.failed.Load())
		}
	})
}

// check looks at the forms and cookies of the first poll, and of a later one.
func (p *sitePlay) check(t *testing.T) {
	t.Helper()
	first, later := p.got[0], p.got[1]
	if first.Get("cid") != "" || first.Get("status") != "5" || first.Get("short_poll") != "true" || first.Has("action_2") {
		t.Errorf("the first poll: %v", first)
	}
	if later.Get("cid") != "7" || later.Get("status") != "3" || later.Get("short_poll") != "false" || !later.Has("action_2") ||
		later.Get("wplcsession") != first.Get("wplcsession") || later.Get("wplc_name") != "Guest" || later.Get("security") != "abc" {
		t.Errorf("a later poll: %v", later)
	}
	if p.cookies[0] != "" {
		t.Errorf("a new browser has cookies: %s", p.cookies[0])
	}
	for _, want := range []string{bindingCookie + "=v1.signed", "wplc_cid=7"} {
		if !strings.Contains(p.cookies[1], want) {
			t.Errorf("no %s in %s", want, p.cookies[1])
		}
	}
}

// A chat that has ended, or that another tab has taken, is not polled any more.
func TestVisitorEnds(t *testing.T) {
	for _, status := range []string{statusEnded, statusOther} {
		synctest.Test(t, func(t *testing.T) {
			play := &sitePlay{begin: time.Now(), answers: []sitePlayAnswer{{200, `{"cid":"7","status":` + status + `}`}}}
			var counts pollTally
			v, err := newVisitor(webSite{url: "http://127.0.0.1:8080"}, play, &counts, nil)
			if err != nil {
				t.Fatal(err)
			}
			v.run(t.Context())
			if len(play.got) != 1 || counts.ended.Load() != 1 {
				t.Errorf("status %s: %d polls, %d ended", status, len(play.got), counts.ended.Load())
			}
		})
	}
}

func TestLoadPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := &http.Client{Transport: answerAfter(40 * time.Millisecond)}
		p, err := loadPages(t.Context(), fast, "http://site.test/", 10, time.Minute)
		if err != nil || len(p.times) != 10 || p.unanswered != 0 || p.summary().Times.Max != 40 {
			t.Errorf("a fast site: %+v, %v", p.summary(), err)
		}
		begin := time.Now()
		jammed := &http.Client{Transport: answerAfter(time.Hour)}
		p, err = loadPages(t.Context(), jammed, "http://site.test/", 200, 10*time.Second)
		if err != nil || len(p.times) != 5 || p.unanswered != 5 || p.summary().Times.P50 != ms(pageCap) {
			t.Errorf("a jammed site: %+v, %v", p.summary(), err)
		}
		if took := time.Since(begin); took != 8*time.Second+pageCap {
			t.Errorf("a jammed site: %s", took)
		}
		if pooled := p.with(p); len(pooled.times) != 10 || pooled.unanswered != 10 {
			t.Errorf("%+v", pooled)
		}
	})
}

// answerAfter is a site whose pages take so long.
type answerAfter time.Duration

func (d answerAfter) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := sleep(r.Context(), time.Duration(d)); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("page")), Request: r}, nil
}
