//go:build linux

package docs_test

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	spans  = regexp.MustCompile("`[^`\n]*`")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	source = regexp.MustCompile(`(?:src|srcset|href)="([^"]+)"`)
)

// Every link that stays in the repository leads somewhere, to a heading too.
func TestLinksLeadSomewhere(t *testing.T) {
	total := 0
	for _, page := range pages(t) {
		text := spans.ReplaceAllString(fenced.ReplaceAllString(readPage(t, page), ""), "")
		for _, m := range append(link.FindAllStringSubmatch(text, -1), source.FindAllStringSubmatch(text, -1)...) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if u.Scheme != "" {
				continue // somebody else's
			}
			total++
			target := page
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(page), u.Path)
			}
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if u.Fragment != "" && !anchors(readPage(t, target))[u.Fragment] {
				t.Errorf("%s: %s has no heading #%s", page, target, u.Fragment)
			}
		}
	}
	if total < 50 {
		t.Errorf("only %d links were found", total)
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) map[string]bool {
	names := make(map[string]bool)
	for line := range strings.Lines(fenced.ReplaceAllString(text, "")) {
		marks := len(line) - len(strings.TrimLeft(line, "#"))
		if marks == 0 || !strings.HasPrefix(line[marks:], " ") {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(line[marks:]))
		names[name] = true
	}
	return names
}

// A page is found by who looks for it.
func TestIndexNamesEveryPage(t *testing.T) {
	index := readPage(t, "docs/README.md")
	decisions := readPage(t, "docs/decisions/README.md")
	for _, page := range pages(t) {
		name, ok := strings.CutPrefix(page, "docs/")
		if !ok || name == "README.md" {
			continue
		}
		if own, ok := strings.CutPrefix(name, "decisions/"); ok && own != "README.md" {
			if !strings.Contains(decisions, "]("+own+")") {
				t.Errorf("docs/decisions/README.md does not name %s", own)
			}
			continue
		}
		if !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}
