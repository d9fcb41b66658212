package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// word is a place in a text for fill.
var word = regexp.MustCompile(`\{\{(\w+)\}\}`)

// fill puts values into a text of the program's own. {{Name}} is a value; the
// lines from a line {{if Name}} to its line {{end}} are there when that value is
// not empty. Nothing is quoted.
//
// text/template could do more, and costs the program a fifth of its size: it
// calls methods by names that the linker cannot know, so the linker must keep
// every exported method of everything.
func fill(text string, values map[string]string) (string, error) {
	var (
		out   strings.Builder
		shown = []bool{true} // per {{if}} that is open
		err   error
	)
	value := func(name string) string {
		v, ok := values[name]
		if !ok && err == nil {
			err = fmt.Errorf("there is no value called %q", name)
		}
		return v
	}
	for line := range strings.Lines(text) {
		depth := len(shown) - 1
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "{{if ")
		switch {
		case ok:
			met := value(strings.TrimSuffix(command, "}}")) != ""
			shown = append(shown, met && shown[depth])
		case command == "{{end}}" && depth == 0:
			return "", errors.New("there is an {{end}} without its {{if}}")
		case command == "{{end}}":
			shown = shown[:depth]
		case shown[depth]:
			out.WriteString(word.ReplaceAllStringFunc(line, func(s string) string { return value(s[2 : len(s)-2]) }))
		}
	}
	if err == nil && len(shown) > 1 {
		err = errors.New("there is an {{if}} without its {{end}}")
	}
	return out.String(), err
}
