package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"holdline/config"
	"holdline/internal/keep"
)

// positionsLife is how long browsers are known to the next process.
const positionsLife = time.Hour

// openKeep opens what an earlier process has left about the site's browsers. It is
// nil where none is wanted or none can be had: Holdline then works as well, but for
// who is told what again after a kill. Only the error that another process has it, a
// keep.ErrLocked, is worth another attempt.
func (g *Gateway) openKeep(env func(string) (string, bool)) (*keep.Map, error) {
	if g.cfg.StateDir == config.StateOff {
		return nil, nil
	}
	m, err := openFirst(g.cfg.StateDirs(env), func(dir string) (*keep.Map, error) {
		return keep.Open(filepath.Join(dir, siteName(g.cfg.Database), "positions"), keep.Options{Life: positionsLife})
	}, keep.ErrLocked)
	if err == nil || errors.Is(err, keep.ErrLocked) {
		return m, err
	}
	g.log.Info("no folder for state: if Holdline is killed (not stopped), what browsers were told in its last seconds may be told again; "+
		"set state_dir to a folder that it may write to, or to off", "error", err)
	return nil, nil
}

var errNoFolder = errors.New("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set")

// openFirst opens something in the first of some folders in which that works, and tells
// of each in which it does not. A folder that another process has, by the error locked,
// is not passed over; nil is for what nobody locks.
func openFirst[T any](dirs []string, open func(dir string) (T, error), locked error) (T, error) {
	var none T
	if len(dirs) == 0 {
		return none, errNoFolder
	}
	var errs []error
	for _, dir := range dirs {
		opened, err := open(dir)
		if err == nil {
			return opened, nil
		}
		if locked != nil && errors.Is(err, locked) {
			return none, err
		}
		errs = append(errs, err)
	}
	return none, errors.Join(errs...)
}

// siteName is a folder's name that is another for each site.
func siteName(d config.Database) string {
	sum := sha256.Sum256([]byte(d.Address + "\x00" + d.Name + "\x00" + d.TablePrefix))
	return hex.EncodeToString(sum[:])[:12]
}
