package config

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const samplePath = "holdline.example.yaml"

var update = flag.Bool("update", false, "write "+samplePath+" from the table of settings")

// sampleText is the sample file: every setting with its default, or commented out with an example.
func sampleText() string {
	var b strings.Builder
	b.WriteString(`# Holdline's settings, each with its default. A line that is commented out shows an example.
#
# holdline serve --config FILE, or HOLDLINE_CONFIG=FILE. Every setting is also an environment variable (tail.interval is
# HOLDLINE_TAIL_INTERVAL) and a flag (--tail-interval); flags win over variables, variables over this file.
# holdline serve --print-config shows what is in force and where it comes from.
`)
	var open string
	for _, s := range table() {
		path := strings.Split(s.key, ".")
		first := strings.Join(path[:len(path)-1], ".") != open
		depth := len(path) - 1
		if group := strings.Join(path[:depth], "."); depth > 0 && group != open {
			b.WriteString("\n")
			for i := range depth {
				fmt.Fprintf(&b, "%s%s:\n", indent(i), path[i])
			}
		} else if depth == 0 {
			b.WriteString("\n")
		}
		open = strings.Join(path[:depth], ".")
		in := indent(depth)
		if depth > 0 && !first {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s# %s%s.\n", in, strings.ToUpper(s.help[:1]), s.help[1:])
		if s.rule.kind != kindText && s.rule.kind != kindFile && s.key != "database.password" { // those may be anything
			fmt.Fprintf(&b, "%s# Write %s.\n", in, s.rule.want)
		}
		value, comment := s.def, ""
		if s.sample != "" {
			value, comment = s.sample, "# "
		}
		if s.rule.kind == kindList {
			value = yamlList(strings.Split(value, ","))
		} else {
			value = yamlScalar(value)
		}
		fmt.Fprintf(&b, "%s%s%s: %s\n", in, comment, path[depth], value)
	}
	return b.String()
}

func TestSampleIsUpToDate(t *testing.T) {
	if *update {
		if err := os.WriteFile(samplePath, []byte(sampleText()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleText(), string(got)); diff != "" {
		t.Errorf("run go test ./config -update:\n%s", diff)
	}
}

func TestSampleLoadsToTheDefaults(t *testing.T) {
	cfg := load(t, []string{"--config", samplePath}, nil)
	if diff := cmp.Diff(defaults(), cfg, compare); diff != "" {
		t.Error(diff)
	}
}

// The examples must be good too: take the comment marks off, except from one of each secret's two forms and from the
// certificate files, which go with ACME's settings no more than that.
func TestSampleExamplesLoad(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( *)# ([a-z_]+: )`).ReplaceAllString(sampleText(), "$1$2")
	text = regexp.MustCompile(`(?m)^ +(password|secret|cert|key)_file: .*\n`).ReplaceAllString(text, "")
	cfg := load(t, []string{"--config", write(t, "c.yaml", text)}, nil)
	origins := cfg.Origins()
	for _, s := range table() {
		if origins[s.key] == "default" && !strings.HasSuffix(s.key, "_file") {
			t.Errorf("%s did not come from the sample", s.key)
		}
	}
}
