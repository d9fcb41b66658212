//go:build !linux

package main

import "errors"

var errNoEpoll = errors.New("holdbench needs Linux: it holds its clients in epoll and reads /proc")

type loop struct{ scratch []byte }

func newLoop(*fleet, chan<- error) (*loop, error) { return nil, errNoEpoll }
func (*loop) connect(*client) error               { return errNoEpoll }
func (*loop) watch(bool) error                    { return errNoEpoll }
func (*loop) take() []sample                      { return nil }
func (*loop) takeLog() tripLog                    { return tripLog{} }
func (*loop) Close()                              {}
func readMemory([]int) (memory, error)            { return memory{}, errNoEpoll }
func readKernel() (kernel, error)                 { return kernel{}, errNoEpoll }
func readStat(int) ([]string, error)              { return nil, errNoEpoll }
func cpuSeconds([]int) (float64, error)           { return 0, errNoEpoll }
func processTree(int) ([]int, error)              { return nil, errNoEpoll }
