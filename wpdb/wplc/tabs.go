package wplc

import (
	"slices"
	"sync"
)

// maxTabs bounds the chats whose pages are remembered, times two.
const maxTabs = 10_000

// tabs remembers which page of a visitor has a chat: PHP's loop stores the page's
// wplcsession with its first round, and a loop that finds another one there says
// 11, on which the page hides its box. Here the row is written by others, later,
// and may show the page before last for a while; so this memory comes first.
type tabs struct {
	mu       sync.Mutex
	now, old map[int64]tab // what was not asked for since now was full is forgotten
}

// tab is the page that has a chat.
type tab struct {
	session string
	before  string // the page that had it before
	stored  string // what the row showed when the page took it
}

// take gives the chat, whose row shows the page stored, to a page.
func (t *tabs) take(cid int64, session, stored string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, _ := t.find(cid)
	if last.session != session {
		t.put(cid, tab{session: session, before: last.session, stored: stored})
	}
}

// holder is the page that has the chat, "" if that is not known. stored is what
// the row shows now; late are values that it may still show because a newer one
// is on its way. Any third value was written for a page that PHP has served
// meanwhile.
func (t *tabs) holder(cid int64, stored string, late ...string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.find(cid)
	if ok {
		late = append(late, "", last.session, last.before, last.stored)
	}
	if slices.Contains(late, stored) {
		return last.session
	}
	return stored
}

func (t *tabs) find(cid int64) (tab, bool) {
	if found, ok := t.now[cid]; ok {
		return found, true
	}
	found, ok := t.old[cid]
	if ok {
		t.put(cid, found)
	}
	return found, ok
}

func (t *tabs) put(cid int64, v tab) {
	if t.now == nil || len(t.now) >= maxTabs {
		t.now, t.old = make(map[int64]tab), t.now
	}
	t.now[cid] = v
}
