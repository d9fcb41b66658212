// Command holdline is a gateway beside WordPress that holds the browsers of a
// chat and tells them of new rows. See the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // named zones on machines without zoneinfo

	"github.com/spf13/pflag"

	"holdline/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on, a second one ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// program is what a command may use of the world.
type program struct {
	args   []string
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// command is one word after "holdline". One without help is for the program's
// own use.
type command struct {
	name, help string
	run        func(ctx context.Context, p program) error
}

func commands() []command {
	return []command{
		{"serve", "serve browsers from the site's database", serve},
		{"demo", "a chat to try out, with a database of its own", demo},
		{"doctor", "examine everything from wp-config.php to the browser, and say what to do", examine},
		{"tail", "print the live events of channels: holdline tail wplc/42", tail},
		{"token", "mint a token: holdline token --channels wplc/42 --ttl 1h --sub ann", mint},
		{"snippet", "print a web server's rule, the companion plugin or systemd's units: holdline snippet nginx", snippet},
		{"version", "print the version", version},
		{demoClientsName, "", demoClients},
	}
}

// run returns the exit code: 0 for good, 1 for trouble, 2 for a mistake in the
// command line or configuration.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := "help"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if name == "--version" {
		name = "version"
	}
	p := program{args: args, env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	for _, c := range commands() {
		if c.name == name {
			return report(c.run(ctx, p), stderr)
		}
	}
	out, code := stdout, 0
	if name != "help" && name != "-h" && name != "--help" {
		fmt.Fprintf(stderr, "holdline: there is no command %q\n\n", name)
		out, code = stderr, 2
	}
	fmt.Fprintln(out, "usage: holdline COMMAND [flags]")
	for _, c := range commands() {
		if c.help != "" {
			fmt.Fprintf(out, "  %-9s %s\n", c.name, c.help)
		}
	}
	fmt.Fprintln(out, "\nholdline COMMAND --help lists a command's flags.")
	return code
}

// usageError is a mistake of the caller's.
type usageError struct{ error }

func report(err error, stderr io.Writer) int {
	var problems *config.Problems
	var usage usageError
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.As(err, &problems), errors.As(err, &usage):
		fmt.Fprintf(stderr, "holdline: %v\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "holdline: %v\n", err)
	return 1
}
