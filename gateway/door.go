package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// door is a listener that can be shut for a while. Connections then wait in the
// kernel's queue until it is opened, or another process that has the same socket
// accepts them; none is refused.
type door struct {
	socket
	bound bool // by this process, for the configuration

	mu   sync.Mutex
	open chan struct{} // closed while it is open
	gone chan struct{} // closed with it
}

// socket is a *net.TCPListener or a *net.UnixListener.
type socket interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// newDoor makes a door, shut, of a listener.
func newDoor(l net.Listener, bound bool) (*door, error) {
	s, ok := l.(socket)
	if !ok {
		return nil, fmt.Errorf("a socket of the kind %s cannot be listened on for browsers: give a TCP or unix stream socket", l.Addr().Network())
	}
	return &door{socket: s, bound: bound, open: make(chan struct{}), gone: make(chan struct{})}, nil
}

func (d *door) isOpen() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// Accept implements net.Listener. It waits while the door is shut.
func (d *door) Accept() (net.Conn, error) {
	for {
		select {
		case <-d.isOpen():
		case <-d.gone:
			return nil, net.ErrClosed
		}
		c, err := d.socket.Accept()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}

// setOpen opens or shuts the door.
func (d *door) setOpen(open bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.open:
		if open {
			return nil
		}
		d.open = make(chan struct{})
		return d.socket.SetDeadline(time.Unix(1, 0)) // wakes who accepts
	default:
	}
	if !open {
		return nil
	}
	if err := d.socket.SetDeadline(time.Time{}); err != nil {
		return err
	}
	close(d.open)
	return nil
}

// leaveFile has a unix socket's file stay when the door is closed, because somebody
// else listens there. That of a socket that was given stays in any case.
func (d *door) leaveFile(stay bool) {
	if u, ok := d.socket.(*net.UnixListener); ok && d.bound {
		u.SetUnlinkOnClose(!stay)
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.gone:
		return nil
	default:
	}
	close(d.gone)
	return d.socket.Close()
}
