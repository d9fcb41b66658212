package wpauth

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Scheme names one of the secrets of a WordPress site.
type Scheme string

// The schemes WordPress itself uses. A browser sends the cookies of the first
// two only below wp-admin and the plugins folder; elsewhere only SchemeLoggedIn.
const (
	SchemeAuth       Scheme = "auth"
	SchemeSecureAuth Scheme = "secure_auth"
	SchemeLoggedIn   Scheme = "logged_in"
	SchemeNonce      Scheme = "nonce"
)

// placeholder is the text of wp-config-sample.php. Translated samples have
// another, which needs no list: it stands there eight times, so the rule about
// repeated texts drops it.
const placeholder = "put your unique phrase here"

// SaltConstants are the wp-config.php constants [ResolveSalts] looks at.
func SaltConstants() []string {
	var names []string
	for _, scheme := range []string{"AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE", "SECRET"} {
		names = append(names, scheme+"_KEY", scheme+"_SALT")
	}
	return names
}

// SaltOptions are the rows [ResolveSalts] may need: option_name in the options
// table of a single site, meta_key in the sitemeta table (with the network's
// site_id) of a multisite.
func SaltOptions() []string {
	var names []string
	for _, s := range coreSchemes() {
		names = append(names, string(s)+"_key", string(s)+"_salt")
	}
	return append(names, "secret_key")
}

func coreSchemes() []Scheme {
	return []Scheme{SchemeAuth, SchemeSecureAuth, SchemeLoggedIn, SchemeNonce}
}

// Salts holds the resolved secrets of a site. The zero value has none.
type Salts struct {
	redacted
	secrets   map[Scheme]string
	secretKey string // for schemes of plugins; "" when not known
}

// ResolveSalts does what wp_salt (pluggable.php) does. constants are those of
// wp-config.php by name, options the rows of [SaltOptions] by name; an absent
// constant or row must be absent from the map.
//
// missing names the rows which WordPress would have created on first use and
// which are not there yet. Until they are, no valid cookie of that scheme can
// exist and [Salts.Secret] refuses the scheme: read the rows again later.
func ResolveSalts(constants, options map[string]string) (salts Salts, missing []string) {
	r := saltResolver{constants: constants, options: options, unusable: unusableTexts(constants)}
	salts.secrets = make(map[Scheme]string)
	for _, scheme := range coreSchemes() {
		fallbackSalt := ""
		if scheme == SchemeAuth {
			fallbackSalt = r.constant("SECRET_SALT")
		}
		key := r.half(scheme, "key", r.constant("SECRET_KEY"))
		salt := r.half(scheme, "salt", fallbackSalt)
		if key != "" && salt != "" {
			salts.secrets[scheme] = key + salt
		}
	}
	salts.secretKey = r.constant("SECRET_KEY")
	if salts.secretKey == "" {
		salts.secretKey = truthy(options["secret_key"])
	}
	return salts, r.missing
}

// Secret returns the text wp_salt returns for the scheme; ok is false when a
// part of it is not known. For a scheme WordPress does not know, the name of a
// plugin's own, the second half is derived from the name.
func (s Salts) Secret(scheme Scheme) (secret string, ok bool) {
	for _, core := range coreSchemes() {
		if scheme == core {
			secret, ok = s.secrets[scheme]
			return secret, ok
		}
	}
	if s.secretKey == "" {
		return "", false
	}
	return s.secretKey + hmacHex(md5.New, s.secretKey, string(scheme)), true
}

// secretOrError is Secret with an error that tells the operator what to do.
func (s Salts) secretOrError(scheme Scheme) (string, error) {
	secret, ok := s.Secret(scheme)
	if !ok {
		return "", fmt.Errorf("%w: define %s_KEY and %s_SALT in wp-config.php or log in once so that WordPress stores them",
			ErrSecretMissing, strings.ToUpper(string(scheme)), strings.ToUpper(string(scheme)))
	}
	return secret, nil
}

type saltResolver struct {
	constants, options map[string]string
	unusable           map[string]bool
	missing            []string
}

// half finds the key or the salt of a scheme; "" means its row is missing.
func (r *saltResolver) half(scheme Scheme, half, fallback string) string {
	name := string(scheme) + "_" + half
	if v := r.constant(strings.ToUpper(name)); v != "" {
		return v
	}
	if fallback != "" {
		return fallback
	}
	v := truthy(r.options[name])
	if v == "" {
		r.missing = append(r.missing, name)
	}
	return v
}

// constant returns a constant WordPress would use, or "".
func (r *saltResolver) constant(name string) string {
	v := truthy(r.constants[name])
	if r.unusable[v] {
		return ""
	}
	return v
}

// unusableTexts are the placeholder and every text that more than one of the
// constants holds: all its holders lose it, not only the later ones.
func unusableTexts(constants map[string]string) map[string]bool {
	unusable := map[string]bool{placeholder: true}
	for _, name := range SaltConstants() {
		if v, defined := constants[name]; defined {
			_, seen := unusable[v]
			unusable[v] = seen
		}
	}
	return unusable
}

// truthy returns s, or "" for the two strings PHP takes for false.
func truthy(s string) string {
	if s == "0" {
		return ""
	}
	return s
}

// hmacHex is PHP's hash_hmac: the key and the result are text.
func hmacHex(h func() hash.Hash, key, data string) string {
	mac := hmac.New(h, []byte(key))
	mac.Write([]byte(data))
	return hex.EncodeToString(mac.Sum(nil))
}
