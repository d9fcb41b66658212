package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestOnlyWholeBlocksAreRead(t *testing.T) {
	errCut := errors.New("cut")
	const one, two = "event: message\ndata: {}\nid: 1\n\n", ":\nid: 2\n\n"
	tests := map[string]struct{ stream, want string }{
		"nothing":                 {"", ""},
		"whole":                   {one + two, one + two},
		"cut in the id":           {one + "event: message\ndata: {}\nid: 3", one},
		"cut between line breaks": {one + two[:len(two)-1], one},
		"nothing but a beginning": {"event: mess", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "by the byte": iotest.OneByteReader,
			} {
				stream := wrap(io.MultiReader(strings.NewReader(tt.stream), iotest.ErrReader(errCut)))
				got, err := io.ReadAll(&blockReader{body: io.NopCloser(stream)})
				if string(got) != tt.want || !errors.Is(err, errCut) {
					t.Errorf("%s: %q, %v; want %q", how, got, err, tt.want)
				}
			}
		})
	}
}

func TestBlockWithoutEndIsRefused(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("data: "), strings.NewReader(strings.Repeat("x", maxBlock+1)))
	if _, err := io.ReadAll(&blockReader{body: io.NopCloser(endless)}); !errors.Is(err, errBlock) {
		t.Error(err)
	}
}
