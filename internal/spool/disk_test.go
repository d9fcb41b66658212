package spool

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// testDisk is the real disk that can be made to fail, and that knows what a power
// cut may take: the bytes of a file after its last sync, files that were made and
// files that were removed since the folder's last sync. A file whose sync failed
// once says that later ones succeed, and keeps nothing more, as Linux does.
type testDisk struct {
	mu       sync.Mutex
	failSync error
	failCut  error // of Truncate
	room     int   // bytes that can be written until ENOSPC; negative is no limit
	synced   map[string]int64
	lost     map[string]bool // files whose sync failed
	made     map[string]bool
	removed  map[string][]byte
}

func newTestDisk() *testDisk {
	return &testDisk{
		room: -1, synced: map[string]int64{}, lost: map[string]bool{}, made: map[string]bool{}, removed: map[string][]byte{},
	}
}

type testFile struct {
	*os.File
	d *testDisk
}

func (d *testDisk) OpenFile(path string, create bool) (file, error) {
	f, err := osDisk{}.OpenFile(path, create)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if create {
		d.made[filepath.Base(path)] = true
	}
	return &testFile{f.(*os.File), d}, nil
}

func (d *testDisk) Remove(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removed[filepath.Base(path)] = data
	return os.Remove(path)
}

func (d *testDisk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failSync != nil {
		return d.failSync
	}
	clear(d.made)
	clear(d.removed)
	return nil
}

func (f *testFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.room < 0 || f.d.room >= len(b) {
		if f.d.room > 0 {
			f.d.room -= len(b)
		}
		return f.File.WriteAt(b, off)
	}
	_, err := f.File.WriteAt(b[:f.d.room], off)
	f.d.room = 0
	// As os.File says it: 0, whatever went in.
	return 0, errors.Join(err, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
}

func (f *testFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.failCut != nil {
		return f.d.failCut
	}
	name := filepath.Base(f.Name())
	f.d.synced[name] = min(f.d.synced[name], size)
	return f.File.Truncate(size)
}

func (f *testFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	name := filepath.Base(f.Name())
	if f.d.failSync != nil {
		f.d.lost[name] = true
		return f.d.failSync
	}
	if f.d.lost[name] {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	f.d.synced[name] = info.Size()
	return nil
}

// cutPower copies the folder as it may be found after a power cut, and returns
// the copy's disk. Choices come from draw, which returns 0 to n.
func (d *testDisk) cutPower(t testing.TB, dir, copied string, draw func(n int) int) *testDisk {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newTestDisk()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		after.synced[name] = int64(len(data))
	}
	for name, data := range d.removed {
		if draw(1) == 1 {
			write(name, data)
		}
	}
	for _, path := range segmentFiles(t, dir) {
		name := filepath.Base(path)
		if d.made[name] && draw(1) == 1 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := int(d.synced[name])
		cut := kept + draw(len(data)-kept)
		if draw(3) == 0 { // the size was written, the bytes were not
			clear(data[cut:])
			cut = len(data)
		}
		write(name, data[:cut])
	}
	return after
}
