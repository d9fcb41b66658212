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
	var errs []error
	for _, dir := range g.cfg.StateDirs(env) {
		path := filepath.Join(dir, siteName(g.cfg.Database), "positions")
		m, err := keep.Open(path, keep.Options{Life: positionsLife})
		if err == nil {
			return m, nil
		}
		if errors.Is(err, keep.ErrLocked) {
			return nil, err
		}
		errs = append(errs, err)
	}
	if errs == nil {
		errs = append(errs, errors.New("none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set"))
	}
	g.log.Info("no folder for state: if Holdline is killed (not stopped), what browsers were told in its last seconds may be told again; "+
		"set state_dir to a folder that it may write to, or to off", "error", errors.Join(errs...))
	return nil, nil
}

// siteName is a folder's name that is another for each site.
func siteName(d config.Database) string {
	sum := sha256.Sum256([]byte(d.Address + "\x00" + d.Name + "\x00" + d.TablePrefix))
	return hex.EncodeToString(sum[:])[:12]
}
