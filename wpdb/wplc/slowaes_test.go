package wplc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

const testKey = "0123456789"

func mustExpand(t testing.TB, key string) *roundKey {
	t.Helper()
	k, err := expandKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestExpandKey(t *testing.T) {
	const want = "30313233343536373839ab3620369f03"
	for _, key := range []string{testKey, testKey + "only ten bytes count"} {
		if got := hex.EncodeToString(mustExpand(t, key)[:]); got != want {
			t.Errorf("%q: %s, want %s", key, got, want)
		}
	}
	if _, err := expandKey("012345678"); err == nil {
		t.Error("a key of nine bytes was taken")
	}
}

// The boxes are computed; FIPS 197 prints them.
func TestSboxes(t *testing.T) {
	for in, want := range map[byte]byte{0x00: 0x63, 0x01: 0x7c, 0x53: 0xed, 0x9a: 0xb8, 0xff: 0x16} {
		if sbox[in] != want {
			t.Errorf("sbox[%#x] = %#x, want %#x", in, sbox[in], want)
		}
	}
	for i := range 256 {
		if invSbox[sbox[i]] != byte(i) {
			t.Errorf("invSbox[sbox[%#x]] = %#x", i, invSbox[sbox[i]])
		}
	}
}

// Texts that Pro 8.0.01 itself encrypted.
func TestDecryptReadsWhatProWrote(t *testing.T) {
	const iv = "000102030405060708090a0b0c0d0e0f"
	for name, tc := range map[string]struct{ m, want string }{
		"one whole block": {
			"16 " + iv + " 535a8831c634894c08f6dcf3a44af0cc", "0123456789abcdef",
		},
		"UTF-8 over three blocks": {
			"35 " + iv + " 8cad870ffbfefe7d526be12d4eca55a7eed83043de25dab3efbfdb24e6ad99622395cd63a0081dc86fa908913fbd67c3",
			`Hello, this is a test msg. é It\'s`,
		},
		"a database row": {
			"12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba", `It\'s secret`,
		},
		"nothing": {"0 " + iv + " ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decrypt(mustExpand(t, testKey), tc.m)
			if err != nil || got != tc.want {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestDecryptRefuses(t *testing.T) {
	const iv, block = "000102030405060708090a0b0c0d0e0f", "535a8831c634894c08f6dcf3a44af0cc"
	for name, m := range map[string]string{
		"empty":               "",
		"two parts":           "16 " + iv,
		"four parts":          "16 " + iv + " " + block + " x",
		"no length":           "x " + iv + " " + block,
		"negative length":     "-1 " + iv + " " + block,
		"length over 31 bits": "4294967296 " + iv + " " + block,
		"length over data":    "17 " + iv + " " + block,
		"short IV":            "16 0001 " + block,
		"IV not hex":          "16 " + strings.Repeat("zz", 16) + " " + block,
		"half a block":        "8 " + iv + " " + block[:16],
		"odd hex":             "8 " + iv + " " + block[:31],
	} {
		if got, err := decrypt(mustExpand(t, testKey), m); err == nil {
			t.Errorf("%s: read as %q", name, got)
		}
	}
}

// encrypt is the other direction, for round trips.
func encrypt(k *roundKey, iv [blockSize]byte, plain []byte) string {
	pad := (blockSize - len(plain)%blockSize) % blockSize
	data := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	prev := iv
	for at := 0; at < len(data); at += blockSize {
		var in, out [blockSize]byte
		for i := range in {
			in[i] = sbox[data[at+i]^prev[i]^k[i]]
		}
		for c := range 4 {
			for r := range 4 {
				out[r+4*c] = in[r+4*((c+r)%4)] ^ k[r+4*c]
			}
		}
		copy(data[at:], out[:])
		prev = out
	}
	return fmt.Sprintf("%d %x %x", len(plain), iv, data)
}

func FuzzDecrypt(f *testing.F) {
	f.Add("0123456789", []byte("It\\'s secret"), "12 d4d2765416d393e8bff9a499a5b0c380 a5853024e5025c3e512a06c22cbe69ba")
	f.Add("abcdefghijkl", []byte("sixteen bytes ok"), "1 2 3")
	f.Add("0123456789", []byte{}, "0 000102030405060708090a0b0c0d0e0f ")
	f.Fuzz(func(t *testing.T, key string, plain []byte, m string) {
		k, err := expandKey(key)
		if err != nil {
			return
		}
		if got, err := decrypt(k, m); err == nil && len(got) > len(m) {
			t.Errorf("%d bytes came out of %d", len(got), len(m))
		}
		var iv [blockSize]byte
		copy(iv[:], m)
		got, err := decrypt(k, encrypt(k, iv, plain))
		if err != nil || got != string(plain) {
			t.Errorf("round trip of %q: %q, %v", plain, got, err)
		}
	})
}
