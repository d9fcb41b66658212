package config

import "reflect"

// Changes lists the keys of the settings whose values differ from those of other, in the order of the table. Where a value
// comes from does not matter, nor does the flag --print-config. A secret that differs is listed like any other setting.
func (c Config) Changes(other Config) []string {
	var keys []string
	for _, s := range table() {
		if !same(c.field(s.key).Interface(), other.field(s.key).Interface()) {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// same compares two values of one setting. No list is the same as an empty one.
func same(a, b any) bool {
	if secret, ok := a.(Secret); ok {
		return secret.Equal(b.(Secret))
	}
	if v := reflect.ValueOf(a); v.Kind() == reflect.Slice && v.Len() == 0 {
		return reflect.ValueOf(b).Len() == 0
	}
	return reflect.DeepEqual(a, b)
}
