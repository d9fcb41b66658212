//go:build !linux

package main

import "syscall"

func ownedProcess() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
