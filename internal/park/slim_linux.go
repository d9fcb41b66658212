package park

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// slim has a *tls.Conn let go of its two input buffers, if nothing is in them.
// They keep the size of the ClientHello for ever, which with a post-quantum key
// share is two kilobytes each and a third of what a held connection costs, and
// no method of crypto/tls gives them back. The connection must be at rest; both
// buffers grow again when they are needed. Should another version of Go name or
// type the fields differently, nothing happens: TestSlim tells.
func slim(c *tls.Conn) {
	v := reflect.ValueOf(c).Elem()
	input := v.FieldByName("input")
	if input.Kind() != reflect.Struct || input.Type() != reflect.TypeFor[bytes.Reader]() ||
		(*bytes.Reader)(unsafe.Pointer(input.UnsafeAddr())).Len() > 0 {
		return // decrypted bytes live in rawInput
	}
	for _, name := range []string{"rawInput", "hand"} {
		field := v.FieldByName(name)
		if field.Kind() != reflect.Struct || field.Type() != reflect.TypeFor[bytes.Buffer]() {
			continue
		}
		if buffer := (*bytes.Buffer)(unsafe.Pointer(field.UnsafeAddr())); buffer.Len() == 0 {
			*buffer = bytes.Buffer{}
		}
	}
}
