//go:build linux

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
)

// testsOf are the names of all tests in a tree.
func testsOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal("list the tests: ", err)
	}
	return names
}

// TestClaimsOfSecurityAreTested: each test that the page names exists, and each row of
// its tables names one.
func TestClaimsOfSecurityAreTested(t *testing.T) {
	exists := testsOf(t, "..")
	page := readPage(t, "docs/security.md")
	claims := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| ") || strings.Contains(line, "| test |") {
			continue
		}
		claims++
		if !testName.MatchString(line) {
			t.Errorf("no test: %s", line)
		}
	}
	for _, m := range testName.FindAllStringSubmatch(page, -1) {
		if !exists[m[1]] {
			t.Errorf("there is no test %s", m[1])
		}
	}
	if claims < 30 {
		t.Errorf("only %d claims were found", claims)
	}
}
