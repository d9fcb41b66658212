//go:build linux

package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page. What stands behind the language tells the
// tests what to do with it; people who read the page do not see it.
type block struct {
	page  string // relative to the repository's root
	line  int    // of its first line
	lang  string
	attrs map[string]string
	text  string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

func (b *block) has(attr string) bool {
	_, ok := b.attrs[attr]
	return ok
}

var attribute = regexp.MustCompile(`([a-z][a-z-]*)(?:="([^"]*)")?`)

// pages are all texts of the repository that are written for people, relative to
// its root.
func pages(t testing.TB) []string {
	t.Helper()
	list := []string{"README.md", "CHANGELOG.md", "wordpress/jquery/README.md"}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err = filepath.Rel("..", path)
		if d.IsDir() && path != "." && path != "docs" && !strings.HasPrefix(path, "docs/") {
			return filepath.SkipDir
		}
		if strings.HasPrefix(path, "docs/") && strings.HasSuffix(path, ".md") {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func readPage(t testing.TB, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the fenced blocks of a page, in its order.
func blocks(t testing.TB, page string) (list []*block) {
	t.Helper()
	var open *block
	n := 0
	for line := range strings.Lines(readPage(t, page)) {
		n++
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case !fence && open != nil:
			open.text += line
		case fence && open != nil:
			list, open = append(list, open), nil
		case fence:
			lang, rest, _ := strings.Cut(info, " ")
			open = &block{page: page, line: n + 1, lang: lang, attrs: make(map[string]string)}
			for _, m := range attribute.FindAllStringSubmatch(rest, -1) {
				open.attrs[m[1]] = m[2]
			}
		}
	}
	if open != nil {
		t.Fatalf("%v: the block does not end", open)
	}
	return list
}
