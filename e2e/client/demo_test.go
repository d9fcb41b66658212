//go:build e2e

package client

import (
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"holdline/e2e/backstage"
)

// demo runs the demo and opens its page.
func demo(t *testing.T, b *browser) *tab {
	t.Helper()
	address := backstage.FreeAddress(t)
	backstage.Start(t, exec.Command(program, "demo", "--memory", "--listen", address))
	backstage.Eventually(t, "the demo answers", 20*time.Second, func() bool {
		resp, err := http.Get("http://" + address + "/demo/session")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	p := b.visit("http://"+address+"/", "document.querySelectorAll('.pane').length === 2", 20*time.Second)
	p.eval(`window.paneOf = (who) => document.querySelectorAll('.pane')[who === 'visitor' ? 0 : 1];
		window.say = (who, text) => {
			const form = paneOf(who).querySelector('form');
			form.elements.text.value = text;
			form.requestSubmit();
		};
		window.texts = (who) => [...paneOf(who).querySelectorAll('.log li:not(.note) > p:first-child')].map((p) => p.textContent);
		window.states = (who) => [...paneOf(who).querySelectorAll('.log li.mine')].map((li) => li.dataset.state);
		window.transport = (who) => paneOf(who).querySelector('.line[data-state=open] .transport')?.textContent;
		window.road = (who, mode) => paneOf(who).querySelector('.roads input[value=' + mode + ']').click();
		addEventListener('error', () => { window.faulty = true; });
		addEventListener('unhandledrejection', () => { window.faulty = true; });
		0`, nil)
	p.until("transport('visitor') === 'WebSocket' && transport('agent') === 'WebSocket'", 20*time.Second)
	return p
}

// What people write is text at both ends, whatever it looks like.
func TestDemoRunsNoMarkup(t *testing.T) {
	b := newBrowser(t)
	p := demo(t, b)
	defer p.close()
	bodies := []string{
		`<img src=x onerror="window.hacked = true">`,
		`<script>window.hacked = true</script>`,
		`<svg onload="window.hacked = true"><a href="javascript:window.hacked=1">x</a></svg>`,
		`"><iframe srcdoc="<script>parent.hacked = true</script>"></iframe>`,
		`&lt;b&gt; &amp; {{constructor.constructor('window.hacked = true')()}}`,
	}
	for i, body := range bodies {
		who := []string{"visitor", "agent"}[i%2]
		p.eval(fmt.Sprintf("say(%q, %q)", who, body), nil)
		p.until(fmt.Sprintf("texts('visitor').length > %d && texts('agent').length > %d", i, i), 10*time.Second)
	}
	for _, who := range []string{"visitor", "agent"} {
		var texts []string
		p.eval(fmt.Sprintf("texts(%q)", who), &texts)
		for i, body := range bodies {
			if texts[i] != body {
				t.Errorf("the %s reads %q instead of %q", who, texts[i], body)
			}
		}
	}
	var elements int
	p.eval("document.querySelectorAll('.log :not(li, p, small, span, button)').length", &elements)
	var hacked bool
	p.eval("Boolean(window.hacked || window.faulty)", &hacked)
	if elements > 0 || hacked {
		t.Errorf("%d elements of markup, run: %v", elements, hacked)
	}
}

// The buttons make real trouble, and the client really gets through it.
func TestDemoInTrouble(t *testing.T) {
	b := newBrowser(t)
	p := demo(t, b)
	defer p.close()
	p.eval("road('visitor', 'down')", nil)
	p.until("!transport('visitor')", 10*time.Second)
	p.eval("say('visitor', 'one'); say('visitor', 'two'); say('agent', 'three')", nil)
	p.until("states('agent').join() === 'stored'", 10*time.Second)
	p.until("states('visitor').join() === 'pending,pending'", 10*time.Second)
	p.eval("road('visitor', 'buffer')", nil)
	p.until("transport('visitor') === 'Long poll'", 30*time.Second)
	p.until("texts('agent').join() === 'three,one,two' && texts('visitor').length === 3", 30*time.Second)
	p.eval("document.getElementById('stopped').click()", nil)
	p.eval("say('agent', 'four')", nil)
	p.until("texts('visitor').at(-1) === 'four' && states('agent').at(-1) === 'pending'", 10*time.Second)
	p.eval("document.getElementById('stopped').click()", nil)
	p.until("states('agent').every((s) => s !== 'pending') && states('visitor').every((s) => s !== 'pending')", 30*time.Second)
	var faulty bool
	p.eval("Boolean(window.faulty)", &faulty)
	if faulty {
		t.Error("something went wrong in the page")
	}
}
