package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"holdline/internal/wpsite"
)

// siteHoldline is `holdline serve` in a WordPress site's path, configured as an
// operator would: by wp-config.php, a SELECT-only user and the shared secret.
type siteHoldline struct {
	address, admin netip.AddrPort
	process        *process
}

// startSiteHoldline puts Holdline between nginx and PHP. Holdline's files are in dir.
func startSiteHoldline(ctx context.Context, program, dir string, s *wpsite.Site, opts wpsite.Options) (*siteHoldline, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, fmt.Errorf("find the holdline program: %w", err)
	}
	h := &siteHoldline{}
	if h.address, err = freePort(); err != nil {
		return nil, err
	}
	if h.admin, err = freePort(); err != nil {
		return nil, err
	}
	opts.Holdline, opts.Secret = "http://"+h.address.String(), randomHex()
	secretFile := filepath.Join(dir, "secret")
	if err := os.WriteFile(secretFile, []byte(opts.Secret), 0o600); err != nil {
		return nil, fmt.Errorf("write the shared secret: %w", err)
	}
	// The companion plugin first: Holdline asks for it when it starts.
	if err := s.Configure(ctx, opts); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "serve")
	cmd.Env = append(withoutHoldline(os.Environ()), h.environment(s, secretFile)...)
	cmd.Dir = dir
	if h.process, err = startProcess("holdline serve", filepath.Join(dir, "holdline.log"), cmd); err != nil {
		return nil, err
	}
	err = h.process.await(ctx, func(ctx context.Context) bool {
		return answers(ctx, fmt.Sprintf("http://%s/readyz", h.admin))
	})
	if err != nil {
		return nil, errors.Join(err, h.process.stop())
	}
	return h, nil
}

// environment is the configuration: defaults, but for the limits on one address,
// since all visitors come from 127.0.0.1.
func (h *siteHoldline) environment(s *wpsite.Site, secretFile string) []string {
	const many = "60000"
	return []string{
		"HOLDLINE_LISTEN=" + h.address.String(),
		"HOLDLINE_ADMIN_LISTEN=" + h.admin.String(),
		"HOLDLINE_WORDPRESS_CONFIG=" + s.Config,
		"HOLDLINE_WORDPRESS_UPSTREAM=" + s.UpstreamURL,
		"HOLDLINE_DATABASE_USER=" + s.HoldlineUser,
		"HOLDLINE_DATABASE_PASSWORD=" + s.HoldlinePassword,
		"HOLDLINE_AUTH_SECRET_FILE=" + secretFile,
		"HOLDLINE_LIMITS_PER_ADDRESS=" + many,
		"HOLDLINE_LIMITS_PER_USER=" + many,
		"HOLDLINE_STATE_DIR=" + filepath.Join(filepath.Dir(secretFile), "state"),
	}
}
