package main

import "syscall"

// ownedProcess has the kernel end the server when the bench dies, and keeps a
// terminal's Ctrl-C from reaching it before the bench has said good-bye.
func ownedProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
