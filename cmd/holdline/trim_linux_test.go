package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCodeOf(t *testing.T) {
	const maps = `00400000-00cb1000 r-xp 00000000 fe:00 1311 /opt/my holdline
00cb1000-01667000 r--p 008b1000 fe:00 1311 /opt/my holdline
01667000-016ff000 rw-p 01267000 fe:00 1311 /opt/my holdline
016ff000-0374d000 rw-p 00000000 00:00 0
02000000-02001000 r-xp 00000000 fe:00 1311 /opt/my holdline
7f0000000000-7f0000001000 r-xp 00000000 fe:00 99 /lib/libc.so.6
7f0000002000-7f0000003000 r-xp 00000000 00:00 0
zz-7f00 r-xp 00000000 fe:00 1311 /opt/my holdline
02003000-02002000 r-xp 00000000 fe:00 1311 /opt/my holdline
nonsense
7ffd5b5f4000-7ffd5b5f6000 r-xp 00000000 00:00 0 [vdso]`
	want := []mapping{{0x400000, 0xcb1000}, {0x2000000, 0x2001000}}
	if got := codeOf("/opt/my holdline", maps); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if got := codeOf("/opt/other", maps); got != nil {
		t.Errorf("found another program's code: %x", got)
	}
}

// The program goes on after its code has been let go, with less of it resident.
func TestForgetStart(t *testing.T) {
	before := residentFile(t)
	if err := forgetStart(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d KB of files are resident, before %d KB", after, before)
	}
}

// residentFile is RssFile of this process in KB (proc_pid_status(5)).
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
