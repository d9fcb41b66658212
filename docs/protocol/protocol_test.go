package protocol_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"holdline/docs/protocol"
)

// Both descriptions are YAML, and whatever they refer to is there.
func TestReferencesResolve(t *testing.T) {
	names, err := fs.Glob(protocol.Files, "*.*")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]any)
	for _, name := range names {
		text, err := protocol.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := yaml.Unmarshal(text, &tree); err != nil { // JSON is YAML
			t.Fatalf("%s: %v", name, err)
		}
		files[name] = tree
	}
	total := 0
	for name, tree := range files {
		walk(tree, func(ref string) {
			total++
			file, pointer, _ := strings.Cut(ref, "#")
			if file == "" {
				file = name
			}
			if !resolves(files[file], pointer) {
				t.Errorf("%s refers to %s", name, ref)
			}
		})
	}
	if total < 100 {
		t.Errorf("only %d references were found", total)
	}
}

// walk calls visit for every $ref below a value.
func walk(at any, visit func(ref string)) {
	switch at := at.(type) {
	case map[string]any:
		for key, value := range at {
			if ref, ok := value.(string); ok && key == "$ref" {
				visit(ref)
				continue
			}
			walk(value, visit)
		}
	case []any:
		for _, value := range at {
			walk(value, visit)
		}
	}
}

// resolves follows a JSON pointer (RFC 6901) through maps.
func resolves(at any, pointer string) bool {
	for _, name := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		tree, ok := at.(map[string]any)
		if !ok {
			return false
		}
		at = tree[name]
	}
	return at != nil
}

// Every schema says which dialect it is, what it is of, and is used by somebody.
func TestEverySchemaHasATitleAndAPlace(t *testing.T) {
	names, err := fs.Glob(protocol.Files, "*.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	index := read(t, "README.md")
	for _, name := range names {
		var s struct {
			Schema string `json:"$schema"`
			Title  string `json:"title"`
		}
		text, err := protocol.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.Schema != "https://json-schema.org/draft/2020-12/schema" || s.Title == "" {
			t.Errorf("%s: %+v", path.Base(name), s)
		}
		if !strings.Contains(index, "("+name+")") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}

// What no server would say is refused.
func TestSchemasRefuse(t *testing.T) {
	schemas, err := protocol.Load()
	if err != nil {
		t.Fatal(err)
	}
	for text, schema := range map[string]string{
		`{"type":"message","channel":"wplc/1","cursor":"1","id":1,"from":{"kind":"agent"},"seen":true}`:                    "event", // a field that nobody knows
		`{"type":"message","channel":"wplc/1","id":1,"from":{"kind":"agent"}}`:                                             "event", // a row without a cursor
		`{"type":"message","channel":"wplc/1","cursor":"1","pending":true,"from":{"kind":"agent"},"client_id":"12345678"}`: "event",
		`{"type":"edited","channel":"wplc/1","cursor":"1"}`:                                                                "event",
		`{"type":"typing","channel":"wplc/1","from":{"kind":"ghost"},"data":{"typing":false}}`:                             "event",
		`{"type":"message","channel":"wplc/1","cursor":"1","id":1,"from":{"kind":"agent"},"sent_at":"yesterday"}`:          "event",
		`{"type":"status","channel":"wplc/1","data":{"status":3,"state":"asleep"}}`:                                        "wplc",
		`{"cursor":"1 2","events":[]}`:                                                                                           "poll",
		`{"type":"sent","client_id":"12345678","state":"failed"}`:                                                                "answer",
		`{"type":"sent","client_id":"12345678","state":"pending","reason":"rate","error":"Too many."}`:                           "answer",
		`{"error":"No.","reason":"mood"}`:                                                                                        "error",
		`{"type":"send","channel":"wplc/1","client_id":"1","body":""}`:                                                           "said",
		`{"type":"message","channel":"wplc/1","cursor":"1","id":1,"from":{"kind":"agent"},"data":{"originates":9,"read":false}}`: "wplc",
		`{"transports":["ws"],"server_time":"2026-11-22T05:00:00Z","sources":[],"send":true}`:                                    "info",
	} {
		if schemas.Check(schema, []byte(text)) == nil {
			t.Errorf("%s.schema.json lets %s pass", schema, text)
		}
	}
	if schemas.Check("nothing", []byte("{}")) == nil {
		t.Error("a schema that is not there")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
