//go:build linux

package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// folders of the packages whose constants the page names.
var folders = map[string]string{
	"gateway": "gateway", "ws": "ws", "sse": "sse", "poll": "poll", "wordpress": "wordpress", "wpdb": "wpdb", "wplc": "wpdb/wplc",
	"park": "internal/park", "hub": "internal/hub", "live": "internal/live", "chat": "internal/chat", "token": "internal/token",
}

var limitRow = regexp.MustCompile("(?m)^\\| `([a-zA-Z_.]+)` \\| ([^|]+) \\|")

func TestLimitsAreAsThePageSays(t *testing.T) {
	text, err := os.ReadFile("../config/holdline.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var sample map[string]any
	if err := yaml.Unmarshal(text, &sample); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, m := range limitRow.FindAllStringSubmatch(readPage(t, "docs/limits.md"), -1) {
		name, want := m[1], m[2]
		named[name] = true
		group, key, _ := strings.Cut(name, ".")
		var got string
		if folder, ok := folders[group]; ok {
			got = constant(t, folder, key)
		} else if inside, ok := sample[group].(map[string]any); ok {
			got = fmt.Sprint(inside[key])
		} else {
			got = fmt.Sprint(sample[group])
		}
		if got != want {
			t.Errorf("%s is %s, the page says %s", name, got, want)
		}
	}
	for key := range sample["limits"].(map[string]any) {
		if !named["limits."+key] {
			t.Errorf("the page does not name limits.%s", key)
		}
	}
	if len(named) < 50 {
		t.Errorf("only %d limits were found", len(named))
	}
}

// constant is the value of a package's constant as the page writes it: a duration, a
// size in whole KiB or MiB, or a number.
func constant(t *testing.T, folder, name string) string {
	t.Helper()
	c := constants{set: token.NewFileSet(), of: make(map[string]ast.Expr)}
	files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(c.set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.ValueSpec); ok && len(s.Names) == len(s.Values) {
				for i, id := range s.Names {
					c.of[id.Name] = s.Values[i]
				}
			}
			return true
		})
	}
	value, timed, err := c.eval(c.of[name])
	switch {
	case err != nil:
		return err.Error()
	case timed:
		return time.Duration(value).String()
	case isSize(c.of[name]) && value%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", value>>20)
	case isSize(c.of[name]):
		return fmt.Sprintf("%dKiB", value>>10)
	}
	return strconv.FormatInt(value, 10)
}

type constants struct {
	set *token.FileSet
	of  map[string]ast.Expr
}

// isSize tells whether a constant is written as so many KiB or MiB: n << 10, n << 20.
func isSize(e ast.Expr) bool {
	b, ok := e.(*ast.BinaryExpr)
	if !ok || b.Op != token.SHL {
		return false
	}
	by, ok := b.Y.(*ast.BasicLit)
	return ok && (by.Value == "10" || by.Value == "20")
}

// units are those of package time.
var units = map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}

func (c constants) eval(e ast.Expr) (value int64, timed bool, err error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		value, err = strconv.ParseInt(strings.ReplaceAll(e.Value, "_", ""), 0, 64)
		return value, false, err
	case *ast.Ident:
		return c.eval(c.of[e.Name])
	case *ast.SelectorExpr:
		if unit, ok := units[e.Sel.Name]; ok {
			return int64(unit), true, nil
		}
	case *ast.BinaryExpr:
		x, timedX, errX := c.eval(e.X)
		y, timedY, errY := c.eval(e.Y)
		if errX != nil || errY != nil {
			return 0, false, fmt.Errorf("%v %v", errX, errY)
		}
		switch e.Op {
		case token.MUL:
			return x * y, timedX || timedY, nil
		case token.SHL:
			return x << y, false, nil
		case token.ADD:
			return x + y, timedX || timedY, nil
		}
	}
	return 0, false, fmt.Errorf("no constant that this test understands: %T", e)
}
