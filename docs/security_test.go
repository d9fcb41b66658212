//go:build linux

package docs_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^[^\n:]+:func (Test[A-Za-z0-9]+)\(`)
)

// TestClaimsOfSecurityAreTested: each test that the page names exists, and each row of
// its tables names one.
func TestClaimsOfSecurityAreTested(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "..", "grep", "--untracked", "-E", "^func Test", "--", "*_test.go").Output()
	if err != nil {
		t.Fatal("list the tests: ", err)
	}
	exists := make(map[string]bool)
	for _, m := range testFunc.FindAllStringSubmatch(string(out), -1) {
		exists[m[1]] = true
	}
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
