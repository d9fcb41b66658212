package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Count returns how many findings have a status.
func Count(found []Finding, s Status) (n int) {
	for _, f := range found {
		if f.Status == s {
			n++
		}
	}
	return n
}

// WriteJSON writes one object: ok (no fault), faults, warnings, and findings with
// check, status, text, fix and commands. These names stay.
func WriteJSON(w io.Writer, found []Finding) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		OK       bool      `json:"ok"`
		Faults   int       `json:"faults"`
		Warnings int       `json:"warnings"`
		Findings []Finding `json:"findings"`
	}{Count(found, Fault) == 0, Count(found, Fault), Count(found, Warning), found})
}

// marks and colours (ECMA-48 SGR) by status.
var (
	marks   = [...]string{OK: "✓", Skipped: "–", Warning: "!", Fault: "✗"}
	colours = [...]string{OK: "32", Skipped: "2", Warning: "33", Fault: "31"}
)

// WriteText writes a line for each finding, and after them, once more and with
// what to do, those that are wrong: the gravest last, where a terminal ends.
func WriteText(w io.Writer, found []Finding, colour bool) error {
	p := &printer{colour: colour}
	width := 0
	for _, f := range found {
		width = max(width, utf8.RuneCountInString(f.Check))
	}
	last := ""
	for _, f := range found {
		name := f.Check
		if name == last {
			name = ""
		}
		last = f.Check
		p.printf("%s %-*s  %s\n", p.paint(f.Status, marks[f.Status]), width, name, clean(f.Text))
	}
	for _, s := range []Status{Warning, Fault} {
		for _, f := range found {
			if f.Status == s {
				p.problem(f)
			}
		}
	}
	faults, warnings := Count(found, Fault), Count(found, Warning)
	if faults+warnings == 0 {
		p.printf("\nEverything is well.\n")
	} else {
		p.printf("\n%s, %s.\n", plural(faults, "fault"), plural(warnings, "warning"))
	}
	_, err := io.WriteString(w, p.text.String())
	return err
}

type printer struct {
	text   strings.Builder
	colour bool
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

func (p *printer) paint(s Status, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colours[s] + "m" + text + "\x1b[0m"
}

func (p *printer) problem(f Finding) {
	p.printf("\n%s\n  %s\n", p.paint(f.Status, f.Check+": "+clean(f.Text)), clean(f.Fix))
	for _, c := range f.Commands {
		p.printf("    %s\n", clean(c))
	}
}

// clean keeps what servers say from moving a terminal's cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
