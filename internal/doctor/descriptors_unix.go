//go:build unix

package doctor

import "golang.org/x/sys/unix"

// descriptors is how many files this process, and so one that is started like it,
// may open; 0 if that is unknown. Go's runtime has raised the soft limit to the
// hard one at the start, as Holdline's will.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
