package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is one of those that a program was linked from.
type module struct {
	path, version string
	sum           string // as in go.sum: "h1:" and base64; "" for the standard library
	licences      []string
	notices       []notice
}

// notice is a file that must accompany the program.
type notice struct{ name, text string }

// linked returns the modules of a program, the standard library first, with
// their licences from Go's module cache. A module without a licence that we
// know is an error: it must not be shipped by oversight.
func linked(info *buildinfo.BuildInfo) ([]module, error) {
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	modules := []module{{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}}
	folders := []string{strings.TrimSpace(root)}
	list := []string{"list", "-m", "-f", "{{.Path}}@{{.Version}}\t{{.Dir}}"}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return nil, fmt.Errorf("%s is replaced: nobody could get what was linked", d.Path)
		}
		list = append(list, d.Path)
		modules = append(modules, module{path: d.Path, version: d.Version, sum: d.Sum})
	}
	text, err := goCommand(list...)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		name, folder, _ := strings.Cut(line, "\t")
		if i+1 >= len(modules) || name != modules[i+1].path+"@"+modules[i+1].version {
			return nil, fmt.Errorf("the program was not linked from this go.mod: it has no %s", name)
		}
		folders = append(folders, folder)
	}
	for i := range modules {
		m := &modules[i]
		if m.licences, m.notices, err = licences(folders[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return modules, nil
}

func goCommand(args ...string) (string, error) {
	var out, trouble bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(trouble.String()))
	}
	return out.String(), nil
}

var noticeName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

func licences(folder string) (ids []string, notices []notice, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if e.IsDir() || !noticeName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		notices = append(notices, notice{e.Name(), string(text)})
		ids = append(ids, recognize(string(text))...)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil, nil, fmt.Errorf("no licence that is known was found in its %d notices", len(notices))
	}
	return ids, notices, nil
}

// recognize tells by SPDX's names which licences a text contains, by the
// sentences that no other licence has.
func recognize(text string) []string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(sentence string) bool { return strings.Contains(text, sentence) }
	var ids []string
	if has("Apache License") && has("Version 2.0") {
		ids = append(ids, "Apache-2.0")
	}
	if has("Permission is hereby granted, free of charge, to any person obtaining a copy") {
		ids = append(ids, "MIT")
	}
	switch bsd := has("Redistribution and use in source and binary forms"); {
	case bsd && has("may be used to endorse"):
		ids = append(ids, "BSD-3-Clause")
	case bsd:
		ids = append(ids, "BSD-2-Clause")
	}
	if has("Permission to use, copy, modify, and/or distribute this software for any purpose") ||
		has("Permission to use, copy, modify, and distribute this software for any purpose") {
		ids = append(ids, "ISC")
	}
	if has("Mozilla Public License") && has("2.0") {
		ids = append(ids, "MPL-2.0")
	}
	return ids
}

// writeNotices writes the licences of what is linked, as they ask for.
func writeNotices(out io.Writer, modules []module) error {
	var b bytes.Buffer
	b.WriteString("Holdline contains the following modules. Their licences ask for these texts to go with it.\n")
	for _, m := range modules {
		for _, n := range m.notices {
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.path, m.version, n.name, strings.TrimSpace(n.text))
		}
	}
	_, err := out.Write(b.Bytes())
	return err
}
