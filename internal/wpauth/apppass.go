package wpauth

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/blake2b"

	"holdline/internal/phpser"
)

// maxAppPassword bounds what is hashed; WordPress makes 24 letters and digits.
const maxAppPassword = 128

// AppPassword says which application password was used.
type AppPassword struct {
	UUID string
	Name string // given by the user, not to be trusted
}

// VerifyAppPassword looks for the password among a user's application
// passwords, the usermeta row _application_passwords
// (class-wp-application-passwords.php, WordPress 5.6 and later). Everything but
// letters and digits in the password is ignored. It returns ErrPassword when
// none matches.
//
// One password made before WordPress 6.8 costs 8192 rounds of MD5, about a
// millisecond: limit the attempts. WordPress takes application passwords only
// over https and while the option using_application_passwords is set; the
// caller must ask for the same.
func VerifyAppPassword(row []byte, password string) (AppPassword, error) {
	plain := strings.Map(keepAlphanumeric, password)
	if plain == "" || len(plain) > maxAppPassword || len(row) == 0 {
		return AppPassword{}, ErrPassword
	}
	items, err := phpser.Parse(row)
	if err != nil {
		return AppPassword{}, fmt.Errorf("read the _application_passwords row: %w", err)
	}
	for _, item := range items.All() {
		if passwordMatches(textOf(item, "password"), plain) {
			return AppPassword{UUID: textOf(item, "uuid"), Name: textOf(item, "name")}, nil
		}
	}
	return AppPassword{}, ErrPassword
}

func keepAlphanumeric(r rune) rune {
	if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r
	}
	return -1
}

func textOf(v phpser.Value, key string) string {
	field, _ := v.Get(key)
	s, _ := field.Text()
	return s
}

// passwordMatches knows the two kinds of hash WordPress has written here.
func passwordMatches(hash, plain string) bool {
	computed := ""
	switch {
	case strings.HasPrefix(hash, "$generic$"):
		computed = fastHash(plain)
	case strings.HasPrefix(hash, "$P$"):
		computed = phpass(hash, plain)
	}
	return computed != "" && hmac.Equal([]byte(computed), []byte(hash))
}

// fastHash is wp_fast_hash (functions.php, WordPress 6.8).
func fastHash(plain string) string {
	h, err := blake2b.New(30, []byte("wp_fast_hash_6.8+"))
	if err != nil {
		return "" // only for a size or key out of range, and both are constant
	}
	h.Write([]byte(plain))
	return "$generic$" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

const phpassAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// phpass is the portable hash of class-phpass.php with the cost and salt of
// setting, "$P$" + cost + 8 bytes of salt + hash; "" when setting is none.
func phpass(setting, plain string) string {
	// WordPress writes a cost of 13. The format goes up to 30, minutes of
	// work for one guess, so more than 16 is not worth believing.
	const minCost, maxCost = 7, 16
	if len(setting) != 34 {
		return ""
	}
	cost := strings.IndexByte(phpassAlphabet, setting[3])
	if cost < minCost || cost > maxCost {
		return ""
	}
	sum := md5.Sum([]byte(setting[4:12] + plain))
	block := append(sum[:], plain...)
	for range 1 << cost {
		sum = md5.Sum(block)
		copy(block, sum[:])
	}
	return setting[:12] + phpass64(sum[:])
}

// phpass64 is phpass's own base 64, least significant bits first.
func phpass64(in []byte) string {
	var out []byte
	for i := 0; i < len(in); i += 3 {
		var word uint32
		n := min(3, len(in)-i)
		for j := range n {
			word |= uint32(in[i+j]) << (8 * j)
		}
		for j := range n + 1 {
			out = append(out, phpassAlphabet[word>>(6*j)&63])
		}
	}
	return string(out)
}
