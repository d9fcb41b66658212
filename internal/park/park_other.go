//go:build !linux

package park

import (
	"context"
	"net"
)

// poller is empty where there is no epoll: every connection has a goroutine.
type poller struct{}

func (*poller) conns() []*conn { return nil }
func (*poller) close()         {}

func (*Lot) runPoller(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// freeSendBuffer cannot be done here: the cap stays.
func freeSendBuffer(int) {}

func underTLS(nc net.Conn) net.Conn { return nc }

func (*Lot) parkEpoll(net.Conn, []byte, Holder) (Conn, bool) { return nil, false }
