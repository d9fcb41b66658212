// Package keep is a small map that outlives its process: it is held in memory, and
// each change is appended to a file. A change is there for the next process as soon
// as Put returns, even if this one is killed, since the kernel has it; it is not
// synced to the disk, so a power cut may take the last changes, and those alone. It
// is for what is good to know and can be done without, and not for secrets.
package keep

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// ErrLocked is returned by [Open] while another process has the file.
var ErrLocked = errors.New("another process has it")

// errFull says that the file cannot be made smaller and must not grow.
var errFull = errors.New("it cannot be written anew, and has grown too large")

// Options bound a Map.
type Options struct {
	MaxEntries int           // 0: 100,000
	MaxBytes   int64         // of all entries in the file; 0: 32 MiB
	Life       time.Duration // of an entry since it was put; 0: for ever
}

const (
	defaultEntries = 100_000
	defaultBytes   = 32 << 20
	// MaxKey and MaxValue bound one entry, in bytes.
	MaxKey   = 4 << 10
	MaxValue = 1 << 20
	// slack is what a file may hold of what is no longer so, apart from as much again
	// as the entries take.
	slack = 64 << 10
)

// Map is such a map. What was put longest ago goes first when there is too much of
// it. All methods may be called concurrently.
type Map struct {
	opt  Options
	path string

	mu     sync.Mutex
	lock   *os.File
	file   *os.File // nil once closed
	size   int64    // of the file, all of it good
	torn   bool     // the file ends with half an entry, behind size
	again  int64    // the size at which to try once more to write the file anew
	live   int64    // bytes of the entries
	order  list.List
	byKey  map[string]*list.Element
	buffer []byte
}

// Open reads the file, or makes it, and locks it for this process. The folder is
// made if need be, for this user alone. Of a file with damage all that stands before
// it is taken, and the rest cut off.
func Open(path string, opt Options) (*Map, error) {
	opt.MaxEntries = cmp.Or(opt.MaxEntries, defaultEntries)
	opt.MaxBytes = cmp.Or(opt.MaxBytes, defaultBytes)
	m := &Map{opt: opt, path: path, byKey: make(map[string]*list.Element)}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	var err error
	if m.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, fmt.Errorf("keep: %s: %w", path, err)
	}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("keep: %w", err), m.Close())
	}
	return m, nil
}

// makeDir refuses a folder in which others could put files.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the folder: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write to %s (%v): run chmod 700 on it", dir, info.Mode().Perm())
	}
	return nil
}

// load reads what an earlier process has left.
func (m *Map) load() (err error) {
	if m.file, err = os.OpenFile(m.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	good, err := m.read(m.file)
	if err != nil {
		return fmt.Errorf("read %s: %w", m.path, err)
	}
	if good == 0 {
		return m.rewrite() // new, or no file of ours
	}
	m.size = good
	if err := m.file.Truncate(good); err != nil {
		return fmt.Errorf("cut off the damaged end: %w", err)
	}
	m.bound(time.Now())
	return nil
}

// entry is what a key has.
type entry struct {
	key   string
	value []byte
	at    int64 // when it was put, Unix ms
}

func (e *entry) size() int64 { return headSize + int64(len(e.key)+len(e.value)) }

// Get returns a key's value, which must not be changed.
func (m *Map) Get(key string) (value []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[key]
	if !ok || m.isOld(e, time.Now()) {
		return nil, false
	}
	return e.Value.(*entry).value, true
}

// All goes through the entries as they are now, those put first in front. The values
// must not be changed.
func (m *Map) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, e := range m.list() {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

func (m *Map) list() []*entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bound(time.Now())
	all := make([]*entry, 0, m.order.Len())
	for e := m.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*entry))
	}
	return all
}

// Put sets a key's value, of which it takes a copy. It costs one write of a few
// microseconds, and now and then that of the whole file. After an error this process
// still finds the value, but the next one may not.
func (m *Map) Put(key string, value []byte) error {
	if len(key) > MaxKey || len(value) > MaxValue {
		return fmt.Errorf("keep: an entry of %d and %d bytes: %d and %d are the most", len(key), len(value), MaxKey, MaxValue)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	e := &entry{key, slices.Clone(value), now.UnixMilli()}
	m.set(e)
	m.bound(now)
	return m.append(e, false)
}

// Delete takes a key out.
func (m *Map) Delete(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.byKey[key]
	if !ok {
		return nil
	}
	m.drop(e)
	return m.append(&entry{key: key}, true)
}

func (m *Map) set(e *entry) {
	if old, ok := m.byKey[e.key]; ok {
		m.drop(old)
	}
	m.byKey[e.key] = m.order.PushBack(e)
	m.live += e.size()
}

func (m *Map) drop(e *list.Element) {
	gone := m.order.Remove(e).(*entry)
	delete(m.byKey, gone.key)
	m.live -= gone.size()
}

// bound lets go of what is old or too much. The file keeps it until it is written
// anew; who reads it comes to the same.
func (m *Map) bound(now time.Time) {
	for e := m.order.Front(); e != nil; e = m.order.Front() {
		if !m.isOld(e, now) && m.order.Len() <= m.opt.MaxEntries && m.live <= m.opt.MaxBytes {
			return
		}
		m.drop(e)
	}
}

func (m *Map) isOld(e *list.Element, now time.Time) bool {
	return m.opt.Life > 0 && now.UnixMilli()-e.Value.(*entry).at > m.opt.Life.Milliseconds()
}

// Close lets go of the file, which another process may open then. Later changes are
// for this process only, and an error.
func (m *Map) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, f := range []*os.File{m.file, m.lock} { // the lock last
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	m.file, m.lock = nil, nil
	return errors.Join(errs...)
}
