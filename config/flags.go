package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Flags that are no settings.
const (
	flagConfig      = "config"
	flagPrintConfig = "print-config"
)

// newFlags makes one flag for every setting, then the caller's own.
func newFlags(extra func(*pflag.FlagSet)) *pflag.FlagSet {
	flags := pflag.NewFlagSet("holdline", pflag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error, and Help
	flags.Usage = func() {}
	flags.SortFlags = false
	// Unknown flags are our own business: unknownFlags finds all of them.
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.String(flagConfig, "", "YAML `file` with settings")
	flags.Bool(flagPrintConfig, false, "print the effective settings and where each comes from, then exit")
	for _, s := range table() {
		flags.Var(&flagValue{kind: s.rule.kind, text: s.def}, s.flag(), s.help)
	}
	if extra != nil {
		extra(flags)
	}
	return flags
}

// flagValue keeps a flag's text; the setting's rule judges it later, together with those of the file and the environment.
type flagValue struct {
	kind  string
	text  string
	given bool
}

// String implements [pflag.Value].
func (f *flagValue) String() string { return f.text }

// Set implements [pflag.Value]. A list's flag may be given more than once.
func (f *flagValue) Set(text string) error {
	if f.given && f.kind == kindList {
		text = f.text + "," + text
	}
	f.text, f.given = text, true
	return nil
}

// Type implements [pflag.Value].
func (f *flagValue) Type() string { return f.kind }

// unknownFlags walks the command line as pflag does and returns the names, without values, that no flag has.
func unknownFlags(flags *pflag.FlagSet, args []string) []string {
	var unknown []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			continue
		}
		name, _, hasValue := strings.Cut(arg, "=")
		flag := flags.Lookup(strings.TrimPrefix(name, "--"))
		if !strings.HasPrefix(name, "--") {
			flag, hasValue = flags.ShorthandLookup(arg[1:2]), len(arg) > 2
		}
		switch {
		case flag != nil && flag.NoOptDefVal == "" && !hasValue:
			i++ // the next word is its value, whatever it looks like
		case flag == nil && name != "--help" && name != "-h":
			unknown = append(unknown, shortened(name))
		}
	}
	return unknown
}

// Help writes the flags with their defaults, those of extra (may be nil) included, and how else to give the settings.
func Help(w io.Writer, extra func(*pflag.FlagSet)) error {
	example := table()[0]
	_, err := fmt.Fprintf(w, `%s
Each setting can also be written in the YAML file (%s: %s) or in the environment (%s=%s).
Flags win over the environment, the environment over the file. Lists are separated by commas.
`, newFlags(extra).FlagUsages(), example.key, example.def, example.env(), example.def)
	return err
}
