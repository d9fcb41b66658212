package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// document decodes a YAML configuration file for viper. Viper's own decoder turns a password of 0123 into 83, merges
// "listen" and "Listen" without a word, and lets a group whose lines are all commented out wipe the defaults of the
// group. This one keeps every value as the text that was written, and lists what it does not know with its line.
type document struct {
	path     string
	lines    map[string]int // line of each setting found
	problems *Problems
}

// Decoder implements [viper.DecoderRegistry]; there is only one format.
func (d *document) Decoder(string) (viper.Decoder, error) { return d, nil }

// Decode implements [viper.Decoder]: out gets the known settings, lists as items separated by commas. The error is a
// syntax error; everything else goes to problems.
func (d *document) Decode(data []byte, out map[string]any) error {
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var root yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.add(&root, "has a second document after ---; keep one.")
	}
	top := root.Content[0]
	switch {
	case top.Kind == yaml.MappingNode:
		d.group("", top, out, make(map[string]bool))
	case !isNull(top):
		d.add(top, "is no list of settings; write lines such as `listen: 127.0.0.1:8787`.")
	}
	return nil
}

// group reads the settings of one mapping. The depth of the recursion is that of the table, whatever the file's is.
func (d *document) group(prefix string, mapping *yaml.Node, out map[string]any, seen map[string]bool) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		key := prefix + name.Value
		s, known := find(key)
		switch {
		case name.Kind != yaml.ScalarNode || !known && !isGroup(key):
			d.add(name, "has the unknown key %s%s", shown(key), didYouMean(key, keys()))
		case seen[key]:
			d.add(name, "has %s twice; keep one.", key)
		case isNull(value): // `key:` with its value or its group's lines commented out
			seen[key] = true
		case !known && value.Kind != yaml.MappingNode:
			d.add(value, "has a value for %s, which is a group of settings; write them indented below it.", key)
		case !known:
			seen[key] = true
			d.group(key+".", value, out, seen)
		default:
			seen[key] = true
			d.setting(s, value, out)
		}
	}
}

func (d *document) setting(s setting, value *yaml.Node, out map[string]any) {
	switch {
	case value.Kind == yaml.ScalarNode:
		out[s.key] = value.Value
	case value.Kind == yaml.SequenceNode && s.rule.kind == kindList:
		var items []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				d.add(item, "has an item of %s that is no plain text; write %s.", s.key, s.rule.want)
				return
			}
			items = append(items, item.Value)
		}
		out[s.key] = strings.Join(items, ",")
	default: // an alias is one too: it may refer to itself, and nobody needs it here
		d.add(value, "has more than one plain value for %s; write %s.", s.key, s.rule.want)
		return
	}
	d.lines[s.key] = value.Line
}

func (d *document) add(at *yaml.Node, format string, args ...any) {
	d.problems.add("file %s, line %d %s", d.path, at.Line, fmt.Sprintf(format, args...))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// keys lists what may be written in a file, groups included.
func keys() []string {
	var all []string
	for _, s := range table() {
		for i, c := range s.key {
			if c == '.' && !slices.Contains(all, s.key[:i]) {
				all = append(all, s.key[:i])
			}
		}
		all = append(all, s.key)
	}
	return all
}
