package freeport

import (
	"net"
	"slices"
	"testing"
)

func TestAddressesAreFreeAndDifferent(t *testing.T) {
	got, err := Addresses(50)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if n := len(slices.Compact(slices.Clone(got))); n != 50 {
		t.Errorf("%d different addresses in %v", n, got)
	}
	for _, address := range got {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			continue
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port >= 32768 {
			t.Errorf("%s is one that the kernel gives to others too", address)
		}
	}
}
