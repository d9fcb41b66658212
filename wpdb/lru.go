package wpdb

import linked "container/list"

// lru is a map that forgets what was not used for longest. It is not for
// concurrent use.
type lru[K comparable, V any] struct {
	limit int
	order *linked.List // of entry[K, V], the last used at the front
	index map[K]*linked.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, order: linked.New(), index: make(map[K]*linked.Element)}
}

func (l *lru[K, V]) get(key K) (value V, ok bool) {
	e, ok := l.index[key]
	if !ok {
		return value, false
	}
	l.order.MoveToFront(e)
	return e.Value.(entry[K, V]).value, true
}

func (l *lru[K, V]) put(key K, value V) {
	l.remove(key)
	l.index[key] = l.order.PushFront(entry[K, V]{key, value})
	if l.order.Len() > l.limit {
		l.remove(l.order.Back().Value.(entry[K, V]).key)
	}
}

func (l *lru[K, V]) remove(key K) {
	if e, ok := l.index[key]; ok {
		l.order.Remove(e)
		delete(l.index, key)
	}
}
