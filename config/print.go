package config

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Print writes the effective settings as YAML, each with its origin as a comment and secrets redacted.
func (c Config) Print(w io.Writer) error {
	type line struct{ text, origin string }
	var lines []line
	width := 0
	var open []string
	for _, s := range table() {
		path := strings.Split(s.key, ".")
		groups, name := path[:len(path)-1], path[len(path)-1]
		for depth, group := range groups {
			if !slices.Equal(open[:min(depth+1, len(open))], groups[:depth+1]) {
				lines = append(lines, line{text: indent(depth) + group + ":"})
			}
		}
		open = groups
		text := indent(len(groups)) + name + ": " + yamlText(c.field(s.key).Interface())
		lines = append(lines, line{text, c.origins[s.key]})
		width = max(width, min(utf8.RuneCountInString(text), maxAligned))
	}
	out := bufio.NewWriter(w)
	for _, l := range lines {
		if l.origin == "" {
			fmt.Fprintln(out, l.text)
			continue
		}
		fmt.Fprintf(out, "%-*s  # %s\n", width, l.text, oneLine(l.origin))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// maxAligned keeps one long value from pushing all comments off the screen.
const maxAligned = 60

func indent(depth int) string { return strings.Repeat("  ", depth) }

// yamlText writes a setting's value so that a YAML reader gets the same text back.
func yamlText(value any) string {
	switch v := value.(type) {
	case []string:
		return yamlList(v)
	case []netip.Prefix:
		return yamlList(v)
	case time.Duration:
		return shortDuration(v)
	default:
		return yamlScalar(fmt.Sprint(v))
	}
}

func yamlList[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = yamlScalar(fmt.Sprint(v))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// plainForm is text that needs no quotes in YAML, apart from the words YAML 1.1 reads as something else.
var plainForm = regexp.MustCompile(`^[A-Za-z0-9/_][A-Za-z0-9/_.+-]*(:[A-Za-z0-9/_.+-]+)*$`)

func yamlScalar(text string) string {
	switch strings.ToLower(text) {
	case "on", "off", "yes", "no", "y", "n", "true", "false", "null":
		return `"` + text + `"`
	}
	if plainForm.MatchString(text) {
		return text
	}
	// Go's escapes are all escapes of YAML's double-quoted style too (YAML 1.2.2 section 5.7).
	return fmt.Sprintf("%q", text)
}

// oneLine keeps a strange path from breaking out of its comment.
func oneLine(text string) string {
	if quoted := fmt.Sprintf("%q", text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}
