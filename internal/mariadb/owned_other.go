//go:build !linux

package mariadb

import "syscall"

func ownedProcess() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
