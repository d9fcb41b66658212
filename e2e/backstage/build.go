//go:build linux

package backstage

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Build builds the checkout's holdline into a folder; flags are go build's, such as
// -race.
func Build(dir string, flags ...string) (program string, err error) {
	program = filepath.Join(dir, "holdline")
	args := append([]string{"build", "-o", program}, flags...)
	if out, err := exec.Command("go", append(args, "holdline/cmd/holdline")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return program, nil
}
