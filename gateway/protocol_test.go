package gateway_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"holdline/docs/protocol"
	"holdline/internal/chat"
	"holdline/ws"
)

// published are the schemas of docs/protocol. The clients of these tests hold all
// that they are told against them, so that code and schemas cannot part.
var published = sync.OnceValues(protocol.Load)

// conforms fails the test if a text is not as a schema says.
func conforms(tb testing.TB, schema string, text []byte) {
	tb.Helper()
	schemas, err := published()
	if err != nil {
		tb.Fatal(err)
	}
	if err := schemas.Check(schema, text); err != nil {
		tb.Errorf("%s is not as docs/protocol/%s.schema.json says: %v", text, schema, err)
	}
}

// conformsAs holds an event against the schema of events, or of what a WebSocket
// is told, and what its source has to say against that of the source.
func conformsAs(tb testing.TB, schema string, text []byte) {
	tb.Helper()
	conforms(tb, schema, text)
	var e chat.Event
	if json.Unmarshal(text, &e) == nil && strings.HasPrefix(e.Channel, "wplc/") && e.Data != nil {
		conforms(tb, "wplc", text)
	}
}

// overheard is what a client was told, by type; a pending message is a type of its
// own.
type overheard struct {
	mu   sync.Mutex
	what map[string]int
}

func (o *overheard) add(e chat.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := string(e.Type)
	if e.Pending {
		name = "pending"
	}
	o.what[name]++
}

func (o *overheard) has(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.what[name] > 0
}

// lastWords end a client that is never told to go.
const lastWords = "these are the last words"

// listen reads a client until its server leaves, or it has heard the last words.
func listen(c client, hear func(chat.Event)) (gone chan struct{}) {
	gone = make(chan struct{})
	go func() {
		defer close(gone)
		for {
			e := c.next()
			hear(e)
			if e.Type == chat.TypeReconnect || e.Body == lastWords {
				return
			}
		}
	}()
	return gone
}

// Every type of event is told over every transport, and is as the schemas say.
func TestEveryEventIsAsPublished(t *testing.T) {
	for name, open := range transports() {
		t.Run(name, func(t *testing.T) {
			s, store := speakSite(t)
			id := s.chat(3)
			channel := fmt.Sprintf("wplc/%d", id)
			heard := &overheard{what: make(map[string]int)}
			foreign := open(t, s, channel, "999999")
			heard.add(foreign.next())
			foreign.close()
			reader := open(t, s, channel, "")
			defer reader.close()
			if name == "ws" {
				heard.what["hello"]++ // by openWS
			}
			gone := listen(reader, heard.add)
			hears := func(what string) {
				t.Helper()
				s.await(t, name+" hears "+what, func() bool { return heard.has(what) })
			}
			agent := s.talk(t, channel, home, cookie(s.login("agent", true)))
			visitor := s.talk(t, channel, home, bearer(s.token(channel)))

			s.say(id, "a row")
			hears("message")
			hears("status")
			visitor.sends(channel, "client-1", "of a client")
			hears("pending")
			// Only who holds a pending message hears that its row has come: to a poll
			// between two requests it is a message.
			s.await(t, "its row", func() bool { return heard.has("stored") || name == "poll" && len(s.rows(t, id)) == 2 })

			letFail := store.close()
			store.set(func() { store.down = true })
			visitor.sends(channel, "client-2", "while WordPress is away")
			s.awaitHeld(t, 3) // the poll has come back
			letFail()
			hears("delayed")
			store.set(func() {
				store.down, store.refuse = false, &chat.Refusal{Reason: chat.ReasonClosed, Text: "The chat has ended."}
			})
			hears("withdrawn")

			s.await(t, name+" hears typing", func() bool {
				agent.says(`{"type":"typing","channel":%q,"typing":true}`, channel)
				agent.says(`{"type":"typing","channel":%q,"typing":false}`, channel)
				return heard.has("typing")
			})
			agent.says(`{"type":"delivered","channel":%q,"up_to":1}`, channel)
			agent.says(`{"type":"seen","channel":%q,"up_to":1}`, channel)
			agent.says(`{"type":"signal","channel":%q,"client_id":"signal-1","to":{"kind":"visitor"},"payload":{"sdp":"v=0"}}`, channel)
			for _, what := range []string{"presence", "delivered", "seen", "signal"} {
				hears(what)
			}
			if name == "poll" {
				s.say(id, lastWords)
			} else {
				go s.stop()
			}
			<-gone
			for _, what := range eventTypes(t) {
				ofLine := what == "hello" && name != "ws" || what == "reconnect" && name == "poll"
				if !ofLine && !heard.has(what) && (what != "stored" || name != "poll") {
					t.Errorf("%s never heard %s", name, what)
				}
			}
		})
	}
}

// eventTypes are the constants of chat.Type.
func eventTypes(t *testing.T) (types []string) {
	t.Helper()
	for name, value := range constants(t, "../internal/chat") {
		if strings.HasPrefix(name, "Type") {
			types = append(types, value)
		}
	}
	slices.Sort(types)
	return types
}

// constants are the string constants of a package, by name.
func constants(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	inspect(t, dir, func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != len(spec.Names) {
			return
		}
		for i, name := range spec.Names {
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				all[name.Name], _ = strconv.Unquote(lit.Value)
			}
		}
	})
	return all
}

// inspect walks over a package's own files.
func inspect(t *testing.T, dir string, visit func(ast.Node)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			visit(n)
			return true
		})
	}
}

// Every address is described, and no other.
func TestPublishedAddressesAreTheRoutes(t *testing.T) {
	source, err := os.ReadFile("routes.go")
	if err != nil {
		t.Fatal(err)
	}
	routes := make(map[string]bool)
	for _, m := range regexp.MustCompile(`base\.(GET|POST)\("(/\w+)"`).FindAllStringSubmatch(string(source), -1) {
		routes[strings.ToLower(m[1])+" "+m[2]] = true
	}
	for _, script := range []string{"/client.js", "/jquery.holdline.js", "/wplc.js"} {
		routes["get "+script] = true
	}
	text, err := protocol.Files.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	for path, methods := range api.Paths {
		for method := range methods {
			described[method+" "+path] = true
		}
	}
	same(t, "addresses", described, routes)
}

// What the code can say and what the schemas list is the same, word for word.
func TestPublishedWordsAreTheCodes(t *testing.T) {
	reasons := make(map[string]bool)
	for name, value := range constants(t, "../internal/chat") {
		if strings.HasPrefix(name, "Reason") {
			reasons[value] = true
		}
	}
	same(t, "reasons of refusals", list(t, "words.schema.json", "$defs", "refusal", "enum"), reasons)

	own := constants(t, ".")
	refusals := map[string]bool{"limit_connections": true, "limit_address": true, "limit_user": true} // of *overLimit
	inspect(t, ".", func(n ast.Node) {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 3 {
			return
		}
		if name, ok := lit.Type.(*ast.Ident); !ok || name.Name != "refusal" {
			return
		}
		switch reason := lit.Elts[1].(type) {
		case *ast.BasicLit:
			text, _ := strconv.Unquote(reason.Value)
			refusals[text] = true
		case *ast.Ident:
			refusals[own[reason.Name]] = true
		}
	})
	same(t, "reasons of errors", list(t, "error.schema.json", "properties", "reason", "oneOf"), refusals)

	var codes []ws.CodeInfo
	text, err := protocol.Files.ReadFile("close-codes.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &codes); err != nil {
		t.Fatal(err)
	}
	want := ws.Codes()
	for i := range want {
		want[i].Held = 0 // how an end is counted is nobody else's matter
	}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("close-codes.json: %s", diff)
	}
}

// list reads the words of an enum, or the constants of a oneOf.
func list(t *testing.T, file string, path ...string) map[string]bool {
	t.Helper()
	text, err := protocol.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var at any
	if err := json.Unmarshal(text, &at); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		at = at.(map[string]any)[name]
	}
	words := make(map[string]bool)
	for _, item := range at.([]any) {
		if constant, ok := item.(map[string]any); ok {
			item = constant["const"]
		}
		words[item.(string)] = true
	}
	return words
}

func same(t *testing.T, what string, published, real map[string]bool) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(real)), slices.Sorted(maps.Keys(published))); diff != "" {
		t.Errorf("%s: - the code, + the schema:\n%s", what, diff)
	}
}

// What is answered to a request is as published, whether it is taken or not.
func TestAnswersAreAsPublished(t *testing.T) {
	s := newSite(t)
	for path, want := range map[string]struct {
		status int
		schema string
	}{
		"/info":                            {200, "info"},
		"/poll":                            {400, "error"},
		"/poll?channels=wplc/1":            {401, "error"},
		"/poll?channels=wplc/1&token=x":    {401, "error"},
		"/poll?channels=wplc/1&cursor=$":   {400, "error"},
		"/poll?channels=wplc/1&wait=x":     {400, "error"},
		"/sse?channels=other/1":            {404, "error"},
		"/ws?channels=wplc/1":              {401, "error"},
		"/nothing":                         {405, "error"},
		"/poll?channels=wplc/1&as=emperor": {401, "error"},
	} {
		resp, err := httpClient.Get(s.base + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want.status {
			t.Errorf("%s: %s, %v", path, resp.Status, err)
		}
		conforms(t, want.schema, text)
	}
	status, page := s.admin(t, "/status.json")
	if status != http.StatusOK {
		t.Error(status)
	}
	conforms(t, "status", []byte(page))
}
