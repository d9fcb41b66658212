package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// userHZ is the unit of utime and stime in /proc/PID/stat, which is 1/100 s on
// every Linux that Go runs on (proc(5), sysconf(_SC_CLK_TCK)).
const userHZ = 100

// readMemory sums over the processes of a server.
func readMemory(pids []int) (memory, error) {
	var m memory
	for _, pid := range pids {
		rollup, err := readFields(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return m, err
		}
		status, err := readFields(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return m, err
		}
		m.rss += status["VmRSS"] << 10
		m.pss += rollup["Pss"] << 10
		m.anon += rollup["Pss_Anon"] << 10
	}
	return m, nil
}

// readFields reads the lines "Name:  123 kB" of a file in /proc.
func readFields(path string) (map[string]int64, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a server's memory: %w", err)
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(file)) {
		name, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !ok || len(words) == 0 {
			continue
		}
		if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			fields[name] = n
		}
	}
	return fields, nil
}

func readKernel() (kernel, error) {
	meminfo, err := readFields("/proc/meminfo")
	if err != nil {
		return kernel{}, err
	}
	file, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return kernel{}, fmt.Errorf("read the kernel's socket memory: %w", err)
	}
	k := kernel{slab: meminfo["Slab"] << 10}
	for line := range strings.Lines(string(file)) {
		words := strings.Fields(line)
		for i := 1; i+1 < len(words) && words[0] == "TCP:"; i += 2 {
			if words[i] == "mem" {
				pages, _ := strconv.ParseInt(words[i+1], 10, 64)
				k.buffers = pages * int64(os.Getpagesize())
			}
		}
	}
	return k, nil
}

// cpuSeconds is the user and system time that the processes have used so far.
func cpuSeconds(pids []int) (float64, error) {
	total := 0.0
	for _, pid := range pids {
		fields, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		for _, field := range fields[11:13] { // utime, stime
			n, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return 0, fmt.Errorf("read a server's CPU time: %w", err)
			}
			total += n / userHZ
		}
	}
	return total, nil
}

// readStat returns the fields of /proc/PID/stat behind the program's name, which
// may itself hold spaces and parentheses: field 0 is the state, 1 the parent.
func readStat(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("read a server's CPU time: %w", err)
	}
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("read a server's CPU time: %.80q", stat)
	}
	return fields, nil
}

// processTree returns root and its children (nginx's workers).
func processTree(root int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", root))
	if err != nil || len(tasks) == 0 {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	pids := []int{root}
	for _, task := range tasks {
		file, err := os.ReadFile(task)
		if err != nil {
			return nil, fmt.Errorf("list a server's processes: %w", err)
		}
		words := bufio.NewScanner(bytes.NewReader(file))
		words.Split(bufio.ScanWords)
		for words.Scan() {
			pid, err := strconv.Atoi(words.Text())
			if err != nil {
				return nil, fmt.Errorf("list a server's processes: %w", err)
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
