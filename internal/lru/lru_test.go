package lru_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/lru"
)

// has compares what is there without a look at what is asked for last.
func has(t *testing.T, m *lru.Map[string, int], count int, want map[string]int) {
	t.Helper()
	if m.Len() != count {
		t.Errorf("%d values take room, want %d", m.Len(), count)
	}
	got := make(map[string]int)
	for key := range want {
		got[key] = m.Get(key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want, got: %s", diff)
	}
}

func TestTheLeastRecentlyUsedGoFirst(t *testing.T) {
	m := lru.New[string, int](3, 0)
	m.Put("a", 1)
	m.Put("b", 2)
	m.Put("c", 3)
	m.Get("a")
	m.Update("b", func(v int) int { return v + 20 })
	m.Put("d", 4)
	m.Put("d", 5)
	has(t, m, 3, map[string]int{"a": 1, "b": 22, "c": 0, "d": 5})
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := lru.New[string, int](3, time.Hour)
		m.Put("a", 1)
		m.Put("b", 2)
		m.Put("c", 3)
		time.Sleep(40 * time.Minute)
		m.Get("a")
		m.Update("b", func(v int) int { return v })
		time.Sleep(40 * time.Minute)
		has(t, m, 3, map[string]int{"a": 1, "b": 2, "c": 0})
		m.Update("c", func(v int) int { return v + 1 })
		has(t, m, 3, map[string]int{"c": 1}) // not 4: the old one was gone
		time.Sleep(time.Hour)
		if m.Forget(); m.Len() != 3 {
			t.Errorf("%d are left at the end of their life, want 3", m.Len())
		}
		time.Sleep(time.Nanosecond)
		if m.Forget(); m.Len() != 0 {
			t.Errorf("%d are left after their life", m.Len())
		}
	})
}

func TestWithoutALifeNothingGetsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := lru.New[string, int](3, 0)
		m.Put("a", 1)
		time.Sleep(1000 * time.Hour)
		m.Forget()
		has(t, m, 1, map[string]int{"a": 1})
	})
}

func TestConcurrentUse(t *testing.T) {
	const workers, rounds = 8, 1000
	m := lru.New[int, int](workers, time.Hour)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				m.Update(0, func(v int) int { return v + 1 })
			}
		})
		all.Go(func() {
			for i := range rounds {
				m.Put(1+i, i)
				m.Get(0)
				m.Forget()
			}
		})
	}
	all.Wait()
	if m.Len() > workers {
		t.Errorf("%d values in a map for %d", m.Len(), workers)
	}
}
