package gateway

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestSlackIsWhatNobodyUses(t *testing.T) {
	const much = 64 << 20
	block := make([]byte, much)
	settled := func() bool {
		for range 20 { // other tests make garbage meanwhile
			if debug.FreeOSMemory(); !isSlack() {
				return true
			}
		}
		return false
	}
	if !settled() {
		t.Error("what is in use counts as idle")
	}
	runtime.KeepAlive(block)
	runtime.GC()
	if !isSlack() {
		t.Errorf("%d idle bytes are not seen", much)
	}
	if !settled() {
		t.Error("there still is something to give back")
	}
}
