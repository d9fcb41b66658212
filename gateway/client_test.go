package gateway_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"holdline/wordpress"
)

func TestScriptsAreServed(t *testing.T) {
	s := newSite(t)
	for _, script := range []struct {
		name string
		text []byte
		most int // bytes, compressed
	}{{"client.js", wordpress.Client, 8 << 10}, {"jquery.holdline.js", wordpress.JQuery, 2 << 10}, {"wplc.js", wordpress.Push, 4 << 10}} {
		t.Run(script.name, func(t *testing.T) { scriptIsServed(t, s.base+"/"+script.name, script.text, script.most) })
	}
}

func scriptIsServed(t *testing.T, address string, text []byte, most int) {
	plain, body := getScript(t, address, "identity", "")
	if !bytes.Equal(body, text) || !strings.HasPrefix(plain.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%s, %d bytes, %v", plain.Status, len(body), plain.Header)
	}
	packed, body := getScript(t, address, "br, gzip;q=0.8", "")
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(packed.Header, err)
	}
	if unpacked, err := io.ReadAll(zr); err != nil || !bytes.Equal(unpacked, text) {
		t.Errorf("unpacked: %d bytes, %v", len(unpacked), err)
	}
	if len(body) > most {
		t.Errorf("it has %d bytes compressed", len(body))
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("both have the tag", plain.Header.Get("ETag"))
	}
	for _, coding := range []string{"identity", "gzip"} {
		first, _ := getScript(t, address, coding, "")
		again, body := getScript(t, address, coding, first.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified || len(body) > 0 {
			t.Errorf("%s: asked again: %s, %d bytes", coding, again.Status, len(body))
		}
	}
}

// getScript asks for a script with an Accept-Encoding, and a tag that the browser has.
func getScript(t *testing.T, address, coding, tag string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", coding)
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
