package gateway

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"holdline/wordpress"
)

// script is a file for browsers as it is served, plain and compressed.
type script struct {
	name          string
	plain, packed []byte
	tag           string // of an ETag, without quotes
}

// newScripts are the browser client and what stands on it.
func newScripts() ([]*script, error) {
	var scripts []*script
	for _, file := range []struct {
		name string
		text []byte
	}{{"client.js", wordpress.Client}, {"jquery.holdline.js", wordpress.JQuery}, {"wplc.js", wordpress.Push}} {
		s, err := newScript(file.name, file.text)
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", file.name, err)
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

func newScript(name string, text []byte) (*script, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return &script{name, text, packed.Bytes(), hex.EncodeToString(sum[:8])}, nil
}

// serve serves the script. It may change with the next version of this program, so a
// browser asks again each time, and mostly gets 304.
func (s *script) serve(c echo.Context) error {
	r, h := c.Request(), c.Response().Header()
	body, tag := s.plain, s.tag
	if acceptsGzip(r) {
		body, tag = s.packed, tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(c.Response(), r, "", time.Time{}, bytes.NewReader(body))
	return nil
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3) as far as browsers
// use it.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.TrimSpace(name) == "gzip" && strings.ReplaceAll(weight, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
