package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// builtFolder has the program that tests start as a file, "" while none was built.
var builtFolder string

// TestMain is also the process that the demo starts for its further clients.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == demoClientsName {
		main()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(builtFolder)
		os.Exit(code)
	}))
}

// holdline runs a command line and returns what it prints.
func holdline(args ...string) (code int, stdout, stderr string) {
	var out, trouble bytes.Buffer
	code = run(context.Background(), args, nil, strings.NewReader(""), &out, &trouble)
	return code, out.String(), trouble.String()
}

func TestCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		code   int
		stdout string // part of it
		stderr string
	}{
		"help":                  {nil, 0, "holdline COMMAND", ""},
		"unknown command":       {[]string{"sirve"}, 2, "", `no command "sirve"`},
		"version":               {[]string{"version"}, 0, "holdline ", ""},
		"version as a flag":     {[]string{"--version"}, 0, "holdline ", ""},
		"unknown flag":          {[]string{"demo", "--listne", "x"}, 2, "", "--listen"},
		"demo's own flag":       {[]string{"demo", "--help"}, 0, "--memory", ""},
		"demo with an argument": {[]string{"demo", "now"}, 2, "", `"now"`},
		"demo on a socket":      {[]string{"demo", "--listen", "unix:/tmp/x"}, 2, "", "host:port"},
		"demo's settings":       {[]string{"demo", "--print-config", "--hold", "7s"}, 0, "hold: 7s", ""},
		"clients by hand":       {[]string{demoClientsName}, 2, "", "holdline demo"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := holdline(tc.args...)
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if strings.Contains(stdout, demoClientsName) {
				t.Error("a command of the program's own is shown")
			}
		})
	}
}
