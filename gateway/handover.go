package gateway

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Serving is closed when both sockets are listened on and connections to them are
// accepted. Whether the database is there is another matter; /readyz tells that.
func (g *Gateway) Serving() <-chan struct{} { return g.serving }

// firstLook is how long browsers wait at most for the first try to read the site.
const firstLook = 3 * time.Second

// openInTime lets the operator in at once, and browsers as soon as it is known
// whether the site can be read. After a restart on a socket of systemd's thousands
// may be there before that: in the kernel's queue they wait for a tenth of a second,
// where they would be told to come again in five.
func (g *Gateway) openInTime(ctx context.Context) error {
	if err := g.admin.setOpen(true); err != nil {
		return fmt.Errorf("accept connections on %s: %w", g.admin.Addr(), err)
	}
	late := time.NewTimer(firstLook)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for g.metrics.waiting.Load() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-g.serving: // the site is there
			return nil
		case <-late.C:
			return g.openDoors()
		case <-tick.C:
		}
	}
	return g.openDoors()
}

// openDoors lets connections in, the first time; later ones are Resume's.
func (g *Gateway) openDoors() (err error) {
	g.opened.Do(func() {
		if err = g.setDoors(true); err == nil {
			close(g.serving)
		}
	})
	return err
}

func (g *Gateway) setDoors(open bool) error {
	for _, d := range []*door{g.listener, g.admin} {
		if err := d.setOpen(open); err != nil {
			return fmt.Errorf("accept connections on %s: %w", d.Addr(), err)
		}
	}
	return nil
}

// Sockets are those that Listen has made or was given, to be duplicated for another
// process.
func (g *Gateway) Sockets() (public, admin syscall.Conn) { return g.listener, g.admin }

// quitTime bounds how long loops are waited for that are being told something.
const quitTime = 5 * time.Second

// Suspend gives up what only one process can have: it accepts no more connections,
// so that they wait for whoever has the sockets, answers the loops that it holds with
// nothing, ends the messages that are under way, and lets go of the state folder and
// the spool. All others stay held, and are told what happens, until the context of
// Run ends; then they are told to come back. It is for the time in which a successor
// takes over, after it has said that it can. Run must be under way.
//
// An error says that something may be told twice; all the rest is as without one.
func (g *Gateway) Suspend(ctx context.Context) error {
	g.suspended.Store(true)
	g.listener.leaveFile(true)
	g.admin.leaveFile(true)
	if err := g.setDoors(false); err != nil {
		return err
	}
	at := g.attached.Load()
	if at == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, quitTime)
	defer cancel()
	return at.estate.quit(ctx)
}

// Resume takes back what Suspend has given up, because nobody took it.
func (g *Gateway) Resume() error {
	if at := g.attached.Load(); at != nil {
		at.estate.start()
	}
	g.suspended.Store(false)
	g.listener.leaveFile(false)
	g.admin.leaveFile(false)
	return g.setDoors(true)
}
