package gateway

import "testing"

func TestOpenConnectionsLeaveDescriptorsToTheHeld(t *testing.T) {
	for name, c := range map[string]struct {
		limits openLimits
		held   int
		want   int
	}{
		"more files than anybody needs": {openLimits{all: 4096, files: 500_000}, 50_000, 4096},
		"files unknown":                 {openLimits{all: 4096}, 50_000, 4096},
		"few files, nobody held":        {openLimits{all: 4096, files: 4096}, 0, 4096 - 128},
		"few files, as many as may be":  {openLimits{all: 4096, files: 4096}, 4096 - reservedDescriptors, 128},
		"more held than files":          {openLimits{all: 4096, files: 1024}, 2000, -1104},
	} {
		if got := c.limits.room(c.held); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
