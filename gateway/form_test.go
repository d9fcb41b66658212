package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// What PHP 8.2 makes of these bodies (parse_str without its rewriting of names).
func TestFormIsReadAsPHPDoes(t *testing.T) {
	for body, want := range map[string]url.Values{
		"":                         {},
		"&&a=1&":                   {"a": {"1"}},
		"a=1;b=2":                  {"a": {"1;b=2"}},
		"a=%zz&b=%4":               {"a": {"%zz"}, "b": {"%4"}},
		"a=%41%6a&%61ction=x+y%2B": {"a": {"Aj"}, "action": {"x y+"}},
		"a":                        {"a": {""}},
		"=x":                       {"": {"x"}},
		"a=1=2":                    {"a": {"1=2"}},
		"a=1&a=2":                  {"a": {"1", "2"}},
		"a=%00b":                   {"a": {"\x00b"}},
	} {
		got, ok := phpForm(body)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%q: %v\n%s", body, ok, diff)
		}
	}
	if _, ok := phpForm(strings.Repeat("a=1&", maxFields+1)); ok {
		t.Error("a form of too many fields counts as read")
	}
}

func TestSieveFindsTheHiddenPoll(t *testing.T) {
	pad := strings.Repeat("x", 70_000)
	for name, body := range map[string]string{
		"plain":               "action=" + needle,
		"behind padding":      "pad=" + pad + "&action=" + needle + "&cid=1",
		"percent-encoded":     "action=%77plc%5Fcall_to_server%5fvisitor",
		"all encoded":         "action=" + encodeAll(needle),
		"after a half escape": "a=%4&b=%&action=" + needle,
		"after a near miss":   "wplc_call_to_server_wplc_call_to_server_visitor",
		"multipart":           "--x\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\n" + needle + "\r\n--x--",
		"escape runs into it": "%7" + needle,
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body))} {
				s := &sieve{ReadCloser: io.NopCloser(r)}
				passed, err := io.ReadAll(s)
				if !errors.Is(err, errSecretPoll) {
					t.Fatalf("passed %d bytes and ended with %v", len(passed), err)
				}
				if _, err := s.Read(make([]byte, 1)); !errors.Is(err, errSecretPoll) {
					t.Error("what comes after is passed on:", err)
				}
			}
		})
	}
}

func encodeAll(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
	return b.String()
}

func FuzzSieve(f *testing.F) {
	for _, body := range []string{"", "action=" + needle, "%77plc_call_to_server_visitor", "%%7%77", "a=%7&b=" + needle[:20], "%7%77plc_call_to_server_visitor"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		passed, err := io.ReadAll(&sieve{ReadCloser: io.NopCloser(bytes.NewReader(body))})
		hidden := bytes.Contains(body, []byte(needle)) || strings.Contains(unescape(string(body)), needle)
		switch {
		case hidden != errors.Is(err, errSecretPoll):
			t.Fatalf("hidden %v, but %v", hidden, err)
		case !hidden && !bytes.Equal(passed, body):
			t.Fatal("another body was passed on")
		}
		if form, ok := phpForm(string(body)); ok && !hidden && form.Get("action") == needle {
			t.Fatal("the form has a poll that the sieve does not find")
		}
	})
}
