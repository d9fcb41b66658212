package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"holdline/internal/chat"
	"holdline/internal/token"
)

//go:embed demo
var demoFiles embed.FS

// contentPolicy lets the page load its own files and talk to its own server,
// and nothing else: what somebody writes in the chat can do no harm even if the
// page made a mistake with it.
const contentPolicy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// demoGateway is what the page needs of the gateway.
type demoGateway interface{ Held() int }

// demoPage serves the page and does what its buttons say.
type demoPage struct {
	desk  *desk
	store *demoStore
	keys  token.Keys
	log   *slog.Logger
	run   string // another run's page must load itself anew
	http  *http.Client

	// Set by open, before the first request.
	gateway demoGateway
	url     string // of the server: http://127.0.0.1:8787
	base    string // path of the gateway
	holder  *holder
	roads   map[string]*road // by pane
}

func newDemoPage(d *desk, store *demoStore, keys token.Keys, log *slog.Logger) *demoPage {
	return &demoPage{
		desk: d, store: store, keys: keys, log: log, run: rand.Text(),
		http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}},
	}
}

// open tells the page where it is. It comes before the first request.
func (p *demoPage) open(g demoGateway, address, base string, clients clientsCommand) error {
	target, err := url.Parse(address + base)
	if err != nil {
		return fmt.Errorf("the demo's own address: %w", err)
	}
	p.gateway, p.url, p.base = g, address, base
	p.holder = newHolder(clients, g.Held)
	p.roads = make(map[string]*road)
	for _, who := range []string{chat.KindVisitor, chat.KindAgent} {
		p.roads[who] = newRoad(viaPath+who, target, p.log)
	}
	return nil
}

// viaPath is where the roads begin.
const viaPath = "/demo/via/"

// close ends the clients and what they were asked for. It may be called again.
func (p *demoPage) close() {
	if p.holder != nil {
		p.holder.close()
	}
	for _, r := range p.roads {
		r.close()
	}
	p.http.CloseIdleConnections()
}

// routes are all paths that are not the gateway's own. Other sites' pages may
// not press the buttons.
func (p *demoPage) routes() http.Handler {
	files, err := fs.Sub(demoFiles, "demo")
	if err != nil {
		panic(err) // the name stands in this file
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /demo/session", p.answer(p.session))
	mux.Handle("GET /demo/stats", p.answer(p.stats))
	mux.Handle("POST /demo/send", p.answer(p.send))
	mux.Handle("POST /demo/status", p.answer(p.status))
	mux.Handle("POST /demo/road", p.answer(p.road))
	mux.Handle("POST /demo/wordpress", p.answer(p.wordPress))
	mux.Handle("POST /demo/hold", p.answer(p.hold))
	mux.Handle("POST /demo/release", p.answer(p.release))
	guarded := http.NewCrossOriginProtection().Handler(mux)
	all := http.NewServeMux()
	all.HandleFunc(viaPath+"{who}/", p.via) // the gateway itself knows who may ask
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
	return all
}

// via takes a pane's road to the gateway.
func (p *demoPage) via(w http.ResponseWriter, r *http.Request) {
	road := p.roads[r.PathValue("who")]
	if road == nil {
		http.NotFound(w, r)
		return
	}
	road.ServeHTTP(w, r)
}

// badRequest is a mistake of the page's or its user's, in a sentence.
type badRequest string

func (e badRequest) Error() string { return string(e) }

// answer makes JSON of what a handler returns.
func (p *demoPage) answer(serve func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		result, err := serve(r)
		if err != nil {
			status = http.StatusInternalServerError
			if bad := badRequest(""); errors.As(err, &bad) {
				status = http.StatusBadRequest
			} else if r.Context().Err() == nil {
				p.log.Warn("the demo's page got an error", "path", r.URL.Path, "error", err)
			}
			result = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(result); err != nil {
			p.log.Debug("the demo's page went away", "error", err)
		}
	})
}

// demoBody bounds what the page may send.
const demoBody = 16 << 10

func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, demoBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badRequest("the body must be the JSON object that the page sends, of 16 KiB at most: " + err.Error())
	}
	return nil
}

// pane is one end of the chat: who it is for the gateway.
type pane struct {
	Who      string   `json:"who"`
	Name     string   `json:"name"`
	Channels []string `json:"channels"`
	Token    string   `json:"token"`
	URL      string   `json:"url"` // of the gateway, by this pane's road
}

// demoSession is what a page needs to begin.
type demoSession struct {
	Run    string `json:"run"`
	Client string `json:"client"` // the browser client's script
	Kind   string `json:"kind"`
	Notice string `json:"notice"`
	ByHand string `json:"by_hand"`
	Panes  []pane `json:"panes"`
}

// tokenLife is longer than anybody leaves the page open.
const tokenLife = 24 * time.Hour

func (p *demoPage) session(*http.Request) (any, error) {
	chatChannel := "wplc/" + strconv.Itoa(demoChat)
	s := demoSession{
		Run: p.run, Client: p.base + "/client.js", Kind: p.desk.kind, Notice: p.desk.notice, ByHand: p.desk.byHand,
		Panes: []pane{
			{Who: chat.KindVisitor, Name: demoVisitor, Channels: []string{chatChannel}},
			{Who: chat.KindAgent, Name: demoAgent, Channels: []string{chatChannel, chatChannel + "/agent", "wplc/agents"}},
		},
	}
	subjects := map[string]string{chat.KindVisitor: demoVisitor, chat.KindAgent: "wp:" + strconv.Itoa(demoAgentUser)}
	for i := range s.Panes {
		var err error
		pane := &s.Panes[i]
		pane.URL = viaPath + pane.Who
		if pane.Token, err = p.mint(subjects[pane.Who], pane.Channels); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (p *demoPage) mint(subject string, channels []string) (string, error) {
	return p.keys.Mint(token.Claims{Subject: subject, Channels: channels, Expires: time.Now().Add(tokenLife)})
}

// demoStats is what the page shows below the chat, once a second.
type demoStats struct {
	Run     string      `json:"run"`
	Now     float64     `json:"now"` // milliseconds since 1970
	Held    int         `json:"held"`
	RSS     int64       `json:"rss"`     // resident bytes of this process, page and all
	Queries int64       `json:"queries"` // Holdline's, since the start
	Commits []receipt   `json:"commits"`
	Hold    *holdReport `json:"hold"` // nil while there are no further clients

	Roads   map[string]string `json:"roads"`   // their modes, by pane
	Stopped bool              `json:"stopped"` // WordPress is
}

func (p *demoPage) stats(r *http.Request) (any, error) {
	queries, err := p.desk.queries(r.Context())
	if err != nil {
		return nil, err
	}
	rss, err := residentBytes()
	if err != nil {
		return nil, err
	}
	roads := make(map[string]string)
	for who, r := range p.roads {
		roads[who], _ = r.now()
	}
	return demoStats{
		Roads: roads, Stopped: p.store.stopped.Load(), Run: p.run, Held: p.gateway.Held(), RSS: rss, Queries: queries,
		Commits: p.desk.book.list(), Hold: p.holder.report(), Now: milliseconds(time.Now()),
	}, nil
}

// demoText bounds a message, in characters.
const demoText = 2000

func (p *demoPage) send(r *http.Request) (any, error) {
	var wish struct {
		Who  string `json:"who"`
		Text string `json:"text"`
		Ring bool   `json:"ring"`
	}
	if err := readJSON(r, &wish); err != nil {
		return nil, err
	}
	if wish.Who != chat.KindVisitor && wish.Who != chat.KindAgent {
		return nil, badRequest(`who must be "visitor" or "agent"`)
	}
	text := strings.TrimSpace(wish.Text)
	if n := utf8.RuneCountInString(text); n == 0 || n > demoText {
		return nil, badRequest(fmt.Sprintf("a message has 1 to %d characters", demoText))
	}
	written, err := p.desk.say(r.Context(), saying{who: wish.Who, text: text, rung: wish.Ring})
	return p.ring(r.Context(), written, err)
}

// moves are the buttons that change the chat's status, with what the plugin
// notes on it.
var moves = map[string]struct {
	status int
	note   string
}{
	"pending": {chatPending, demoVisitor + " has come back and waits for an agent."},
	"active":  {chatActive, demoAgent + " has joined the chat."},
	"ended":   {chatEnded, demoAgent + " has ended the chat."},
}

func (p *demoPage) status(r *http.Request) (any, error) {
	var wish struct {
		Status string `json:"status"`
		Ring   bool   `json:"ring"`
	}
	if err := readJSON(r, &wish); err != nil {
		return nil, err
	}
	to, ok := moves[wish.Status]
	if !ok {
		return nil, badRequest(`status must be "pending", "active" or "ended"`)
	}
	written, err := p.desk.move(r.Context(), to.status, saying{who: chat.KindSystem, text: to.note, rung: wish.Ring})
	return p.ring(r.Context(), written, err)
}

// road changes the way of one pane to the gateway.
func (p *demoPage) road(r *http.Request) (any, error) {
	var wish struct {
		Who  string `json:"who"`
		Mode string `json:"mode"`
	}
	if err := readJSON(r, &wish); err != nil {
		return nil, err
	}
	road := p.roads[wish.Who]
	if road == nil {
		return nil, badRequest(`who must be "visitor" or "agent"`)
	}
	return wish, road.set(wish.Mode)
}

// wordPress stops and starts what stores messages.
func (p *demoPage) wordPress(r *http.Request) (any, error) {
	var wish struct {
		Stopped bool `json:"stopped"`
	}
	if err := readJSON(r, &wish); err != nil {
		return nil, err
	}
	p.store.stopped.Store(wish.Stopped)
	return wish, nil
}

// ring tells the gateway of a row as the companion plugin would: by a signed
// call of its own over HTTP.
func (p *demoPage) ring(ctx context.Context, written receipt, err error) (any, error) {
	if err != nil || !written.Rung {
		return written, err
	}
	body := []byte("{}")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+p.base+"/wake", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ring the doorbell: %w", err)
	}
	p.keys.SignHeader(req.Header, body, time.Now())
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ring the doorbell: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, demoBody)); err != nil {
		return nil, fmt.Errorf("ring the doorbell: %w", err)
	}
	if resp.StatusCode != http.StatusNoContent {
		return nil, fmt.Errorf("ring the doorbell: %s", resp.Status)
	}
	return written, nil
}

// holdMore is how many clients one press of the button brings.
const holdMore = 1000

// hold opens further clients of the chat and measures what each costs.
func (p *demoPage) hold(*http.Request) (any, error) {
	channel := "wplc/" + strconv.Itoa(demoChat)
	text, err := p.mint("crowd", []string{channel})
	if err != nil {
		return nil, err
	}
	return p.holder.more(crowd{
		URL:   p.url + p.base + "/sse?channels=" + channel,
		Token: text,
		Count: holdMore,
	})
}

func (p *demoPage) release(*http.Request) (any, error) {
	return struct{}{}, p.holder.release()
}
