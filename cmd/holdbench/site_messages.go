package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"holdline/internal/wpsite"
)

// agent writes to visitors: as PHP's INSERT does, or through WordPress.
type agent struct {
	site   webSite // nonce and cookie are the agent's
	cookie string
	client *http.Client
	db     *sql.DB
	zone   *time.Location // of current_time('mysql')
}

var (
	agentNonce   = regexp.MustCompile(`var wplc_ajax_nonce = "([^"]+)"`)
	visitorNonce = regexp.MustCompile(`var wplc_nonce = "([^"]+)"`)
)

// newAgent logs an agent in. The site must have a free PHP worker.
func newAgent(ctx context.Context, s *wpsite.Site, pages *http.Client) (*agent, error) {
	cookie, err := s.Login(ctx, "agent1")
	if err != nil {
		return nil, err
	}
	nonce, err := nonceOf(ctx, pages, s.URL+"/wp-admin/admin.php?page=wplivechat-menu", cookie, agentNonce)
	if err != nil {
		return nil, err
	}
	var name string
	err = s.DB().QueryRowContext(ctx, "SELECT option_value FROM wp_options WHERE option_name = 'timezone_string'").Scan(&name)
	if err != nil {
		return nil, fmt.Errorf("read the site's time zone: %w", err)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("read the site's time zone: %w", err)
	}
	return &agent{site: webSite{url: s.URL, nonce: nonce}, cookie: cookie, client: pages, db: s.DB(), zone: zone}, nil
}

// nonceOf finds a nonce in a page.
func nonceOf(ctx context.Context, client *http.Client, page, cookie string, in *regexp.Regexp) (string, error) {
	body, err := getPage(ctx, client, page, cookie)
	if err != nil {
		return "", err
	}
	found := in.FindSubmatch(body)
	if found == nil {
		return "", fmt.Errorf("no nonce (%s) in %s", in, page)
	}
	return string(found[1]), nil
}

// now is what WordPress's current_time('mysql') says: the site's own digits.
func (a *agent) now() string { return time.Now().In(a.zone).Format(time.DateTime) }

// accept makes the listed chats active, as an agent who opens them does.
func (a *agent) accept(ctx context.Context, chats string) error {
	_, err := a.db.ExecContext(ctx, "UPDATE wp_wplc_chat_sessions SET status = 3, agent_id = 1, last_active_timestamp = ?"+
		" WHERE id IN ("+chats+")", a.now())
	if err != nil {
		return fmt.Errorf("accept the visitors' chats: %w", err)
	}
	return nil
}

// insert commits the row that wplc_record_chat_msg writes for an agent.
func (a *agent) insert(ctx context.Context, cid, text string) error {
	_, err := a.db.ExecContext(ctx, "INSERT INTO wp_wplc_chat_msgs"+
		" (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)"+
		` VALUES (?, 'Admin', ?, ?, 0, 1, 'a:1:{s:3:"aid";i:1;}', '', 0, 0)`, cid, text, a.now())
	if err != nil {
		return fmt.Errorf("insert a message: %w", err)
	}
	return nil
}

// post sends through the plugin's own ajax action, as the agent's page does. The
// companion plugin rings Holdline's doorbell when PHP has answered.
func (a *agent) post(ctx context.Context, cid, text string) error {
	form := url.Values{"action": {"wplc_admin_send_msg"}, "security": {a.site.nonce}, "cid": {cid}, "msg": {text}}
	body, err := postForm(ctx, a.client, a.site, form, a.cookie)
	if err == nil && string(body) != "sent" {
		err = fmt.Errorf("the agent's message was answered with %.200q", body)
	}
	return err
}

// talk sends n messages to visitors whose poll is held, at random times, and
// waits for them: as long as a poll is held and asked for again, no more than cap.
func (b *siteBench) talk(ctx context.Context, c *crowd, n int, cap time.Duration,
	send func(ctx context.Context, cid, text string) error,
) (*delays, error) {
	first := b.seq + 1
	for range n {
		v, err := c.waitForSomeone(ctx)
		if errors.Is(err, errNobodyHeld) {
			break // in a jammed site no poll may ever be held again
		}
		if err != nil {
			return nil, err
		}
		b.seq++
		begun := time.Now()
		if err := send(ctx, v.cid, benchText(b.seq)); err != nil {
			return nil, err
		}
		c.box.sent(b.seq, begun, time.Now())
		if err := sleep(ctx, about(300*time.Millisecond)()); err != nil {
			return nil, err
		}
	}
	for end := time.Now().Add(cap); time.Now().Before(end); {
		if _, missing := c.box.take(first, b.seq); missing == 0 {
			break
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	letters, _ := c.box.take(first, b.seq)
	d := sortLetters(letters)
	return &d, nil
}

var errNobodyHeld = errors.New("no visitor's poll is held")

func (c *crowd) waitForSomeone(ctx context.Context) (*visitor, error) {
	for range 600 {
		if v := c.someone(time.Now()); v != nil {
			return v, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, errNobodyHeld
}

// delays are the times from a message to the answer with it, of the messages
// that found their visitor's poll held. The others had to wait for the next poll,
// which the browser's own pause of 1.5 s decides.
type delays struct {
	Messages int `json:"messages"`
	Between  int `json:"between_polls"`
	Missing  int `json:"missing"`
	Twice    int `json:"twice"`
	// From the COMMIT (or the answer to the agent's POST), and from before it was sent.
	Committed quantiles `json:"from_commit_ms"`
	Begun     quantiles `json:"from_begin_ms"`
}

func sortLetters(letters []letter) delays {
	d := delays{Messages: len(letters)}
	var committed, begun []time.Duration
	for _, l := range letters {
		switch {
		case l.copies == 0:
			d.Missing++
			continue
		case l.copies > 1:
			d.Twice++
		}
		if l.asked.After(l.begun) {
			d.Between++
			continue
		}
		committed = append(committed, l.arrived.Sub(l.committed))
		begun = append(begun, l.arrived.Sub(l.begun))
	}
	d.Committed, d.Begun = quantilesOf(committed), quantilesOf(begun)
	return d
}

// quantiles are in milliseconds. Of nothing, N is 0.
type quantiles struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantilesOf(values []time.Duration) quantiles {
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 { return ms(percentile(sorted, q)) }
	return quantiles{N: len(sorted), P50: at(0.50), P95: at(0.95), P99: at(0.99), Max: at(1)}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
