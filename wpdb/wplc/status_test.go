package wplc

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/chat"
)

// status asks once and returns the Data of each channel's event. It fails when
// that takes more than one query.
func status(t *testing.T, s *Source, site *testSite, watched ...string) map[string]string {
	t.Helper()
	before := site.queries.Load()
	events, err := s.Status(context.Background(), site, watched)
	if err != nil {
		t.Fatal(err)
	}
	if n := site.queries.Load() - before; n > 1 {
		t.Errorf("%d queries for one call", n)
	}
	out := make(map[string]string)
	for _, e := range events {
		if e.Type != chat.TypeStatus || e.ID != 0 || e.From != nil || e.Body != "" || !e.SentAt.IsZero() {
			t.Errorf("%s: more than a status: %+v", e.Channel, e)
		}
		if _, twice := out[e.Channel]; twice {
			t.Errorf("%s was told twice in one call", e.Channel)
		}
		out[e.Channel] = string(e.Data)
	}
	return out
}

func wantStatus(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatusOfWatchedChats(t *testing.T) {
	site, root := newSite8(t)
	s := detect(t, site)
	none := map[string]string{}

	before := site.queries.Load()
	wantStatus(t, status(t, s, site), none)
	wantStatus(t, status(t, s, site, "41/agent", "x", "041"), none)
	if n := site.queries.Load() - before; n != 0 {
		t.Errorf("%d queries for nobody", n)
	}

	active := `{"status":3,"state":"active","agent_id":1}`
	wantStatus(t, status(t, s, site, "41", "42", "41", "41/agent"), map[string]string{
		"wplc/41": active,
		"wplc/42": `{"status":2,"state":"pending"}`,
	})
	wantStatus(t, status(t, s, site, "41", "42"), none)

	// Neither a heartbeat nor another name is news to the chat's own channel.
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = NOW(), name = 'x', email = 'y', url = 'z' WHERE id = 41")
	wantStatus(t, status(t, s, site, "41", "42"), none)

	exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 3, agent_id = 7 WHERE id = 42")
	wantStatus(t, status(t, s, site, "41", "42"), map[string]string{"wplc/42": `{"status":3,"state":"active","agent_id":7}`})

	// What is not watched is forgotten, and told again.
	wantStatus(t, status(t, s, site, "42"), none)
	wantStatus(t, status(t, s, site, "41", "42"), map[string]string{"wplc/41": active})

	gone := `{"status":4,"state":"deleted"}`
	exec(t, root, "DELETE FROM wp_wplc_chat_sessions WHERE id = 42")
	wantStatus(t, status(t, s, site, "41", "42", "777"), map[string]string{"wplc/42": gone, "wplc/777": gone})
	wantStatus(t, status(t, s, site, "41", "42", "777"), none)
	exec(t, root, "INSERT INTO wp_wplc_chat_sessions SELECT 777, timestamp, name, email, ip, 5, session, url, timestamp, 0, '', '' FROM wp_wplc_chat_sessions WHERE id = 41")
	wantStatus(t, status(t, s, site, "777"), map[string]string{"wplc/777": `{"status":5,"state":"browsing"}`})
}

func TestNamesOfStates(t *testing.T) {
	site, root := newSite8(t)
	s := detect(t, site)
	for n, want := range map[int]string{
		0: "missed", 1: "ended", 2: "pending", 3: "active", 4: "deleted", 5: "browsing", 6: "invited", 7: "timed_out",
		8: "ended", 9: "dismissed", 10: "minimised", 12: "unanswered", 99: "unknown", -1: "unknown",
	} {
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = ?, agent_id = 0 WHERE id = 41", n)
		status(t, s, site) // forget
		wantStatus(t, status(t, s, site, "41"), map[string]string{"wplc/41": fmt.Sprintf(`{"status":%d,"state":%q}`, n, want)})
	}
}

func TestStatusOf5(t *testing.T) {
	site, root := newSite(t, "wplc-5.sql")
	exec(t, root, repoFile(t, "wplc", "fixture-5.sql"))
	s := detect(t, site)
	wantStatus(t, status(t, s, site, "1", "agents"), map[string]string{
		"wplc/1": `{"status":3,"state":"active"}`,
		"wplc/agents": `{"visitors":2,"chats":[{"id":1,"name":"Ann O'Neil","email":"ann@example.com","status":3,"state":"active",` +
			`"started_at":"2015-08-20T07:29:55Z","url":"http://127.0.0.1:28081/shop/"}]}`,
	})
}

func TestStatusKeepsNothingOfAFailedQuery(t *testing.T) {
	site, _ := newSite8(t)
	s := detect(t, site)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if events, err := s.Status(ctx, site, []string{"41", "agents"}); err == nil || events != nil {
		t.Fatalf("%v, %v", events, err)
	}
	if got := status(t, s, site, "41", "agents"); len(got) != 2 {
		t.Errorf("after a failure: %v", got)
	}
}

const fixtureList = `{"visitors":5,"chats":[` +
	`{"id":44,"name":"Cy","email":"cy@example.com","status":12,"state":"unanswered","started_at":"2019-03-18T07:32:00Z","url":"https://shop.example/a"},` +
	`{"id":41,"name":"Ann O'Neil","email":"ann@example.com","status":3,"state":"active","agent_id":1,"started_at":"2019-03-19T08:29:55Z","url":"https://shop.example/produkt/kaffee-und-tee/?x=1"},` +
	`{"id":42,"name":"Bob","email":"bob@example.com","status":2,"state":"pending","started_at":"2019-03-19T08:31:30Z","url":"https://shop.example/"},` +
	`{"id":46,"name":"Eva","email":"eva@example.com","status":10,"state":"minimised","agent_id":1,"started_at":"2019-03-19T08:32:00Z","url":"https://shop.example/a"}]}`

// listOf asks for the agents' list and returns its number of visitors and the
// ids of its chats; ok is false when it was not told.
func listOf(t *testing.T, s *Source, site *testSite, watched ...string) (visitors int, ids []int64, more int, ok bool) {
	t.Helper()
	data, ok := status(t, s, site, append(watched, "agents")...)["wplc/agents"]
	if !ok {
		return 0, nil, 0, false
	}
	var list struct {
		Visitors int
		Chats    []struct{ ID int64 }
		More     int
	}
	if err := json.Unmarshal([]byte(data), &list); err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Chats {
		ids = append(ids, c.ID)
	}
	return list.Visitors, ids, list.More, true
}

// bubble runs a test in a synctest bubble with a connection of its own.
func bubble(t *testing.T, site *testSite, run func(t *testing.T)) {
	t.Helper()
	var database string
	if err := site.DB.QueryRow("SELECT DATABASE()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	outside := site.DB
	synctest.Test(t, func(t *testing.T) {
		site.DB = open(t, "ro_"+database, database)
		run(t)
	})
	site.DB = outside
}

func isScan(site *testSite) bool { return strings.Contains(site.last, "MAX(`id`)") }

func TestListOfOpenChats(t *testing.T) {
	site, root := newSite8(t)
	bubble(t, site, func(t *testing.T) {
		s := detect(t, site)
		none := map[string]string{}
		wantStatus(t, status(t, s, site, "agents"), map[string]string{"wplc/agents": fixtureList})
		if !isScan(site) {
			t.Error("the first look was no scan")
		}
		wantStatus(t, status(t, s, site, "agents"), none)
		if isScan(site) {
			t.Error("the second look was a scan again")
		}
		// Whoever listens anew is told, and that takes a scan.
		wantStatus(t, status(t, s, site), none)
		wantStatus(t, status(t, s, site, "agents", "41"), map[string]string{
			"wplc/agents": fixtureList,
			"wplc/41":     `{"status":3,"state":"active","agent_id":1}`,
		})
		// A heartbeat is no news.
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET last_active_timestamp = NOW()")
		wantStatus(t, status(t, s, site, "agents", "41"), none)
	})
}

func TestListFollowsChangesWithoutAScan(t *testing.T) {
	site, root := newSite8(t)
	bubble(t, site, func(t *testing.T) {
		s := detect(t, site)
		status(t, s, site, "agents")
		insert := "INSERT INTO wp_wplc_chat_sessions SELECT ?, ?, name, email, ip, ?, session, url, timestamp, 0, '', '' FROM wp_wplc_chat_sessions WHERE id = 41"
		for _, step := range []struct {
			what     string
			sql      string
			args     []any
			visitors int
			ids      []int64
		}{
			{"a visitor comes", insert, []any{50, "2019-03-19 10:32:10", 5}, 6, []int64{44, 41, 42, 46}},
			{"and asks", "UPDATE wp_wplc_chat_sessions SET status = 2 WHERE id = 50", nil, 6, []int64{44, 41, 42, 46, 50}},
			{"a chat ends that nobody listed", "UPDATE wp_wplc_chat_sessions SET status = 8 WHERE id = 43", nil, -1, nil},
			{"a chat ends", "UPDATE wp_wplc_chat_sessions SET status = 1 WHERE id = 41", nil, 5, []int64{44, 42, 46, 50}},
			{"a row goes", "DELETE FROM wp_wplc_chat_sessions WHERE id = 44", nil, 4, []int64{42, 46, 50}},
			{"a visitor leaves", "UPDATE wp_wplc_chat_sessions SET status = 7 WHERE id = 43", nil, 3, []int64{42, 46, 50}},
			{"a late commit", insert, []any{48, "2019-03-19 10:32:05", 2}, 4, []int64{42, 46, 48, 50}},
			{"an ended chat comes to the range", insert, []any{51, "2019-03-19 10:33:00", 1}, -1, nil},
		} {
			exec(t, root, step.sql, step.args...)
			visitors, ids, _, ok := listOf(t, s, site)
			if ok != (step.visitors >= 0) {
				t.Errorf("%s: told is %v", step.what, ok)
			} else if ok && (visitors != step.visitors || !slices.Equal(ids, step.ids)) {
				t.Errorf("%s: %d visitors, chats %v; want %d, %v", step.what, visitors, ids, step.visitors, step.ids)
			}
			if isScan(site) {
				t.Errorf("%s: found by a scan", step.what)
			}
		}
	})
}

func TestListIsScannedAgain(t *testing.T) {
	site, root := newSite8(t)
	bubble(t, site, func(t *testing.T) {
		s := detect(t, site)
		status(t, s, site, "agents")
		exec(t, root, "INSERT INTO wp_wplc_chat_sessions SELECT 90, timestamp, name, email, ip, 1, session, url, timestamp, 0, '', '' FROM wp_wplc_chat_sessions WHERE id = 41")
		status(t, s, site, "agents")
		// An ended chat far behind the newest comes back to life.
		exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 5 WHERE id = 45")
		scans := 0
		for range 29 {
			time.Sleep(time.Second)
			if _, _, _, ok := listOf(t, s, site); ok || isScan(site) {
				scans++
			}
		}
		if scans != 0 {
			t.Errorf("%d scans in 29 seconds", scans)
		}
		time.Sleep(time.Second)
		if visitors, _, _, ok := listOf(t, s, site); !ok || visitors != 6 || !isScan(site) {
			t.Errorf("after 30 seconds: %d visitors, told %v, scan %v", visitors, ok, isScan(site))
		}
		if _, _, _, ok := listOf(t, s, site); ok || isScan(site) {
			t.Error("the next look was a scan again")
		}
	})
}

func TestListStartsAgainAfterTruncate(t *testing.T) {
	site, root := newSite8(t)
	bubble(t, site, func(t *testing.T) {
		s := detect(t, site)
		status(t, s, site, "agents")
		exec(t, root, `CREATE TABLE old AS SELECT * FROM wp_wplc_chat_sessions WHERE id = 42; TRUNCATE wp_wplc_chat_sessions;
			INSERT INTO wp_wplc_chat_sessions SELECT 1, timestamp, name, email, ip, 2, session, url, timestamp, 0, '', '' FROM old`)
		if visitors, ids, _, ok := listOf(t, s, site); !ok || visitors != 0 || ids != nil {
			t.Errorf("at once: %d visitors, %v, %v", visitors, ids, ok)
		}
		time.Sleep(rescanWait)
		if visitors, ids, _, ok := listOf(t, s, site); !ok || visitors != 1 || !slices.Equal(ids, []int64{1}) {
			t.Errorf("after %v: %d visitors, %v, %v", rescanWait, visitors, ids, ok)
		}
		// An empty table is nothing to scan again and again, yet it is told.
		exec(t, root, "DELETE FROM wp_wplc_chat_sessions")
		listOf(t, s, site)
		time.Sleep(rescanWait)
		if listOf(t, s, site); !isScan(site) {
			t.Error("no scan after the newest vanished")
		}
		empty := map[string]string{"wplc/agents": `{"visitors":0,"chats":[]}`}
		status(t, s, site)
		wantStatus(t, status(t, s, site, "agents"), empty)
		for range 5 {
			time.Sleep(rescanWait)
			if listOf(t, s, site); isScan(site) {
				t.Error("an empty table is scanned all the time")
			}
		}
	})
}

// fill adds n sessions of a status with ids from 1000 on.
func fill(t testing.TB, root *sql.DB, n, status int) {
	t.Helper()
	exec(t, root, "INSERT INTO wp_wplc_chat_sessions SELECT seq, '2019-03-19 10:00:00', CONCAT('V', seq), 'v@example.com', '', ?,"+
		" '1', 'https://shop.example/', '2019-03-19 10:00:00', 0, '', '' FROM seq_1000_to_"+strconv.Itoa(999+n), status)
}

func names(from, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(from + i)
	}
	return out
}

// asked counts the ids of the last query's IN list, each of which must be there
// once.
func asked(t *testing.T, site *testSite) int {
	t.Helper()
	_, list, found := strings.Cut(site.last, "`id` IN (")
	if !found {
		return 0
	}
	list, _, _ = strings.Cut(list, ")")
	ids := strings.Split(list, ",")
	once := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(once) != len(ids) {
		t.Errorf("%d of %d ids are asked for twice", len(ids)-len(once), len(ids))
	}
	return len(ids)
}

func TestManyWatchedChatsAreAskedForInTurns(t *testing.T) {
	site, root := newSite8(t)
	fill(t, root, 2000, 3)
	s := detect(t, site)
	watched := names(1000, 2000)
	told := map[string]string{}
	for range 3 {
		for channel, data := range status(t, s, site, watched...) {
			if told[channel] != "" {
				t.Errorf("%s was told again", channel)
			}
			told[channel] = data
		}
		if n := asked(t, site); n > maxAsked {
			t.Errorf("%d ids in one query", n)
		}
	}
	if len(told) != 2000 {
		t.Fatalf("%d of 2000 told after three calls", len(told))
	}
	// A newcomer does not wait for its turn, a change does for three calls at most.
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 1 WHERE id IN (1000, 1999, 2999)")
	watched = append(watched, "41")
	got := status(t, s, site, watched...)
	if got["wplc/41"] == "" {
		t.Error("the newcomer was not told at once")
	}
	for range 2 {
		for channel := range status(t, s, site, watched...) {
			got[channel] = "ended"
		}
	}
	if len(got) != 4 {
		t.Errorf("after three calls: %v", got)
	}
}

func TestOpenSessionsNobodyChatsInHaveTheirTurnToo(t *testing.T) {
	site, root := newSite8(t)
	fill(t, root, 1500, 5)
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET status = 3 WHERE id < 2200")
	bubble(t, site, func(t *testing.T) {
		s := detect(t, site)
		if visitors, ids, more, _ := listOf(t, s, site); visitors != 1506 || len(ids) != maxListed || more != 1206-maxListed {
			t.Fatalf("%d visitors, %d chats, %d more", visitors, len(ids), more)
		}
		exec(t, root, "DELETE FROM wp_wplc_chat_sessions WHERE id BETWEEN 2200 AND 2450")
		left := 0
		for range 3 {
			if visitors, _, _, ok := listOf(t, s, site); ok {
				left = visitors
			}
			if n := asked(t, site); n > maxAsked || n < maxAsked-overlap {
				t.Errorf("%d ids in one query", n)
			}
		}
		if left != 1255 {
			t.Errorf("%d visitors left after three calls", left)
		}
		if isScan(site) {
			t.Error("found by a scan")
		}
	})
}

func TestListIsBounded(t *testing.T) {
	site, root := newSite8(t)
	exec(t, root, "DELETE FROM wp_wplc_chat_sessions")
	fill(t, root, maxRead+100, 2)
	s := detect(t, site)
	visitors, ids, more, _ := listOf(t, s, site)
	if visitors != maxRead || len(ids) != maxListed || more != maxRead-maxListed || ids[len(ids)-1] != maxRead+1099 {
		t.Errorf("%d visitors, %d chats up to %v, %d more", visitors, len(ids), ids[len(ids)-1:], more)
	}
	// A chat that a bounded answer is silent about is not taken for deleted.
	status(t, s, site)
	if got := status(t, s, site, "1000", "agents")["wplc/1000"]; !isScan(site) || got != "" {
		t.Errorf("the oldest chat after the scan: %s", got)
	}
	if got := status(t, s, site, "1000", "agents")["wplc/1000"]; got != `{"status":2,"state":"pending"}` {
		t.Errorf("the oldest chat after the next look: %s", got)
	}

	// Long texts: 700 characters that JSON writes as six bytes each.
	exec(t, root, "UPDATE wp_wplc_chat_sessions SET name = REPEAT('<', 700), email = REPEAT('漢', 700), url = REPEAT('&', 700)")
	status(t, s, site)
	data := status(t, s, site, "agents")["wplc/agents"]
	if len(data) > maxListSize+1000 || len(data) < maxListSize/2 || strings.Contains(data, strings.Repeat("漢", maxListText+1)) {
		t.Errorf("%d bytes of list", len(data))
	}
	var list listData
	if err := json.Unmarshal([]byte(data), &list); err != nil || len(list.Chats)+list.More != maxRead {
		t.Errorf("%d chats and %d more, %v", len(list.Chats), list.More, err)
	}
}
