package main

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	values := map[string]string{"Here": "yes", "Gone": "", "Port": "80"}
	for name, tc := range map[string]struct{ text, want, err string }{
		"a value":                {"listen {{Port}}; # {{Port}}\n", "listen 80; # 80\n", ""},
		"other braces":           {"{Port} {{ {a}}\n", "{Port} {{ {a}}\n", ""},
		"lines that are there":   {"a\n{{if Here}}\nb {{Port}}\n{{end}}\nc", "a\nb 80\nc", ""},
		"lines that are not":     {"a\n  {{if Gone}}\nb\n  {{end}}\nc\n", "a\nc\n", ""},
		"inner lines go with it": {"{{if Gone}}\n{{if Here}}\na\n{{end}}\nb\n{{end}}\nc\n", "c\n", ""},
		"inner lines by itself":  {"{{if Here}}\n{{if Gone}}\na\n{{end}}\nb\n{{end}}\nc\n", "b\nc\n", ""},
		"a misspelt value":       {"{{Prot}}\n", "", `"Prot"`},
		"a misspelt condition":   {"{{if Heer}}\n{{end}}\n", "", `"Heer"`},
		"an else":                {"{{if Here}}\n{{else}}\n{{end}}\n", "", `"else"`},
		"no end":                 {"{{if Here}}\n", "", "without its {{end}}"},
		"no if":                  {"{{end}}\n", "", "without its {{if}}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fill(tc.text, values)
			switch {
			case tc.err == "" && (err != nil || got != tc.want):
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("error %v, want one with %s", err, tc.err)
			}
		})
	}
}
