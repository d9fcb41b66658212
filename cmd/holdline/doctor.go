package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/doctor"
)

// maxCookie bounds what is read from the standard input.
const maxCookie = 16 << 10

// examine looks at everything from wp-config.php to what browsers get and says
// what to do.
func examine(ctx context.Context, p program) error {
	opt := doctor.Options{}
	asJSON := false
	cfg, err := load(p, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "print JSON")
		f.BoolVar(&opt.Quick, "quick", false, "leave out what takes longer than a few seconds")
		f.StringVar(&opt.Cookie, "cookie", "", "a browser's wordpress_logged_in_… cookie to verify, name=value; - reads it from the standard input")
		f.StringVar(&opt.URL, "url", "", "where browsers reach Holdline, with the base path (default: the site's address)")
	})
	var problems *config.Problems
	if errors.As(err, &problems) {
		if err := show(p, doctor.Problems(problems), asJSON); err != nil {
			return err
		}
		return usageError{errors.New("the configuration cannot be used, so nothing else was examined")}
	}
	if err != nil {
		return err
	}
	if len(cfg.Args) > 0 {
		return usageError{fmt.Errorf("doctor takes no argument such as %q", cfg.Args[0])}
	}
	if opt.Cookie == "-" {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, maxCookie)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the cookie: %w", err)
		}
		opt.Cookie = strings.TrimSpace(line)
	}
	opt.WordPress, opt.WordPressErr = gateway.ReadWordPress(&cfg)
	opt.Config = cfg
	found := doctor.Run(ctx, opt)
	if err := show(p, found, asJSON); err != nil {
		return err
	}
	if n := doctor.Count(found, doctor.Fault); n > 0 {
		return fmt.Errorf("faults found: %d", n)
	}
	return nil
}

func show(p program, found []doctor.Finding, asJSON bool) error {
	if asJSON {
		return doctor.WriteJSON(p.stdout, found)
	}
	return doctor.WriteText(p.stdout, found, colourful(p))
}

// colourful tells whether to use colours: on a terminal, unless NO_COLOR is set
// (https://no-color.org).
func colourful(p program) bool {
	f, isFile := p.stdout.(*os.File)
	if !isFile || slices.ContainsFunc(p.env, func(v string) bool {
		return strings.HasPrefix(v, "NO_COLOR=") && v != "NO_COLOR=" || v == "TERM=dumb"
	}) {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
