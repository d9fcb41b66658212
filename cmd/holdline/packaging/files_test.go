package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas reads the published schemas, which name one another by file names.
type schemas struct{}

func (schemas) Load(url string) (any, error) {
	file, err := os.Open(filepath.Join("testdata", filepath.Base(url)+".gz"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(plain)
}

func TestBillOfMaterials(t *testing.T) {
	info, _ := built(t)
	var text bytes.Buffer
	if err := run([]string{"sbom", program}, &text); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(schemas{})
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("it is not as CycloneDX 1.5 wants it: %v", err)
	}

	var b bom
	if err := json.Unmarshal(text.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	want := []string{"std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		want = append(want, d.Path+"@"+d.Version)
	}
	var got []string
	for _, c := range b.Components {
		got = append(got, c.Name+"@"+c.Version)
		if len(c.Licences) == 0 || len(c.Hashes) == 0 && c.Name != "std" {
			t.Errorf("%s has %d licences and %d hashes", c.Name, len(c.Licences), len(c.Hashes))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what is linked, and what the bill has:\n%s", d)
	}
	if got := len(b.Dependencies[0].DependsOn); got != len(want) {
		t.Errorf("the program depends on %d of %d", got, len(want))
	}
}

func TestModuleHash(t *testing.T) {
	for name, tc := range map[string]struct{ sum, want string }{
		"of go.sum":         {"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"another algorithm": {"h2:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ""},
		"too short":         {"h1:47DEQpj8", ""},
		"no base64":         {"h1:!", ""},
		"nothing":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := moduleHash(tc.sum)
			if tc.want == "" && err == nil || tc.want != "" && (err != nil || got[0].Content != tc.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestNoticesOfAllModules(t *testing.T) {
	_, modules := built(t)
	var b bytes.Buffer
	if err := writeNotices(&b, modules); err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		if !strings.Contains(b.String(), "\n"+m.path+" "+m.version+": ") {
			t.Errorf("%s is missing", m.path)
		}
	}
}

func TestLicences(t *testing.T) {
	const (
		mit = "Permission is hereby granted, free of charge,\nto any person obtaining a copy"
		bsd = "Redistribution and use in source and binary forms, with or without"
	)
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string // none: an error
	}{
		"MIT":              {map[string]string{"LICENSE": mit}, []string{"MIT"}},
		"in British":       {map[string]string{"licence.md": mit}, []string{"MIT"}},
		"two of them":      {map[string]string{"LICENSE": mit, "LICENSE.libyaml": bsd}, []string{"BSD-2-Clause", "MIT"}},
		"three clauses":    {map[string]string{"COPYING": bsd + " … may be used to endorse …"}, []string{"BSD-3-Clause"}},
		"Apache, a notice": {map[string]string{"LICENSE": "Apache License\n Version 2.0", "NOTICE": "by us"}, []string{"Apache-2.0"}},
		"MPL":              {map[string]string{"LICENSE": "Mozilla Public License Version 2.0"}, []string{"MPL-2.0"}},
		"ISC":              {map[string]string{"LICENSE": "Permission to use, copy, modify, and distribute this software for any purpose"}, []string{"ISC"}},
		"all rights":       {map[string]string{"LICENSE": "All rights reserved."}, nil},
		"in another file":  {map[string]string{"main.go": mit}, nil},
		"nothing":          {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for name, text := range tc.files {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ids, notices, err := licences(folder)
			if d := cmp.Diff(tc.want, ids); d != "" || (err != nil) != (tc.want == nil) || err == nil && len(notices) != len(tc.files) {
				t.Errorf("%v, %d notices: %s", err, len(notices), d)
			}
		})
	}
	if _, _, err := licences("/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestManualPage(t *testing.T) {
	var b bytes.Buffer
	if err := run([]string{"man", program}, &b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		".TP\n.B serve\nserve browsers", ".B \\-\\-tail\\-idle\\-interval duration\n", ".SS token\n", ".B \\-\\-channels ",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if regexp.MustCompile(`@[A-Z]+@`).MatchString(page) {
		t.Error("a place was not filled")
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "'") {
			t.Errorf("%q is taken for a request", line)
		}
	}
}

func TestRoff(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a flag":       {"--hold", `\-\-hold`},
		"a path":       {".htaccess", `\&.htaccess`},
		"a quote":      {"'a'", `\(aqa\(aq`},
		"a backslash":  {`a\b`, `a\eb`},
		"plain, empty": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := roff(tc.text); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
