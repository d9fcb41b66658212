package wordpress

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdline/internal/token"
)

const secret = "0123456789abcdef0123456789abcdef"

// call is a function of holdline.php with its arguments.
type call struct {
	name string
	args []any
}

// php runs functions of holdline.php, all in one process, and decodes what they
// return into the pointers.
func php(t *testing.T, calls []call, results ...any) {
	t.Helper()
	var list [][]any
	for _, c := range calls {
		list = append(list, []any{c.name, c.args})
	}
	input, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("php", "-d", "display_errors=stderr", "testdata/call.php")
	cmd.Stdin = bytes.NewReader(input)
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.Output()
	if err != nil || trouble.Len() > 0 {
		t.Fatalf("php-cli, which this test needs: %v\n%s%s", err, out, trouble.String())
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(out, &raw); err != nil || len(raw) != len(results) {
		t.Fatalf("php printed %q: %v", out, err)
	}
	for i := range raw {
		if err := json.Unmarshal(raw[i], results[i]); err != nil {
			t.Fatalf("%s returned %s: %v", calls[i].name, raw[i], err)
		}
	}
}

func TestPHPAndGoSignAlike(t *testing.T) {
	keys := token.Keys{Secret: []byte(secret)}
	now := time.Unix(1766380000, 0)
	channels := []string{"wplc/42", "wplc/43"}
	cookie, err := keys.Sign(token.Binding{Channels: channels, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	type bound struct{ of []any }
	var call1, jwt, binding string
	var read, forged, over bound
	php(t, []call{
		{"holdline_sign", []any{secret, "1766380000", `{"source":"wplc"}`}},
		{"holdline_jwt", []any{secret, `anna/ü "q" </script>`, []string{"wplc/*"}, now.Add(time.Hour).Unix()}},
		{"holdline_binding", []any{secret, channels, now.Add(time.Hour).Unix()}},
		{"holdline_bound", []any{secret, cookie, now.Unix()}},
		{"holdline_bound", []any{secret, strings.Replace(cookie, "wplc/42", "wplc/41", 1), now.Unix()}},
		{"holdline_bound", []any{secret, cookie, now.Add(time.Hour).Unix()}},
	}, &call1, &jwt, &binding, &read.of, &forged.of, &over.of)

	if err := keys.CheckCall("1766380000", call1, []byte(`{"source":"wplc"}`), now); err != nil {
		t.Errorf("PHP's signature %s: %v", call1, err)
	}
	claims, err := keys.Verify(jwt, now)
	if err != nil || claims.Subject != `anna/ü "q" </script>` || !cmp.Equal(claims.Channels, []string{"wplc/*"}) {
		t.Errorf("PHP's token %s: %+v, %v", jwt, claims, err)
	}
	if _, err := keys.Verify(jwt, now.Add(2*time.Hour)); err == nil {
		t.Error("PHP's token never expires")
	}
	got, err := keys.CheckBinding(binding, now)
	if err != nil || !cmp.Equal(got.Channels, channels) || !got.Expires.Equal(now.Add(time.Hour)) || binding != cookie {
		t.Errorf("PHP's cookie %s, Go's %s: %+v, %v", binding, cookie, got, err)
	}
	if want := []any{[]any{"wplc/42", "wplc/43"}, float64(now.Add(time.Hour).Unix())}; !cmp.Equal(read.of, want) {
		t.Errorf("PHP reads Go's cookie as %v", read.of)
	}
	for name, got := range map[string][]any{"forged": forged.of, "over": over.of} {
		if want := []any{[]any{}, 0.0}; !cmp.Equal(got, want) {
			t.Errorf("a cookie that is %s gives %v", name, got)
		}
	}
}

func TestPHPChecksCalls(t *testing.T) {
	const at = 1766380000
	good := token.Keys{Secret: []byte(secret)}.SignCall("1766380000", []byte("body"))
	tests := []struct {
		name                       string
		timestamp, signature, body any
		now                        int
		want                       string
	}{
		{"good", "1766380000", good, "body", at, ""},
		{"upper case", "1766380000", strings.ToUpper(good), "body", at, ""},
		{"five minutes early", "1766380000", good, "body", at - 300, ""},
		{"five minutes late", "1766380000", good, "body", at + 300, ""},
		{"too early", "1766380000", good, "body", at - 301, "time"},
		{"too late", "1766380000", good, "body", at + 301, "time"},
		{"other body", "1766380000", good, "bodY", at, "signature"},
		{"other timestamp", "1766380001", good, "body", at, "signature"},
		{"no signature", "1766380000", "", "body", at, "signature"},
		{"nothing", "", "", "", at, "signature"},
		{"list for a header", []string{"x"}, []string{"x"}, "body", at, "signature"},
		{"timestamp with text", "1766380000x", token.Keys{Secret: []byte(secret)}.SignCall("1766380000x", []byte("body")), "body", at, "signature"},
	}
	var calls []call
	var results []any
	got := make([]string, len(tests))
	for i, tt := range tests {
		calls = append(calls, call{"holdline_check", []any{secret, tt.timestamp, tt.signature, tt.body, tt.now}})
		results = append(results, &got[i])
	}
	php(t, calls, results...)
	for i, tt := range tests {
		if got[i] != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got[i], tt.want)
		}
	}
}

func TestStatementsThatRing(t *testing.T) {
	tests := map[string]string{
		"INSERT INTO `wp_wplc_chat_msgs` (`msg`) VALUES ('x')":                   "chat",
		"\n\t update wp_7_wplc_chat_sessions SET `status` = '3'":                 "chat",
		"UPDATE wp_wplc_chat_sessions\nSET `url` = 'x'":                          "chat",
		"DELETE FROM wp_wplc_chat_msgs WHERE id = 4":                             "chat",
		"TRUNCATE TABLE wp_wplc_chat_msgs":                                       "chat",
		"/* plugin */ REPLACE INTO wp_wplc_chat_msgs VALUES (1)":                 "chat",
		"INSERT INTO `wp_wplc_chat_sessions` (`status`) VALUES ('5')":            "new session",
		"SELECT * FROM wp_wplc_chat_msgs":                                        "",
		"SHOW FULL COLUMNS FROM `wp_wplc_chat_msgs`":                             "",
		"INSERT INTO wp_posts (post_content) VALUES ('wp_wplc_chat_msgs')":       "",
		"UPDATE wp_options SET option_value = 'DELETE FROM wp_wplc_chat_msgs'":   "",
		"UPDATE wp_wplc_chat_ratings SET notified = 1":                           "",
		"INSERTED wp_wplc_chat_msgs":                                             "",
		"SELECT 1 FROM wp_wplc_chat_msgs WHERE msg = 'INSERT INTO wp_wplc_chat'": "",
	}
	var calls []call
	var results []any
	got := map[string]*string{}
	for sql := range tests {
		got[sql] = new(string)
		calls = append(calls, call{"holdline_written", []any{sql}})
		results = append(results, got[sql])
	}
	php(t, calls, results...)
	for sql, want := range tests {
		if *got[sql] != want {
			t.Errorf("%q: %q, want %q", sql, *got[sql], want)
		}
	}
}

// breaker is the doorbell's state.
type breaker struct {
	Fails  int `json:"fails"`
	Until  int `json:"until"`
	Logged int `json:"logged"`
}

func TestDoorbellRestsAfterFailures(t *testing.T) {
	steps := []struct {
		name   string
		before breaker
		error  string
		now    int
		after  breaker
	}{
		{"first failure", breaker{}, "refused", 1000, breaker{1, 0, 0}},
		{"second failure", breaker{1, 0, 0}, "refused", 1001, breaker{2, 0, 0}},
		{"third failure", breaker{2, 0, 0}, "refused", 1002, breaker{3, 1032, 1002}},
		{"the try after the rest", breaker{3, 1032, 1002}, "refused", 1033, breaker{4, 1063, 1002}},
		{"a minute later", breaker{4, 1063, 1002}, "refused", 1064, breaker{5, 1094, 1064}},
		{"well again", breaker{5, 1094, 1064}, "", 1095, breaker{0, 0, 1064}},
		{"bad again within the minute", breaker{2, 0, 1064}, "refused", 1100, breaker{3, 1130, 1064}},
	}
	var calls []call
	var results []any
	got := make([]breaker, len(steps))
	for i, s := range steps {
		calls = append(calls, call{"holdline_after", []any{s.before, s.error, s.now}})
		results = append(results, &got[i])
	}
	php(t, calls, results...)
	for i, s := range steps {
		if got[i] != s.after {
			t.Errorf("%s: %+v, want %+v", s.name, got[i], s.after)
		}
	}
}

func TestErrorDocumentSendsBrowsersBack(t *testing.T) {
	const ajax = "/wp-admin/admin-ajax.php"
	tests := []struct {
		name     string
		server   map[string]string
		status   int
		location string
	}{
		{"apache", map[string]string{"REDIRECT_STATUS": "502", "REDIRECT_URL": ajax}, 307, ajax + "?holdline=php"},
		{"with a query", map[string]string{"REDIRECT_STATUS": "503", "REDIRECT_URL": "/blog" + ajax, "REDIRECT_QUERY_STRING": "a=1"}, 307, "/blog" + ajax + "?a=1&holdline=php"},
		{"iis", map[string]string{"QUERY_STRING": "502;http://example.com:80" + ajax + "?a=1"}, 307, ajax + "?a=1&holdline=php"},
		{"iis without a query", map[string]string{"QUERY_STRING": "504;https://example.com:443" + ajax}, 307, ajax + "?holdline=php"},
		{"PHP itself failed", map[string]string{"REDIRECT_STATUS": "503", "REDIRECT_URL": ajax, "REDIRECT_QUERY_STRING": "holdline=php"}, 503, ""},
		{"another page", map[string]string{"REDIRECT_STATUS": "503", "REDIRECT_URL": "/shop"}, 503, ""},
		{"another host", map[string]string{"REDIRECT_STATUS": "503", "REDIRECT_URL": "//evil.example" + ajax}, 503, ""},
		{"not an error", map[string]string{"REDIRECT_STATUS": "200", "REDIRECT_URL": ajax}, 404, ""},
		{"called by hand", map[string]string{}, 404, ""},
		{"by hand as iis", map[string]string{"QUERY_STRING": "502;http://x//evil.example" + ajax}, 502, ""},
	}
	var calls []call
	var results []any
	got := make([][]any, len(tests))
	for i, tt := range tests {
		calls = append(calls, call{"holdline_way_back", []any{tt.server}})
		results = append(results, &got[i])
	}
	php(t, calls, results...)
	for i, tt := range tests {
		if want := []any{float64(tt.status), tt.location}; !cmp.Equal(got[i], want) {
			t.Errorf("%s: %v, want %v", tt.name, got[i], want)
		}
	}
}

// The same keys and secret stand in gateway/secret_test.go.
func TestSecretIsMadeOfTheSitesKeys(t *testing.T) {
	const want = "b28d4a03736cfa0ab9349e5fea0076acf7529e47e02ea5103f07a0766f496584"
	var got string
	php(t, []call{{"holdline_secret", []any{}}}, &got)
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
