package wplc

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const blockSize = 16

// keyLength is how much of the site's key Pro uses. AES knows no such length; the
// "SlowAES" port that Pro ships takes it all the same, and what comes out is one
// round key and one reduced round. It hides a text from a glance, no more.
const keyLength = 10

// roundKey is the key schedule: 16 bytes that are used before and after the round.
type roundKey [blockSize]byte

// expandKey makes the round key of a site's key, of which the first ten bytes
// count.
func expandKey(key string) (*roundKey, error) {
	if len(key) < keyLength {
		return nil, fmt.Errorf("a key of %d bytes is shorter than the %d that Pro uses", len(key), keyLength)
	}
	// AES key schedule with groups of ten bytes, cut off at 16: only the first
	// word goes through the core (rotate, S-box, rcon 1).
	var k roundKey
	copy(k[:], key[:keyLength])
	last := k[keyLength-4 : keyLength]
	core := [4]byte{sbox[last[1]] ^ 1, sbox[last[2]], sbox[last[3]], sbox[last[0]]}
	for i := keyLength; i < blockSize; i++ {
		j := i - keyLength
		if j < len(core) {
			k[i] = k[j] ^ core[j]
		} else {
			k[i] = k[j] ^ k[i-4]
		}
	}
	return &k, nil
}

// decrypt reads "<plain length> <IV hex> <cipher hex>", CBC.
func decrypt(k *roundKey, m string) (string, error) {
	parts := strings.Split(m, " ")
	if len(parts) != 3 {
		return "", errors.New("encrypted text: not of the form length, IV, cipher text")
	}
	length, err := strconv.ParseUint(parts[0], 10, 31)
	if err != nil {
		return "", errors.New("encrypted text: its length is no number")
	}
	iv, err := hex.DecodeString(parts[1])
	if err != nil || len(iv) != blockSize {
		return "", errors.New("encrypted text: the IV is not 16 bytes of hex")
	}
	data, err := hex.DecodeString(parts[2])
	if err != nil || len(data)%blockSize != 0 {
		return "", errors.New("encrypted text: the cipher text is not whole blocks of hex")
	}
	if length > uint64(len(data)) {
		return "", errors.New("encrypted text: shorter than its length says")
	}
	plain := make([]byte, len(data))
	for at := 0; at < len(data); at += blockSize {
		decryptBlock(k, plain[at:at+blockSize], data[at:at+blockSize])
		for i := range blockSize {
			plain[at+i] ^= iv[i]
		}
		iv = data[at : at+blockSize]
	}
	return string(plain[:length]), nil
}

// decryptBlock undoes XOR K, SubBytes, ShiftRows, XOR K (the same K). The state
// is column-major: row r of column c is byte r+4c, and ShiftRows moved row r to
// the left by r.
func decryptBlock(k *roundKey, dst, src []byte) {
	for c := range 4 {
		for r := range 4 {
			from, to := r+4*c, r+4*((c+r)%4)
			dst[to] = invSbox[src[from]^k[from]] ^ k[to]
		}
	}
}

// sbox and invSbox are those of AES (FIPS 197, section 5.1.1), computed: the
// inverse in GF(2^8), then an affine map.
var sbox, invSbox = makeSboxes()

func makeSboxes() (s, inv [256]byte) {
	// p runs through all non-zero elements as powers of 3, q through their inverses.
	p, q := byte(1), byte(1)
	for {
		p ^= p<<1 ^ byte(int8(p)>>7)&0x1b
		q ^= q << 1
		q ^= q << 2
		q ^= q << 4
		q ^= byte(int8(q)>>7) & 0x09
		x := q ^ rotl(q, 1) ^ rotl(q, 2) ^ rotl(q, 3) ^ rotl(q, 4) ^ 0x63
		s[p], inv[x] = x, p
		if p == 1 {
			break
		}
	}
	s[0], inv[0x63] = 0x63, 0
	return s, inv
}

func rotl(b byte, n int) byte { return b<<n | b>>(8-n) }
