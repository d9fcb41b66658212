// Package protocol is what goes over the wire, as data: JSON Schemas of every
// event, frame, request and answer, the WebSocket close codes, and descriptions for
// AsyncAPI and OpenAPI tools that refer to them. Nothing of it is in the program:
// tests hold the program's real frames against it.
package protocol

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Files are the schemas, close-codes.json, asyncapi.yaml and openapi.yaml.
//
//go:embed *.json *.yaml
var Files embed.FS

const suffix = ".schema.json"

// Schemas are all schemas, compiled. They are safe for concurrent use.
type Schemas struct {
	compiler *jsonschema.Compiler
	whole    map[string]*jsonschema.Schema
}

// Load compiles the schemas, and has formats such as date-time checked.
func Load() (*Schemas, error) {
	s := &Schemas{compiler: jsonschema.NewCompiler(), whole: make(map[string]*jsonschema.Schema)}
	s.compiler.AssertFormat()
	names, err := fs.Glob(Files, "*"+suffix)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.compiler.AddResource(address(name), value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range names {
		schema, err := s.compiler.Compile(address(name))
		if err != nil {
			return nil, err
		}
		s.whole[strings.TrimSuffix(name, suffix)] = schema
	}
	return s, nil
}

// address gives the schemas one place, so that they find each other by their
// files' names.
func address(file string) string { return "file:///protocol/" + file }

// Check holds a JSON text against a schema, named by its file without
// .schema.json. The error says where it differs.
func (s *Schemas) Check(name string, text []byte) error {
	schema := s.whole[name]
	if schema == nil {
		return fmt.Errorf("there is no schema called %q", name)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	return schema.Validate(value)
}
