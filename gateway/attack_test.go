package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"holdline/config"
	"holdline/gateway"
)

func TestForgedCursors(t *testing.T) {
	log := &captured{}
	s := newSite(t, logTo(log))
	id := s.chat(3)
	s.say(id, "one")
	channel := fmt.Sprintf("wplc/%d", id)
	pass := bearer(s.token(channel))
	refused := 0
	for name, cursor := range map[string]string{
		"huge":                 strings.Repeat("9", 8000),
		"beyond 64 bits":       "99999999999999999999",
		"negative":             "-1",
		"words":                "latest",
		"SQL":                  "1' OR '1'='1",
		"many gaps":            "100-" + strings.Repeat("AAAA", 1500),
		"of many sources":      "1" + strings.Repeat(",x:1", 2000),
		"a huge digest":        "1~" + strings.Repeat("z", 5000),
		"line breaks":          "1\r\nX-Evil: 1",
		"a NUL":                "1\x00",
		"invalid UTF-8":        "\xff\xfe",
		"digits of elsewhere":  "१२३",
		"plus":                 "+1",
		"a space":              " 1",
		"hexadecimal":          "0x10",
		"an exponent":          "1e9",
		"another source alone": "else:5",
	} {
		for _, transport := range transportNames {
			a := s.knock(t, transport, channel, pass, query("cursor", cursor), query("wait", "0"))
			if !a.ok() {
				refused++
				if a.StatusCode != http.StatusBadRequest || strings.ContainsAny(a.sentence, "\r\n\x00") {
					t.Errorf("%s on %s: %s %q", name, transport, a.Status, a.sentence)
				}
			}
			if a.Header.Get("X-Evil") != "" {
				t.Errorf("%s on %s: a header was made", name, transport)
			}
			a.close()
		}
	}
	if refused < 30 {
		t.Errorf("only %d were refused", refused)
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error(log.String())
	}
	s.await(t, "nobody is held", func() bool { return s.gw.Held() == 0 })
}

// TestManyFarBackCursors: whoever asks for old rows waits in one queue, and the new
// ones pass it by.
func TestManyFarBackCursors(t *testing.T) {
	s := newSite(t)
	const rows, clients = 3000, 150
	id := s.chat(3)
	s.exec(`INSERT INTO wp_wplc_chat_msgs (chat_sess_id, msgfrom, msg, timestamp, status, originates, other, rel, afrom, ato)
		SELECT ?, 'Admin', REPEAT('x', 500), '2026-03-19 10:30:00', 0, 1, '', '', 0, 0 FROM seq_1_to_`+fmt.Sprint(rows), id)
	live := s.chat(3)
	channel, other := fmt.Sprintf("wplc/%d", id), fmt.Sprintf("wplc/%d", live)
	reader := openWS(t, s, other, "")
	defer reader.close()
	var flood []*rawClient
	for i := range clients {
		conn := s.plug(t, fmt.Sprintf("GET /holdline/v1/sse?channels=%s&cursor=%d&token=%s HTTP/1.1\r\nHost: x\r\n\r\n", channel, i, s.token(channel)))
		flood = append(flood, &rawClient{conn, bufio.NewReader(conn)})
	}
	for i := range 20 {
		s.say(live, fmt.Sprint(i))
		if e := message(reader); e.Body != fmt.Sprint(i) {
			t.Fatalf("the live client got %q, want %d", e.Body, i)
		}
	}
	// Two connections at most, whatever is asked.
	var connections int
	if err := s.db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE db = ? AND user <> 'root'", s.name).Scan(&connections); err != nil {
		t.Fatal(err)
	}
	if connections > 3 { // one more is the tail's
		t.Errorf("%d connections to the database", connections)
	}
	for i, c := range flood { // and all are served in the end
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for got := i; got < 10; got++ {
			readUntil(t, c.r, "an old row", `"body":"xxx`)
		}
	}
}

func TestAbusedChannels(t *testing.T) {
	log := &captured{}
	s := newSite(t, logTo(log), with(func(c *config.Config) { c.Limits.Header = 256 * config.KiB }))
	pass := bearer(s.token("wplc/*"))
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("wplc/%d", i+1))
	}
	for name, channels := range map[string]string{
		"ten thousand":       strings.Join(many, ","),
		"one that is long":   "wplc/" + strings.Repeat("9", 10_000),
		"a long source":      strings.Repeat("w", 10_000) + "/1",
		"only commas":        strings.Repeat(",", 10_000),
		"line breaks":        "wplc/1\r\nX-Evil: 1",
		"a NUL":              "wplc/1\x00",
		"escapes":            "wplc/\x1b[2J",
		"invalid UTF-8":      "wplc/\xff\xfe",
		"a path":             "wplc/../../etc/passwd",
		"a star":             "*/*",
		"JSON":               `{"a":"wplc/1"}`,
		"turned writing":     "wplc/\u202e1",
		"a chat of negative": "wplc/-1",
		"too large a number": "wplc/99999999999999999999",
	} {
		for _, transport := range transportNames {
			a := s.knock(t, transport, channels, pass)
			if a.ok() || a.StatusCode >= 500 || len(a.text) > 2000 {
				t.Errorf("%s on %s: %s, %d bytes", name, transport, a.Status, len(a.text))
			}
			if strings.ContainsFunc(a.sentence, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(a.sentence) {
				t.Errorf("%s on %s: the sentence is %q", name, transport, a.sentence)
			}
			a.close()
		}
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "\x1b") {
		t.Error(text)
	}
	s.awaitAdmitted(t, 0)
}

// TestCompressedBodies: nothing is undone that could become large, or hide a poll.
func TestCompressedBodies(t *testing.T) {
	s, php := dropIn(t, "strict")
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	for range 1024 {
		if _, err := w.Write(make([]byte, 10<<10)); err != nil { // 10 MiB in 10 KiB
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, visitorForm(s.chat(3)).Encode()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{s.base + "/poll", s.base + "/send", s.base + "/signal", s.base + "/wake", s.base + "/ajax", s.front() + "/wp-admin/admin-ajax.php"} {
		for _, coding := range []string{"gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"} {
			req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(bomb.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Content-Encoding", coding)
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnsupportedMediaType {
				t.Errorf("%s, %s: %s", address, coding, resp.Status)
			}
		}
	}
	if got := php.all(); got != "" {
		t.Errorf("PHP got %.100q", got)
	}
}

// TestBrokenFramesOverWebSocket: what breaks the protocol ends that connection, with
// its code, and no other.
func TestBrokenFramesOverWebSocket(t *testing.T) {
	length := func(first byte, n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, n), 0, 0, 0, 0)
	}
	unmasked := []byte{0x81, 2, '{', '}'}
	s := newSite(t)
	id := s.chat(3)
	channel := fmt.Sprintf("wplc/%d", id)
	other := openWS(t, s, channel, "")
	defer other.close()
	var all sync.WaitGroup
	for name, c := range map[string]struct {
		said []byte
		code int
	}{
		"a length of 2^63":           {length(0x81, 1<<63), 1002},
		"a length of 2^62":           {length(0x81, 1<<62), 1009},
		"a length of 4 GB":           {length(0x81, 4<<30), 1009},
		"a long ping":                {length(0x89, 126), 1002},
		"no mask":                    {unmasked, 1002},
		"invalid UTF-8":              {frame(0x81, "{\"type\":\"\xff\"}"), 1007},
		"half a rune at the end":     {frame(0x81, "\xe2\x82"), 1007},
		"an extension's bit":         {frame(0xc1, "{}"), 1002}, // permessage-deflate was not agreed on
		"an opcode of no meaning":    {frame(0x83, "{}"), 1002},
		"a ping in pieces":           {frame(0x09, "x"), 1002},
		"an end without a begin":     {frame(0x80, "x"), 1002},
		"a begin within a message":   {append(frame(0x01, "x"), frame(0x01, "y")...), 1002},
		"a close of one byte":        {frame(0x88, "x"), 1002},
		"a close without a meaning":  {frame(0x88, "\x00\x01"), 1002},
		"a close with broken text":   {frame(0x88, "\x03\xe8\xff"), 1007},
		"a message of many pieces":   {append(frame(0x01, "{"), bytes.Repeat(frame(0x00, " "), 200_000)...), 1008},
		"text that is no JSON":       {frame(0x81, "hello"), 4012},
		"JSON nested without an end": {frame(0x81, strings.Repeat("[", 20_000)), 4012},
	} {
		conn := s.dial(t, "ws", channel)
		all.Go(func() { conn.Write(c.said) }) // until it is cut
		all.Go(func() {
			got, _ := io.ReadAll(conn.r)
			// The close frame is the last of all: 88, its length, and the code.
			at := bytes.LastIndex(got, binary.BigEndian.AppendUint16(nil, uint16(c.code)))
			if at < 2 || got[at-2] != 0x88 {
				t.Errorf("%s: closed with %.100q, want the code %d", name, got[max(0, len(got)-100):], c.code)
			}
		})
	}
	all.Wait()
	s.await(t, "one is left", func() bool { return s.gw.Held() == 1 })
	s.say(id, "still here")
	if e := message(other); e.Body != "still here" {
		t.Errorf("the other client got %q", e.Body)
	}
}

func TestNoCompressionIsAgreedOn(t *testing.T) {
	s := newSite(t)
	channel := fmt.Sprintf("wplc/%d", s.chat(3))
	for _, transport := range transportNames {
		a := s.knock(t, transport, channel, bearer(s.token(channel)), header("Accept-Encoding", "gzip, br"),
			header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"))
		if !a.ok() || a.Header.Get("Sec-WebSocket-Extensions") != "" || a.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %s %v", transport, a.Status, a.Header)
		}
		a.close()
	}
}

// TestLogInjection: whatever a stranger sends, a line of the log stays one, and
// nothing in it speaks to a terminal.
func TestLogInjection(t *testing.T) {
	evil := "x\r\nlevel=ERROR msg=forged \x1b[2J\x1b]0;title\x07 \u009b31m \u202e \x00\x7f \xff\xfe \u2028 \"'\\"
	for format, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
		"json": func(w io.Writer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		t.Run(format, func(t *testing.T) {
			log := &captured{}
			s := newSite(t, func(o *gateway.Options) { o.Logger = slog.New(handler(log)) },
				with(func(c *config.Config) { c.Limits.Connections, c.WordPress.Upstream = 1, "http://127.0.0.1:1" })) // nobody is there
			channel := fmt.Sprintf("wplc/%d", s.chat(3))
			s.hold(t, "sse", channel, bearer(s.token(channel)))
			escaped := url.QueryEscape(evil)
			for _, transport := range transportNames { // refused for want of room, with all that is logged of it
				s.knock(t, transport, channel, bearer(s.token(channel)), query("cursor", "1"), query(evil, evil), query("token", s.token(channel)), header("User-Agent", "a\tb"))
			}
			for _, path := range []string{"/" + url.PathEscape(evil), "/wp-admin/admin-ajax.php/" + url.PathEscape(evil) + "?" + escaped + "=" + escaped} {
				resp, err := httpClient.Get(s.front() + path) // PHP cannot be reached
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			resp, err := httpClient.PostForm(s.base+"/send", url.Values{"channel": {evil}, "client_id": {evil}, "body": {evil}, "as": {evil}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			text := log.String()
			if strings.Count(text, "PHP cannot be reached") < 2 || !strings.Contains(text, "request failed") {
				t.Fatalf("not all was logged: %s", text)
			}
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(line, "level=ERROR") || format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("a line of its own: %q", line)
				}
				if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || !utf8.ValidString(line) {
					t.Errorf("byte %d of the line does not print: %q", i, line)
				}
			}
			if _, page := s.admin(t, "/status.json"); strings.Contains(page, "\u009b") || strings.Contains(page, "\u202e") {
				t.Error("the status page is spoken to:", page)
			}
		})
	}
}
