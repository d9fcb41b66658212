package main

import (
	"bytes"
	"debug/buildinfo"
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// manText is what no command prints about itself.
//
//go:embed holdline.1.in
var manText string

var (
	commandLine = regexp.MustCompile(`(?m)^ {2}(\w+) +(.+)$`)
	flagLine    = regexp.MustCompile(`(?m)^ {6}(--[a-z0-9-]+)(?: (\S+))? {2,}(.+)$`)
)

// writeMan writes holdline(1), with the commands and flags that the program says
// it has. It runs the program.
func writeMan(out io.Writer, program string, info *buildinfo.BuildInfo) error {
	usage, err := exec.Command(program).Output()
	if err != nil {
		return fmt.Errorf("ask the program for its commands: %w", err)
	}
	var commands, flags bytes.Buffer
	told := make(map[string]bool)
	for _, c := range commandLine.FindAllSubmatch(usage, -1) {
		name := string(c[1])
		fmt.Fprintf(&commands, ".TP\n.B %s\n%s\n", roff(name), roff(string(c[2])))
		help, err := exec.Command(program, name, "--help").Output()
		if err != nil {
			return fmt.Errorf("ask the program for the flags of %s: %w", name, err)
		}
		heading := ".SS " + roff(name) + "\n"
		for _, f := range flagLine.FindAllSubmatch(help, -1) {
			flag := string(f[1])
			if told[flag] {
				continue
			}
			told[flag] = true
			fmt.Fprintf(&flags, "%s.TP\n.B %s %s\n%s\n", heading, roff(flag), roff(string(f[2])), roff(string(f[3])))
			heading = ""
		}
	}
	if commands.Len() == 0 || flags.Len() == 0 {
		return fmt.Errorf("%s names no commands or no flags", program)
	}
	var when time.Time
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			when, _ = time.Parse(time.RFC3339, s.Value)
		}
	}
	_, err = strings.NewReplacer(
		"@DATE@", when.Format(time.DateOnly), "@VERSION@", info.Main.Version,
		"@COMMANDS@\n", commands.String(), "@FLAGS@\n", flags.String(),
	).WriteString(out, manText)
	return err
}

// roff keeps text from being taken for requests, and hyphens for typography.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
