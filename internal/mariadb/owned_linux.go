package mariadb

import "syscall"

// ownedProcess has the kernel kill the server when its owner dies, and keeps a
// terminal's Ctrl-C from reaching it before the owner has said good-bye.
func ownedProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
