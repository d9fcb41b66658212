// Package lru has a map that is bounded: what was not used for longest goes first.
package lru

import (
	"container/list"
	"sync"
	"time"
)

// Map keeps up to limit values, and with a life each of them until it was not used
// for that long. It may be used concurrently.
type Map[K comparable, V any] struct {
	limit int
	life  time.Duration // 0 for ever

	mu    sync.Mutex
	order list.List // of *item[K, V], the last used in front
	byKey map[K]*list.Element
}

type item[K comparable, V any] struct {
	key   K
	value V
	used  time.Time
}

// New returns an empty Map for limit values, 1 or more. A life of 0 is for ever.
func New[K comparable, V any](limit int, life time.Duration) *Map[K, V] {
	return &Map[K, V]{limit: limit, life: life, byKey: make(map[K]*list.Element)}
}

// Get returns the zero value for a key that is not known. It is a use.
func (m *Map[K, V]) Get(key K) (value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it := m.find(key); it != nil {
		value = it.value
	}
	return value
}

// Put sets the value of a key.
func (m *Map[K, V]) Put(key K, value V) { m.Update(key, func(V) V { return value }) }

// Update sets what change makes of the value that is there, or of the zero value.
// Nobody else comes between, so change must not use the Map.
func (m *Map[K, V]) Update(key K, change func(V) V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	it := m.find(key)
	if it == nil {
		it = &item[K, V]{key: key, used: time.Now()}
		m.byKey[key] = m.order.PushFront(it)
	}
	it.value = change(it.value)
	if m.order.Len() > m.limit {
		m.remove(m.order.Back())
	}
}

// Each calls fn for every value that is not too old, which is no use of it. Nobody
// else comes between, so fn must not use the Map.
func (m *Map[K, V]) Each(fn func(K, V)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.order.Front(); e != nil && !m.isOld(e); e = e.Next() {
		it := e.Value.(*item[K, V])
		fn(it.key, it.value)
	}
}

// Forget lets go of what is too old, which takes room until then.
func (m *Map[K, V]) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for e := m.order.Back(); e != nil && m.isOld(e); e = m.order.Back() {
		m.remove(e)
	}
}

// Len is how many values take room.
func (m *Map[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.order.Len()
}

// find is a use of what it finds.
func (m *Map[K, V]) find(key K) *item[K, V] {
	e, ok := m.byKey[key]
	if !ok {
		return nil
	}
	if m.isOld(e) {
		m.remove(e)
		return nil
	}
	m.order.MoveToFront(e)
	it := e.Value.(*item[K, V])
	it.used = time.Now()
	return it
}

func (m *Map[K, V]) isOld(e *list.Element) bool {
	return m.life > 0 && time.Since(e.Value.(*item[K, V]).used) > m.life
}

func (m *Map[K, V]) remove(e *list.Element) {
	m.order.Remove(e)
	delete(m.byKey, e.Value.(*item[K, V]).key)
}
