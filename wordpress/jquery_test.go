package wordpress

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// The page's own scripts must have begun when the one for push is asked for, and an
// old plugin's page must be spared it.
func TestPagesLoadPushWhereTheOwnerWantsIt(t *testing.T) {
	const script = `<script async src="/holdline/v1/wplc.js"></script>`
	for _, test := range []struct {
		name, wanted, plugin string
		pushes               bool
	}{
		{"by default", "", "8.0.25", false},
		{"wanted", "1", "8.0.25", true},
		{"a plugin that cannot answer at once", "1", "5.0.4", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("SITE_PUSH", test.wanted)
			s := newSite(t, "http://127.0.0.1:8787/holdline/v1", test.plugin)
			r, err := http.NewRequest(http.MethodGet, s.url+"/page", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			_, page := s.do(r)
			transport, push := strings.Index(page, "ajaxTransport"), strings.Index(page, script)
			if (push >= 0) != test.pushes || test.pushes && push < transport {
				t.Errorf("the script is at %d, the transport at %d", push, transport)
			}
		})
	}
}

// What the script does with a page's loops is tested where it runs.
func TestPushInNode(t *testing.T) {
	out, err := exec.Command("node", "--test", "jquery/test/push.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("node, which this test needs: %v\n%s", err, out)
	}
}
