//go:build unix

package gateway

import "golang.org/x/sys/unix"

// descriptors is how many files this process may open, or 0 if it is unknown.
// Go's runtime has raised the soft limit to the hard one at the start.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
