package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir makes the folder for this user alone and locks it. The lock goes with
// the process, however that ends, and does not pass to its children.
func lockDir(dir string) (*os.File, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: opening the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 20)) // only to say more
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: process %s has %s: stop it, or give each Holdline a folder of its own",
				ErrLocked, cmp.Or(strings.TrimSpace(string(holder)), "?"), dir)
		}
		return nil, fmt.Errorf("spool: locking %s: %w: the folder must be on a file system that has locks", dir, err)
	}
	// Who holds it is only said to help; a full disk must not keep the spool from
	// being emptied.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return f, nil
}

// makeDir refuses a folder in which others could put files: what is in a segment
// is sent in visitors' names.
func makeDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("spool: making the folder: %w", err)
		}
		return osDisk{}.SyncDir(filepath.Dir(dir))
	}
	switch {
	case err != nil:
		return fmt.Errorf("spool: looking at the folder: %w", err)
	case !info.IsDir():
		return fmt.Errorf("spool: %s is not a folder", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("spool: others may write to %s (%v): name a folder of Holdline's own, or run chmod 700 on it", dir, info.Mode().Perm())
	}
	return nil
}
