package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"holdline/config"
	"holdline/gateway"
	"holdline/internal/token"
)

// mint prints a signed token for the configuration's secret.
func mint(_ context.Context, p program) error {
	var claims token.Claims
	var ttl time.Duration
	cfg, err := load(p, func(f *pflag.FlagSet) {
		f.StringSliceVar(&claims.Channels, "channels", nil, "channels that the token may read, such as wplc/1,wplc/2 or wplc/*")
		f.DurationVar(&ttl, "ttl", time.Hour, "how long the token is good")
		f.StringVar(&claims.Subject, "sub", "", "whom the token is for; limits.per_user counts by it")
	})
	if err != nil {
		return err
	}
	if len(claims.Channels) == 0 || ttl <= 0 {
		return usageError{errors.New("say which channels the token is for, and for how long: --channels wplc/1,wplc/2 --ttl 1h")}
	}
	if err := completeSecret(&cfg); err != nil {
		return err
	}
	claims.Expires = time.Now().Add(ttl)
	text, err := token.Keys{Secret: []byte(cfg.Auth.Secret.Reveal())}.Mint(claims)
	if err != nil {
		return usageError{err}
	}
	_, err = fmt.Fprintln(p.stdout, strings.TrimSpace(text))
	return err
}

// completeSecret has the key made of the site's own where none is set, as serve
// does: a token that was signed by another would be refused.
func completeSecret(cfg *config.Config) error {
	if !cfg.Auth.Secret.Empty() || cfg.WordPress.Config == "" {
		return nil
	}
	if _, err := gateway.ReadWordPress(cfg); err != nil && cfg.Auth.Secret.Empty() {
		return usageError{err}
	}
	return nil
}
