package wplc

import (
	"container/list"
	"sync"
	"time"
)

// lru remembers up to max values, each until it was not used for ttl. The least
// recently used go first. It is safe for concurrent use.
type lru[V any] struct {
	max int
	ttl time.Duration

	mu    sync.Mutex
	order list.List // of *lruItem[V], the last used in front
	byKey map[string]*list.Element
}

type lruItem[V any] struct {
	key   string
	value V
	used  time.Time
}

func newLRU[V any](most int, ttl time.Duration) *lru[V] {
	return &lru[V]{max: most, ttl: ttl, byKey: make(map[string]*list.Element)}
}

// get returns the zero value for what is not known.
func (c *lru[V]) get(key string) (v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if item := c.find(key); item != nil {
		v = item.value
	}
	return v
}

// update puts what change makes of the value that is there, or of the zero value.
func (c *lru[V]) update(key string, change func(V) V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	item := c.find(key)
	if item == nil {
		item = &lruItem[V]{key: key, used: time.Now()}
		c.byKey[key] = c.order.PushFront(item)
	}
	item.value = change(item.value)
	for c.order.Len() > c.max {
		c.remove(c.order.Back())
	}
}

// forget lets go of what is too old.
func (c *lru[V]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Back(); e != nil && c.isOld(e); e = c.order.Back() {
		c.remove(e)
	}
}

func (c *lru[V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *lru[V]) find(key string) *lruItem[V] {
	e, ok := c.byKey[key]
	if !ok {
		return nil
	}
	if c.isOld(e) {
		c.remove(e)
		return nil
	}
	c.order.MoveToFront(e)
	item := e.Value.(*lruItem[V])
	item.used = time.Now()
	return item
}

func (c *lru[V]) isOld(e *list.Element) bool {
	return time.Since(e.Value.(*lruItem[V]).used) > c.ttl
}

func (c *lru[V]) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.byKey, e.Value.(*lruItem[V]).key)
}
