//go:build e2e && linux

package soak_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const ajaxPath = "/wp-admin/admin-ajax.php"

// loopPage is what a page with the chat plugin's own script knows: it asks
// admin-ajax.php in a loop and has a cookie and no cursor.
type loopPage struct {
	chat int64
	page string // the page's session
}

// startChat does what the plugin's form does, and gives the person a chat of its own.
func (p *person) startChat(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	p.http.Jar = jar
	p.loop = &loopPage{page: strconv.FormatInt(time.Now().UnixMilli(), 10)}
	text, err := p.ajax(ctx, url.Values{
		"action": {"wplc_start_chat"}, "name": {p.name}, "email": {"soak@example.com"}, "wplcsession": {p.loop.page}, "cid": {""},
	})
	if err != nil {
		return fmt.Errorf("start a chat: %w", err)
	}
	if p.loop.chat, err = strconv.ParseInt(text, 10, 64); err != nil {
		return fmt.Errorf("start a chat: %w", err)
	}
	p.chats = []int64{p.loop.chat}
	p.record.Chats = p.chats
	return nil
}

// loops asks until ctx ends. An answer that was cut off has not been: PHP, which answers
// where Holdline does not, has marked as read what it was saying, and so may lose it. So
// nobody leaves in mid-answer here.
func (p *person) loops(ctx context.Context) error {
	for ctx.Err() == nil {
		text, err := p.ajax(context.WithoutCancel(ctx), url.Values{
			"action": {"wplc_call_to_server_visitor"}, "cid": {strconv.FormatInt(p.loop.chat, 10)}, "status": {"3"},
			"wplc_name": {p.name}, "wplc_email": {"soak@example.com"}, "wplcsession": {p.loop.page}, "wplc_is_mobile": {"false"},
			"wplc_extra_data[object_switch]": {"true"}, "first_run": {"false"}, "short_poll": {"false"},
		})
		if err != nil {
			return err
		}
		if err := p.takeLoop(text); err != nil {
			return err
		}
		pass(ctx, 150*time.Millisecond) // a tenth of the script's
	}
	return nil
}

func (p *person) ajax(ctx context.Context, form url.Values) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+ajaxPath, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	resp, err := p.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = judgeStatus(resp.StatusCode, resp.Status, text[:min(len(text), 1<<10)])
	}
	return string(text), err
}

// takeLoop notes what the loop's answer tells. Like the plugin's script it shows a row
// once, by its id, however often it is told: PHP's answers know nothing of what Holdline
// has just told and has not yet had marked as read.
func (p *person) takeLoop(text string) error {
	if text == "" {
		p.beginLoop()
		return nil
	}
	if strings.Contains(text, "to the database") || strings.Contains(text, "a database connection") {
		return errors.New("WordPress has lost its database") // what it says to loops that PHP held, with the status 200
	}
	var a struct {
		Status json.RawMessage `json:"status"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return &refused{"a loop's answer that is no JSON", text}
	}
	if status := strings.Trim(string(a.Status), `"`); status != "" && status != "3" {
		return &refused{"the chat's status is " + status, text}
	}
	p.beginLoop()
	var rows map[string]struct {
		Msg string `json:"msg"`
	}
	if len(a.Data) == 0 || string(a.Data) == "null" {
		return nil
	}
	if err := json.Unmarshal(a.Data, &rows); err != nil {
		return &refused{"rows that are none", text}
	}
	for key, r := range rows {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return &refused{"a row's number", text}
		}
		p.toldByLoop(id, r.Msg)
	}
	return nil
}

func (p *person) beginLoop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
}

func (p *person) toldByLoop(id int64, text string) {
	p.mu.Lock()
	_, again := p.seen[rowOf(id, text)]
	if again {
		p.record.Again++
	}
	p.mu.Unlock()
	if !again {
		p.told(id, text)
	}
}
