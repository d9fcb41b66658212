package gateway

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestSlackIsWhatNobodyUses(t *testing.T) {
	const much = 64 << 20
	block := make([]byte, much)
	debug.FreeOSMemory()
	if isSlack() {
		t.Error("what is in use counts as idle")
	}
	runtime.KeepAlive(block)
	runtime.GC()
	if !isSlack() {
		t.Errorf("%d idle bytes are not seen", much)
	}
	debug.FreeOSMemory()
	if isSlack() {
		t.Error("there still is something to give back")
	}
}
