package wplc

import (
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// say inserts a message of chat 41.
func say(t *testing.T, root *sql.DB, id int, originates, status int, text string) {
	t.Helper()
	insert8(t, root, fmt.Sprintf("(%d, 41, 'x', '%s', '2019-03-19 11:00:00', %d, %d, '', '', 0, 0)", id, text, status, originates))
}

var messageKey = regexp.MustCompile(`"(\d+)":\{"msg"`)

// keys are those of the messages in an answer.
func keys(a Answer) string {
	var found []string
	for _, m := range messageKey.FindAllStringSubmatch(string(a.Body), -1) {
		found = append(found, m[1])
	}
	return strings.Join(found, " ")
}

func wantKeys(t *testing.T, what string, a Answer, want string) {
	t.Helper()
	if got := keys(a); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
	if delivered := strings.Trim(fmt.Sprint(a.Delivered), "[]"); delivered != want {
		t.Errorf("%s: marked %q, want %q", what, delivered, want)
	}
}

// A client that is not known gets what is unread, then what is new; the read
// flags, which somebody else sets later, do not matter to it.
func TestAVisitorGetsEachMessageOnce(t *testing.T) {
	site, root := loopSite(t, "8")
	s := detect(t, site)
	p := visitorPage(t, s, site, 41, "1")
	wantKeys(t, "unread", p.once("status", "3"), "905 907")
	wantKeys(t, "again", p.once(), "")
	say(t, root, 910, fromAgent, 0, "new")
	say(t, root, 911, fromVisitor, 0, "own")
	say(t, root, 912, noteForAgents, 0, "not for visitors")
	say(t, root, 913, noteForVisitor, 0, "note")
	exec(t, root, "UPDATE wp_wplc_chat_msgs SET status = 1 WHERE id < 910")
	wantKeys(t, "new", p.once(), "910 913")
	// PHP has marked this one, for an answer that perhaps never arrived.
	say(t, root, 914, fromAgent, 1, "marked")
	wantKeys(t, "marked", p.once(), "914")
	wantKeys(t, "again", p.once(), "")
	// Another page of the same visitor is another client.
	wantKeys(t, "another page", visitorPage(t, s, site, 41, "2").once("status", "3"), "910 913")
}

// An answer that was not written is given again.
func TestAnAnswerThatWasLostComesAgain(t *testing.T) {
	site, _ := loopSite(t, "8")
	p := visitorPage(t, detect(t, site), site, 41, "1")
	l, state := p.poll("status", "3")
	wantKeys(t, "lost", ask(t, p.s, site, l, state, false), "905 907")
	wantKeys(t, "in the same request", ask(t, p.s, site, l, state, false), "905 907")
	wantKeys(t, "with the next", p.once(), "905 907")
}

// Ids become visible in the order of commits.
func TestALateRowIsNotLost(t *testing.T) {
	site, root := loopSite(t, "8")
	s := detect(t, site)
	for _, p := range []*page{visitorPage(t, s, site, 41, "1"), agentPage(t, s, site, 41)} {
		exec(t, root, "DELETE FROM wp_wplc_chat_msgs WHERE id > 908")
		from := fromAgent
		if p.user != 0 {
			from = fromVisitor
		}
		p.once("status", "3", "chat_status", "3")
		say(t, root, 920, from, 0, "second")
		wantKeys(t, "second", p.once(), "920")
		say(t, root, 915, from, 0, "first")
		wantKeys(t, "first", p.once(), "915")
		say(t, root, 1500, from, 0, "long after")
		wantKeys(t, "long after", p.once(), "1500")
		say(t, root, 918, from, 0, "of a transaction that was open meanwhile")
		wantKeys(t, "of a transaction that was open meanwhile", p.once(), "918")
		say(t, root, 916, from, 1, "delivered before, by PHP")
		wantKeys(t, "none", p.once(), "")
		// An idle request has looked at what others have written.
		say(t, root, 2000, noteForVisitor+noteForAgents-originatesFor(from), 1, "for the other side")
		p.once()
		if p.cursor.seen != 2000 {
			t.Errorf("the cursor is at %d", p.cursor.seen)
		}
		wantKeys(t, "nothing", p.once(), "")
	}
}

// What was still open when a client last looked may come long afterwards, behind
// thousands of others, and be told by a process that never saw it open.
func TestALateRowIsNotLostOnAClientThatWasAway(t *testing.T) {
	site, root := loopSite(t, "8")
	say(t, root, 5000, fromAgent, 0, "told")
	p := visitorPage(t, detect(t, site), site, 41, "1")
	wantKeys(t, "at first", p.once("status", "3"), "905 907 5000")
	say(t, root, 9500, fromVisitor, 0, "own")
	say(t, root, 4000, fromAgent, 0, "was open all the time")
	for name, s := range map[string]*Source{"the same process, after minutes": p.s, "another process": detect(t, site)} {
		away := *p
		away.s = s
		s.horizon.old, s.horizon.young = sighting{time.Now(), 9400}, sighting{time.Now(), 9500}
		wantKeys(t, name, away.once(), "4000")
		wantKeys(t, name+", again", away.once(), "")
	}
}

// What is behind the horizon and does not fit into one answer comes with the next.
func TestManyLateRows(t *testing.T) {
	site, root := loopSite(t, "8")
	say(t, root, 3000, fromAgent, 0, "told")
	p := visitorPage(t, detect(t, site), site, 41, "1")
	p.once("status", "3")
	var rows []string
	for id := 1000; id < 1000+maxUnread+50; id++ {
		rows = append(rows, fmt.Sprintf("(%d, 41, 'x', 'late', '2019-03-19 11:00:00', 0, 1, '', '', 0, 0)", id))
	}
	insert8(t, root, strings.Join(rows, ", "))
	p.s.horizon.old, p.s.horizon.young = sighting{time.Now(), 3000}, sighting{time.Now(), 3000}
	if a, b := len(p.once().Delivered), len(p.once().Delivered); a != maxUnread || b != 50 {
		t.Errorf("%d rows, then %d", a, b)
	}
}

// Within a minute and a bit, rows may become visible behind all others.
func TestHorizon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h horizon
		for _, step := range []struct {
			after         time.Duration
			highest, want int64
		}{
			{0, 5000, 5000 - farBack}, // nobody knows what went before
			{30 * time.Second, 5100, 5000 - farBack},
			{30 * time.Second, 5200, 5000},
			{59 * time.Second, 5300, 5000},
			{time.Second, 5400, 5200},
			{time.Hour, 5500, 5400},
			{time.Second, 7, 0}, // ids have started again
		} {
			time.Sleep(step.after)
			if got := h.behind(step.highest); got != step.want {
				t.Errorf("at %d after %v: %d, want %d", step.highest, step.after, got, step.want)
			}
		}
	})
}

// originatesFor is the kind of note that goes to the reader of such messages.
func originatesFor(from int) int {
	if from == fromAgent {
		return noteForVisitor
	}
	return noteForAgents
}

// What a page got with the history does not come again, though PHP sends it.
func TestHistoryIsNotSentTwice(t *testing.T) {
	site, root := loopSite(t, "8")
	s := detect(t, site)
	visitor := visitorPage(t, s, site, 41, "2")
	if got := keys(visitor.once("status", "5", "short_poll", "true")); got != "901 902 903 905 1552987861000 906" {
		t.Error("visitor's history:", got)
	}
	wantKeys(t, "visitor", visitor.once("status", "3", "short_poll", "false"), "")
	agent := agentPage(t, s, site, 41)
	if got := keys(agent.once("chat_status", "3", "first_run", "true")); got != "901 903 904 905 1552987861000 906" {
		t.Error("agent's history:", got)
	}
	wantKeys(t, "agent", agent.once("first_run", "false"), "")
	say(t, root, 921, fromVisitor, 0, "new")
	say(t, root, 922, fromAgent, 0, "new")
	wantKeys(t, "visitor", visitor.once(), "922")
	wantKeys(t, "agent", agent.once(), "921")
	say(t, root, 919, fromVisitor, 0, "late")
	wantKeys(t, "agent", agent.once(), "919")
}

// The agent's page shows everything it is sent, so PHP's read flags decide.
func TestAnAgentIsNotSentWhatPHPHasSent(t *testing.T) {
	site, root := loopSite(t, "8")
	agent := agentPage(t, detect(t, site), site, 41)
	wantKeys(t, "unread", agent.once("chat_status", "3"), "904 906")
	say(t, root, 930, fromVisitor, 1, "sent by PHP")
	say(t, root, 931, fromVisitor, 0, "not sent")
	wantKeys(t, "new", agent.once(), "931")
}

func TestIdsThatStartAgain(t *testing.T) {
	site, root := loopSite(t, "8")
	p := visitorPage(t, detect(t, site), site, 41, "1")
	p.once("status", "3")
	exec(t, root, "TRUNCATE wp_wplc_chat_msgs")
	wantKeys(t, "empty", p.once(), "")
	say(t, root, 1, fromAgent, 0, "first of the new ones")
	wantKeys(t, "again", p.once(), "1")
	wantKeys(t, "none", p.once(), "")
}

func TestManyUnreadMessagesComeInPortions(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	exec(t, root, `INSERT INTO wp_wplc_chat_msgs SELECT seq, 41, 'x', 'y', '2019-03-19 11:00:00', 0, 1, '', '', 0, 0 FROM seq_1_to_500`)
	p := visitorPage(t, detect(t, site), site, 41, "1")
	var got []int64
	for range 3 {
		a := p.once("status", "3")
		got = append(got, a.Delivered...)
	}
	want := make([]int64, 500)
	for i := range want {
		want[i] = int64(i + 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages", len(got))
	}
	wantKeys(t, "none", p.once(), "")

	// And large ones by their size.
	exec(t, root, `DELETE FROM wp_wplc_chat_msgs;
		INSERT INTO wp_wplc_chat_msgs SELECT seq, 41, 'x', REPEAT('y', 100000), '2019-03-19 11:00:00', 0, 1, '', '', 0, 0 FROM seq_501_to_600`)
	first, second := len(p.once().Delivered), len(p.once().Delivered)
	third := len(p.once().Delivered)
	if first != 42 || second != 42 || third != 16 {
		t.Errorf("%d, %d and %d messages of 100 kB", first, second, third)
	}
}

func TestTheHistoryIsTheNewestHundred(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, `DELETE FROM wp_wplc_chat_msgs;
		INSERT INTO wp_wplc_chat_msgs SELECT seq, 41, 'x', 'y', '2019-03-19 11:00:00' + INTERVAL (200 - seq) SECOND, 0, 1, '', '', 0, 0 FROM seq_1_to_150`)
	p := visitorPage(t, detect(t, site), site, 41, "1")
	found := strings.Fields(keys(p.once("status", "5")))
	if len(found) != 100 || found[0] != "100" || found[99] != "1" {
		t.Errorf("%v", found)
	}
}

// Rows of talks between agents are in no answer; the same client id twice is one
// message, as in a PHP array.
func TestRowsInTheHistory(t *testing.T) {
	site, root := loopSite(t, "8")
	exec(t, root, "DELETE FROM wp_wplc_chat_msgs")
	insert8(t, root, `
		(1, 41, 'x', 'private', '2019-03-19 11:00:00', 0, 1, '', '', 7, 0),
		(2, 41, 'x', 'first', '2019-03-19 11:00:00', 0, 1, '', 'a/b', 0, 0),
		(3, 41, 'x', 'zero', '2019-03-19 11:00:00', 0, 2, 'b:1;', '0', 0, 0),
		(4, 41, 'x', 'second', '2019-03-19 11:00:01', 0, 1, 'a:1:{i:0;i:9;}', 'a/b', 0, 0),
		(5, 41, 'x', 'x', '2019-03-19 11:00:01', 0, 2, 'a:2:{s:8:"datetime";i:1;s:1:"z";d:0.5;}', '', 0, 0),
		(6, 41, 'x', 'x', '2019-03-19 11:00:02', 0, 1, 'a:1:{damaged', '', 0, 0),
		(7, 41, 'x', 'x', '2019-03-19 11:00:02', 0, 1, 'text', '', 0, 0),
		(8, 41, 'x', 'x', '2019-03-19 11:00:02', 0, 1, 'a:1:{i:0;d:INF;}', '', 0, 0)`)
	exec(t, root, "SET SESSION sql_mode = ''; INSERT INTO wp_wplc_chat_msgs SET id = 9, chat_sess_id = 41, originates = 0, msg = 'no time'")
	p := visitorPage(t, detect(t, site), site, 41, "1")
	_, data, _ := strings.Cut(string(p.once("status", "5").Body), `"data":`)
	const span = `"<span class='chat_time wplc-color-4'>01 Jan 1970 00:00:00<\/span> <span class='wplc_system_notification wplc-color-4'>no time<\/span>"`
	want := `{"9":{"msg":` + span + `,"other":{"datetime":false,"datetimeUTC":false},"originates":"0"},` +
		`"a\/b":{"msg":"second","originates":"1","other":[9]},` +
		`"3":{"msg":"zero","originates":"2","other":{"datetime":1552993200,"datetimeUTC":1552986000}},` +
		`"5":{"msg":"x","originates":"2","other":{"datetime":1552993201,"z":0.5,"datetimeUTC":1552986001}},` +
		`"6":{"msg":"x","originates":"1","other":false},` +
		`"7":{"msg":"x","originates":"1","other":"text"},` +
		`"8":{"msg":"x","originates":"1","other":""}},"sound":false}`
	if data != want {
		t.Errorf("%s\nwant %s", data, want)
	}
	wantKeys(t, "no private one", visitorPage(t, p.s, site, 41, "2").once("status", "3"), "9 2 4 6 7 8")
}

// Only clients that are not known, and pages that were just loaded, cost a walk
// through the table.
func TestALoopReadsLittle(t *testing.T) {
	site, _ := bigSite(t)
	s := detect(t, site)
	p := visitorPage(t, s, site, 1500, "1")
	for name, status := range map[string]string{"first": "3", "history": "5"} {
		all, _ := handlerReads(t, site, func(*testing.T) { visitorPage(t, s, site, 1500, name).once("status", status) })
		if all < manyRows {
			t.Errorf("%s: %d rows read", name, all)
		}
	}
	s.horizon.old.highest = manyRows // as after a minute or two
	p.once("status", "3")
	before := site.queries.Load()
	all, next := handlerReads(t, site, func(*testing.T) { p.once("status", "3") })
	if all > 200 || next > 20 {
		t.Errorf("a known client: %d rows read, %d of them in a row", all, next)
	}
	// Two for the counters, one option, the chat, its messages.
	if n := site.queries.Load() - before; n != 3 {
		t.Errorf("%d queries", n)
	}
}
