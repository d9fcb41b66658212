package park

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inputBuffers are the capacities of the buffers that slim is about.
func inputBuffers(t *testing.T, c *tls.Conn) (total int) {
	t.Helper()
	for _, name := range []string{"rawInput", "hand"} {
		field := reflect.ValueOf(c).Elem().FieldByName(name)
		if !field.IsValid() || field.Type() != reflect.TypeFor[bytes.Buffer]() {
			t.Fatalf("this Go's *tls.Conn has no bytes.Buffer %s: look anew what it keeps", name)
		}
		total += field.FieldByName("buf").Cap()
	}
	return total
}

func TestSlim(t *testing.T) {
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS()
	hs.Close()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			defer b.Close()
			client := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			server := tls.Server(b, &tls.Config{Certificates: hs.TLS.Certificates})
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(client, "one record")
				if err == nil {
					_, err = io.WriteString(client, strings.Repeat("x", 5000))
				}
				sent <- err
			}()
			read := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(server, got); err != nil || string(got) != want {
					t.Fatalf("read %.20q, %v", got, err)
				}
			}
			read("one ")
			before := inputBuffers(t, server)
			slim(server) // must not forget the rest of the record
			if inputBuffers(t, server) != before {
				t.Error("buffers with something in them were taken")
			}
			read("record")
			slim(server)
			if n := inputBuffers(t, server); n != 0 {
				t.Errorf("%d of %d bytes are left", n, before)
			}
			read(strings.Repeat("x", 5000))
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// socketPair is a socket that is held, and its peer.
func socketPair(t *testing.T) (*socket, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer := os.NewFile(uintptr(pair[1]), "peer")
	t.Cleanup(func() {
		unix.Close(pair[0])
		peer.Close()
	})
	unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10)
	return &socket{fd: int32(pair[0])}, peer
}

// TestSealedBytesAreBounded is for a peer that asks for key updates without end.
func TestSealedBytesAreBounded(t *testing.T) {
	s, peer := socketPair(t)
	var sent int
	for err := error(nil); err == nil; {
		var n int
		if n, err = s.Write(make([]byte, 27)); err == nil {
			sent += n
		}
		if len(s.sealed) > mostSealed {
			t.Fatalf("%d bytes wait", len(s.sealed))
		}
	}
	if len(s.sealed) < mostSealed-27 {
		t.Errorf("cut at %d bytes", len(s.sealed))
	}
	got := make([]byte, sent-len(s.sealed))
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	for all := false; !all; {
		before := len(s.sealed)
		var err error
		if all, err = s.push(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, before-len(s.sealed))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSealedBytesGoFirst gives a connection back with bytes that wait.
func TestSealedBytesGoFirst(t *testing.T) {
	s := &socket{sealed: []byte("answer to a key update, ")}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s.release(a)
	go func() {
		s.Write([]byte("page, "))
		s.Write([]byte("page"))
	}()
	want := "answer to a key update, page, page"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(b, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}
