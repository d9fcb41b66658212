package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetStart lets go of the pages of the program's code. The start has touched
// most of them, 64 KiB around each function that it ran, and few are needed
// again: those come back from the page cache, without a read from the disk, as
// after any idle time on a machine that is short of memory. What is shown as
// resident then is what serving needs, 4 MB less.
//
// Only code is dropped, which nobody has written to: other parts of the file may
// hold what a dynamic linker put there, and that would be lost (madvise(2),
// MADV_DONTNEED).
func forgetStart() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program's code in memory: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find the program's code in memory: %w", err)
	}
	for _, m := range codeOf(program, string(maps)) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("let go of the program's code: %w", errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// codeOf finds the parts of a file that are mapped to be run and not written to,
// in the text of /proc/PID/maps (proc_pid_maps(5)).
func codeOf(file, maps string) []mapping {
	var code []mapping
	for line := range strings.Lines(maps) {
		// start-end rwxp offset device inode path
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "r-xp" || !strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+file) {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, startErr := strconv.ParseUint(from, 16, strconv.IntSize)
		end, endErr := strconv.ParseUint(to, 16, strconv.IntSize)
		if startErr == nil && endErr == nil && start < end {
			code = append(code, mapping{uintptr(start), uintptr(end)})
		}
	}
	return code
}
