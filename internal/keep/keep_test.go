package keep

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// childVariable makes this test binary the process that gets killed.
const childVariable = "KEEP_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		child(path)
	}
	os.Exit(m.Run())
}

// child puts entries and says so, until it is killed.
func child(path string) {
	m, err := Open(path, Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if err := m.Put(fmt.Sprint("key ", i%500), fmt.Append(nil, i)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// What was put when kill -9 comes is there, each time, also while the file is
// written anew.
func TestKilledProcessLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := -1
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatal(lines.Text())
			}
			if last == 7000 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || last < 7000 {
			t.Fatalf("the child said %d and ended with %v", last, err)
		}
		m := open(t, path, Options{})
		for i := last - 499; i <= last; i++ {
			value, _ := m.Get(fmt.Sprint("key ", i%500))
			got := -1
			fmt.Sscan(string(value), &got)
			if got < i || got > last+500 {
				t.Errorf("key %d has %q, want %d", i%500, value, i)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, path string, opt Options) *Map {
	t.Helper()
	m, err := Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func put(t *testing.T, m *Map, key, value string) {
	t.Helper()
	if err := m.Put(key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func contents(m *Map) map[string]string {
	all := map[string]string{}
	for key, value := range m.All() {
		all[key] = string(value)
	}
	return all
}

func reopened(t *testing.T, m *Map) *Map {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, m.path, m.opt)
}

func TestOutlivesTheProcess(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "a", "b", "state"), Options{})
	put(t, m, "a", "1")
	put(t, m, "b", "2")
	put(t, m, "a", "3")
	put(t, m, "", "no key")
	put(t, m, "c", "")
	if err := errors.Join(m.Delete("b"), m.Delete("never there")); err != nil {
		t.Error(err)
	}
	want := map[string]string{"a": "3", "": "no key", "c": ""}
	for _, when := range []string{"before", "after", "after twice"} {
		if diff := cmp.Diff(want, contents(m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if value, ok := m.Get("a"); !ok || string(value) != "3" {
			t.Errorf("%s: a is %q, %v", when, value, ok)
		}
		if _, ok := m.Get("b"); ok {
			t.Errorf("%s: b is back", when)
		}
		m = reopened(t, m)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "state": 0o600, "state.lock": 0o600} {
		info, err := os.Stat(filepath.Join(filepath.Dir(m.path), name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestTheCallerMayGoOnWithItsBytes(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	value := []byte("one")
	if err := m.Put("a", value); err != nil {
		t.Fatal(err)
	}
	copy(value, "two")
	if got, _ := m.Get("a"); string(got) != "one" {
		t.Errorf("got %q", got)
	}
}

func TestOnlyOneProcessHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	m := open(t, path, Options{})
	put(t, m, "a", "1")
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	put(t, m, "b", "2") // and the first goes on
	if got := contents(reopened(t, m)); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestRefusesAFolderOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "state"), Options{}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("/dev/null/state", Options{}); err == nil {
		t.Error("a folder in a file")
	}
}

// A file that ends anywhere, or has a bad byte anywhere, gives what stands before.
func TestDamageCostsOnlyWhatIsBehindIt(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	ends := []int64{m.size}
	for i := range 4 {
		put(t, m, fmt.Sprint("k", i), strings.Repeat("v", i*3))
		ends = append(ends, m.size)
	}
	m.Close()
	whole, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, data []byte, at int) {
		t.Helper()
		want := 0
		for want+1 < len(ends) && int64(at) >= ends[want+1] {
			want++
		}
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := open(t, path, Options{})
		if got := len(contents(m)); got != want {
			t.Errorf("%s at %d: %d entries, want %d", name, at, got, want)
		}
		put(t, m, "next", "one")
		if got := contents(reopened(t, m)); len(got) != want+1 || got["next"] != "one" {
			t.Errorf("%s at %d: then %v", name, at, got)
		}
	}
	for at := range len(whole) {
		check("the end", whole[:at], at)
		bad := bytes.Clone(whole)
		bad[at] ^= 0x40
		check("a bad byte", bad, at)
		clear(bad[at:]) // as some file systems leave it after a power cut
		check("zeros", bad, at)
	}
}

func TestBounds(t *testing.T) {
	for name, opt := range map[string]Options{
		"entries": {MaxEntries: 10},
		"bytes":   {MaxBytes: 10 * (headSize + 102)},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, filepath.Join(t.TempDir(), "state"), opt)
			value := strings.Repeat("v", 100)
			for i := 10; i < 99; i++ {
				put(t, m, fmt.Sprint(i), value)
				put(t, m, "10", value) // is used
			}
			want := map[string]string{"10": value}
			for i := 90; i < 99; i++ {
				want[fmt.Sprint(i)] = value
			}
			if diff := cmp.Diff(want, contents(m)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want, contents(reopened(t, m))); diff != "" {
				t.Errorf("after: %s", diff)
			}
		})
	}
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	if m.Put(strings.Repeat("k", MaxKey+1), nil) == nil || m.Put("k", make([]byte, MaxValue+1)) == nil {
		t.Error("too large an entry was taken")
	}
	if err := m.Put(strings.Repeat("k", MaxKey), make([]byte, MaxValue)); err != nil {
		t.Error(err)
	}
	if got := contents(reopened(t, m)); len(got) != 1 {
		t.Error("the largest entry is lost")
	}
}

func TestEntriesGetOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		m := open(t, path, Options{Life: time.Hour})
		put(t, m, "a", "1")
		time.Sleep(40 * time.Minute)
		put(t, m, "b", "2")
		time.Sleep(30 * time.Minute)
		if _, ok := m.Get("a"); ok {
			t.Error("a is still there")
		}
		m = reopened(t, m)
		if diff := cmp.Diff(map[string]string{"b": "2"}, contents(m)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(31 * time.Minute)
		if got := contents(m); len(got) != 0 || m.live != 0 {
			t.Errorf("%v, %d bytes", got, m.live)
		}
	})
}

// The file stays small however often it is written to.
func TestTheFileIsWrittenAnew(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	want := map[string]string{}
	for i := range 20_000 {
		key, value := fmt.Sprint(i%100), fmt.Sprint(i)
		put(t, m, key, value)
		want[key] = value
		if m.size > 2*m.live+slack {
			t.Fatalf("%d bytes for %d", m.size, m.live)
		}
	}
	if info, err := os.Stat(m.path); err != nil || info.Size() != m.size {
		t.Errorf("%v, %v; want %d bytes", info.Size(), err, m.size)
	}
	if diff := cmp.Diff(want, contents(reopened(t, m))); diff != "" {
		t.Error(diff)
	}
	if names, err := os.ReadDir(filepath.Dir(m.path)); err != nil || len(names) != 2 {
		t.Errorf("left: %v, %v", names, err)
	}
}

// A disk that fails costs what was put meanwhile, until the file is written anew.
func TestADiskThatFails(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	put(t, m, "a", "1")
	good := m.file
	var err error
	if m.file, err = os.Open(m.path); err != nil { // which cannot be written to
		t.Fatal(err)
	}
	bad := m.file
	if err := m.Put("b", []byte("2")); err == nil {
		t.Error("no error")
	}
	if value, ok := m.Get("b"); !ok || string(value) != "2" {
		t.Error("this process has lost it too")
	}
	m.torn = true // as after half a write that cannot be cut off
	if err := os.Chmod(filepath.Dir(m.path), 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // root may
		if err := m.Put("c", []byte("3")); !errors.Is(err, errFull) {
			t.Errorf("error %v", err)
		}
	}
	if err := os.Chmod(filepath.Dir(m.path), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, m, "c", "3")
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2", "c": "3"}, contents(reopened(t, m))); diff != "" {
		t.Error(diff)
	}
	good.Close()
	bad.Close()
}

func TestClosed(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{})
	put(t, m, "a", "1")
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if m.Put("b", nil) == nil || m.Delete("a") == nil {
		t.Error("written to after Close")
	}
}

func TestManyAtOnce(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "state"), Options{MaxEntries: 300})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				key := fmt.Sprint(worker, "/", i%50)
				if err := m.Put(key, fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
				m.Get(key)
				if i%7 == 0 {
					if err := m.Delete(key); err != nil {
						t.Error(err)
					}
				}
				if i%200 == 0 {
					contents(m)
				}
			}
		})
	}
	wg.Wait()
	before := maps.Clone(contents(m))
	if diff := cmp.Diff(before, contents(reopened(t, m))); diff != "" {
		t.Error(diff)
	}
}

// Whatever is in the file, it can be opened, and what is put then is kept.
func FuzzOpen(f *testing.F) {
	e := appendEntry(nil, &entry{"key", []byte("value"), 1_700_000_000_000}, false)
	f.Add([]byte(magic))
	f.Add(append([]byte(magic), e...))
	f.Add(appendEntry(append([]byte(magic), e...), &entry{key: "key"}, true))
	f.Add(append(append([]byte(magic), e...), e[:headSize+2]...))
	f.Add([]byte("something else"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := open(t, path, Options{MaxEntries: 50})
		want := contents(m)
		put(t, m, "key", "next")
		want["key"] = "next"
		got := contents(reopened(t, m))
		if len(want) <= 50 && !maps.Equal(want, got) {
			t.Errorf("%q became %q", want, got)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	m, err := Open(filepath.Join(b.TempDir(), "state"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	value := make([]byte, 60)
	for i := 0; b.Loop(); i++ {
		if err := m.Put(fmt.Sprint("visitor/", i%20_000), value); err != nil {
			b.Fatal(err)
		}
	}
}
