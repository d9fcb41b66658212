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

func TestBrowserClientIsServed(t *testing.T) {
	s := newSite(t)
	get := func(headers ...string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, s.base+"/client.js", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
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
	plain, body := get()
	if !bytes.Equal(body, wordpress.Client) || !strings.HasPrefix(plain.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%s, %d bytes, %v", plain.Status, len(body), plain.Header)
	}
	packed, body := get("Accept-Encoding", "br, gzip;q=0.8")
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(packed.Header, err)
	}
	if text, err := io.ReadAll(zr); err != nil || !bytes.Equal(text, wordpress.Client) {
		t.Errorf("unpacked: %d bytes, %v", len(text), err)
	}
	if len(body) > 8<<10 {
		t.Errorf("the client has %d bytes compressed", len(body))
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("both have the tag", plain.Header.Get("ETag"))
	}
	for _, coding := range []string{"identity", "gzip"} {
		first, _ := get("Accept-Encoding", coding)
		again, body := get("Accept-Encoding", coding, "If-None-Match", first.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified || len(body) > 0 {
			t.Errorf("%s: asked again: %s, %d bytes", coding, again.Status, len(body))
		}
	}
}
