package dropin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cycle is the length of the script: each visitor comes once in it. Its times are
// such that no row is within 30 s of the age at which it changes when a cycle ends,
// nor one or more cycles later.
const cycle = 84 * time.Second

// TestTablesAsPHPLeavesThem lets the same people do the same on two sites at the
// same time, one of PHP alone and one with Holdline, and compares all rows. What
// PHP's loops write besides answering must have come by other ways: heartbeats,
// read flags, ageing, the missed chat, the end. With -dropin.hour=1h it is an hour.
func TestTablesAsPHPLeavesThem(t *testing.T) {
	t.Parallel()
	stages := ownStages(t)
	for _, s := range stages {
		s.holdFor(55, 500*time.Millisecond) // as the plugin comes
	}
	var both sync.WaitGroup
	began := time.Now()
	for _, s := range stages {
		both.Go(func() { liveThrough(s, began) })
	}
	both.Wait()
	if t.Failed() {
		return
	}
	compareTables(t, stages[0], stages[1])
}

// ownStages are on sites that no other test uses: this one lasts.
func ownStages(t *testing.T) []*stage {
	t.Helper()
	plain, err := newPlainGround(t.Context())
	t.Cleanup(func() { ends(t, plain) })
	if err != nil {
		t.Fatal(err)
	}
	held, err := newHeldGround(t.Context(), t.TempDir())
	t.Cleanup(func() { ends(t, held) })
	if err != nil {
		t.Fatal(err)
	}
	return []*stage{plain.stage(t, php, nginx), held.stage(t, native, nginx)}
}

func ends(t *testing.T, g *ground) {
	if err := g.down(); err != nil {
		t.Error(err)
	}
}

// liveThrough goes through the script again and again until the hour is over.
func liveThrough(s *stage, began time.Time) {
	desk := login(s, "admin").dashboard()
	desk.pace = 1
	for n := 0; n == 0 || time.Duration(n+1)*cycle <= *hourFor; n++ {
		c := &script{s: s, desk: desk, began: began.Add(time.Duration(n) * cycle), cycle: n}
		c.run()
	}
}

// script is one cycle on one site. Names and page sessions are the same on both.
type script struct {
	s     *stage
	desk  *window
	began time.Time
	cycle int
	open  []*visitor
}

// at waits for a moment of the cycle.
func (c *script) at(seconds float64) {
	pass(c.s.ctx, time.Until(c.began.Add(time.Duration(seconds*float64(time.Second)))))
}

// come is a visitor's first page, with the plugin's own pauses from then on.
func (c *script) come(who int) *visitor {
	v := visit(c.s, c.session(who, 1))
	v.pace = 1
	c.open = append(c.open, v)
	return v
}

func (c *script) session(who, page int) string {
	return fmt.Sprintf("15529%03d%02d%03d", c.cycle%1000, who, page)
}

func (c *script) start(v *visitor, name string) {
	v.start(name, strings.ToLower(name)+"@example.com")
}

func (c *script) run() {
	c.at(0)
	idle, waits, talks, small := c.come(1), c.come(2), c.come(3), c.come(4)
	leaves, closes, closed := c.come(5), c.come(6), c.come(7)
	c.at(4)
	c.start(waits, "Wanda") // and nobody answers
	for _, v := range []struct {
		*visitor
		name string
	}{{talks, "Tom"}, {small, "Sue"}, {leaves, "Leo"}, {closes, "Cloe"}, {closed, "Cleo"}} {
		c.start(v.visitor, v.name)
		c.desk.accept(v.chat())
		c.desk.writeTo(v.chat(), "Hello "+v.name)
		v.send("Hello agent, I'm " + v.name)
	}
	window := c.desk.agent.open(talks.chat())
	c.at(14)
	small.minimise()
	closes.end()

	c.desk.post("wplc_admin_close_chat", map[string][]string{"cid": {closed.chat()}})
	c.at(18)
	talks.send("one more thing")
	idle = c.reload(idle, 1)
	c.at(24)
	leaves.close() // without a word
	c.at(30)
	talks = c.reload(talks, 3)
	c.at(36)
	c.look() // ages by itself
	c.at(40)
	window.write("what is it?")
	c.at(50)
	talks.send("the second thing")
	c.at(60)
	window.write("I see")
	c.at(cycle.Seconds() - 10)
	c.look()
	c.at(cycle.Seconds() - 5)
	talks.seen.await(c.s.t, "I see")
	waits.seen.await(c.s.t, "No agent was able")
	for _, v := range append(c.open, idle, talks) {
		v.close()
	}
	window.close()
	c.at(cycle.Seconds())
}

// reload goes to another page.
func (c *script) reload(v *visitor, who int) *visitor {
	next := v.reload(c.s, c.session(who, 2), "/")
	c.open = append(c.open, next)
	return next
}

// look opens a page of wp-admin, which ages all chats: the moments at which that
// happens otherwise differ between the sites.
func (c *script) look() { c.desk.agent.load("") }

// settleWithin is how long both sites may take over what their people did last:
// less than the 30 s after which the first row could age.
const settleWithin = 25 * time.Second

// compareTables compares row by row, once the last writes of both sites are there:
// flags of what was just read, and what a busy PHP comes round to late.
func compareTables(t *testing.T, want, got *stage) {
	t.Helper()
	sessions := []string{"status", "session", "url", "ip", "name", "email", "agent_id", "other", "rel"}
	messages := []string{"chat_sess_id", "msgfrom", "msg", "status", "originates", "other", "rel"}
	compare := func() (chats int, different []string) {
		a, b := want.dump("wp_wplc_chat_sessions", sessions), got.dump("wp_wplc_chat_sessions", sessions)
		different = report("wp_wplc_chat_sessions", sessions, a, b)
		return len(a), append(different, report("wp_wplc_chat_msgs", messages, want.dump("wp_wplc_chat_msgs", messages), got.dump("wp_wplc_chat_msgs", messages))...)
	}
	began := time.Now()
	chats, different := compare()
	for len(different) > 0 && time.Since(began) < settleWithin && pass(want.ctx, 100*time.Millisecond) {
		chats, different = compare()
	}
	for _, line := range different {
		t.Error(line)
	}
	beats := beatsApart(t, want, got)
	t.Logf("%d chats, compared after %v; last_active_timestamp is at most %v apart", chats, time.Since(began).Round(100*time.Millisecond), slices.Max(beats))
}

// dump is a table's rows by id, with the site's address taken out.
func (s *stage) dump(table string, columns []string) (rows [][]string) {
	s.t.Helper()
	result, err := s.site.DB().QueryContext(context.Background(), "SELECT "+strings.Join(columns, ", ")+" FROM "+table+" ORDER BY id")
	if err != nil {
		s.t.Fatal(err)
	}
	defer result.Close()
	address := strings.NewReplacer(s.url, "SITE")
	for result.Next() {
		row := make([]string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := result.Scan(into...); err != nil {
			s.t.Fatal(err)
		}
		for i := range row {
			row[i] = address.Replace(row[i])
		}
		rows = append(rows, row)
	}
	if err := result.Err(); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// report is what differs, a line each.
func report(table string, columns []string, want, got [][]string) (different []string) {
	if len(want) != len(got) {
		different = append(different, fmt.Sprintf("%s: PHP left %d rows, Holdline %d", table, len(want), len(got)))
	}
	for i := range min(len(want), len(got)) {
		for j, column := range columns {
			if want[i][j] != got[i][j] {
				named := want[i][slices.Index(columns, "msg")+slices.Index(columns, "name")+1]
				different = append(different, fmt.Sprintf("%s, row %d (%s), %s:\n PHP      %s\n Holdline %s", table, i+1, named, column, want[i][j], got[i][j]))
			}
		}
	}
	return different
}

// apart is how far two heartbeats may be from each other. PHP writes one every 29 s;
// Holdline's waits for the batch that goes every 22 s, and is stamped when it arrives.
const apart = 55 * time.Second

func beatsApart(t *testing.T, want, got *stage) (all []time.Duration) {
	t.Helper()
	const column = "last_active_timestamp"
	a, b := want.dump("wp_wplc_chat_sessions", []string{column, "name"}), got.dump("wp_wplc_chat_sessions", []string{column, "name"})
	all = []time.Duration{0}
	for i := range min(len(a), len(b)) {
		x, errX := time.Parse(time.DateTime, a[i][0])
		y, errY := time.Parse(time.DateTime, b[i][0])
		if errX != nil || errY != nil {
			t.Errorf("row %d: %s is %q and %q", i+1, column, a[i][0], b[i][0])
			continue
		}
		d := y.Sub(x).Abs()
		all = append(all, d)
		if d > apart {
			t.Errorf("row %d (%s): %s is %s with PHP and %s with Holdline", i+1, a[i][1], column, a[i][0], b[i][0])
		}
	}
	return all
}
