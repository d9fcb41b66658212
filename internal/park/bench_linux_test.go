package park

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// resident is the proportional share of memory of this process, in bytes.
func resident(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	b.Fatal("smaps_rollup has no Pss")
	return 0
}

// park9000 parks 9,000 connected Unix sockets, opened with as little of Go as
// possible, so that memory grows by what the Lot keeps. So many stay below the
// usual limit of 20,000 descriptors.
func park9000(b *testing.B, l *Lot, keep func(peer int, c Conn)) {
	b.Helper()
	const conns = 9000
	h := make(told, 2*conns)
	for range conns {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		f := os.NewFile(uintptr(pair[0]), "")
		nc, err := net.FileConn(f)
		f.Close()
		if err != nil {
			b.Fatal(err)
		}
		keep(pair[1], l.Park(nc, nil, h))
	}
}

// BenchmarkBytesPerConn reports what one parked connection costs in user space:
// the live heap (struct, table and the slice of the test that refers to it) and
// the growth of resident memory, which has the garbage of parking on top.
func BenchmarkBytesPerConn(b *testing.B) {
	for b.Loop() {
		l := runLot(b, Options{})
		conns := make([]Conn, 0, 9000)
		peers := make([]int, 0, 9000)
		debug.FreeOSMemory()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		residentBefore := resident(b)
		park9000(b, l, func(peer int, c Conn) { conns, peers = append(conns, c), append(peers, peer) })
		grown := resident(b) - residentBefore
		debug.FreeOSMemory()
		settled := resident(b) - residentBefore
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/9000, "heap-B/conn")
		b.ReportMetric(float64(grown)/9000, "resident-B/conn")
		b.ReportMetric(float64(settled)/9000, "after-gc-B/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		for _, c := range conns {
			c.Close(ReasonDrain)
		}
		for _, peer := range peers {
			unix.Close(peer)
		}
	}
}

// BenchmarkFanOut sends one frame of 128 bytes to 1000 TCP connections.
func BenchmarkFanOut(b *testing.B) {
	const conns = 1000
	l, ln := runLot(b, Options{}), listen(b)
	h := make(told, conns)
	all, clients := make([]Conn, conns), make([]net.Conn, conns)
	for i := range all {
		client, server := dialPair(b, ln)
		all[i], clients[i] = l.Park(server, nil, h), client
	}
	frame := make([]byte, 128)
	drain := make([]byte, 64<<10)
	b.ReportAllocs()
	rounds := 0
	for b.Loop() {
		for _, c := range all {
			if !c.Send(frame) {
				b.Fatal("gone")
			}
		}
		if rounds++; rounds%100 == 0 {
			b.StopTimer()
			for _, client := range clients {
				client.Read(drain)
			}
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/delivery")
}

// BenchmarkWrite compares ways to write 128 bytes to a socket.
func BenchmarkWrite(b *testing.B) {
	frame := make([]byte, 128)
	ways := []struct {
		name  string
		write func(fd int) error
	}{
		{"sendto raw", func(fd int) error {
			if _, errno := send(fd, frame); errno != 0 {
				return errno
			}
			return nil
		}},
		{"syscall.Write", func(fd int) error {
			_, err := syscall.Write(fd, frame)
			return err
		}},
		{"unix.SendmsgBuffers", func(fd int) error {
			_, err := unix.SendmsgBuffers(fd, [][]byte{frame}, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			return err
		}},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			l, ln := runLot(b, Options{SendBuffer: 1 << 20}), listen(b)
			client, server := dialPair(b, ln)
			fd := int(l.Park(server, nil, make(told, 1)).(*conn).line.(*epollConn).fd)
			drain := make([]byte, 256<<10)
			n := 0
			for b.Loop() {
				if err := way.write(fd); err != nil {
					b.Fatal(err)
				}
				if n++; n%500 == 0 {
					b.StopTimer()
					for read := 0; read < 500*len(frame); {
						m, err := client.Read(drain)
						if err != nil {
							b.Fatal(err)
						}
						read += m
					}
					b.StartTimer()
				}
			}
		})
	}
}
