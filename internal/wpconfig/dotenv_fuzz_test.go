package wpconfig

import "testing"

// FuzzDotenv: a .env file that a wp-config.php reads is a file like any other.
func FuzzDotenv(f *testing.F) {
	for _, src := range []string{"", "A=b", "export A='b'\nC=\"${A}\\n\"", "# no\nA", "A=\"b\nc\"", "A=${A}", "A=\"${A}${A}\"\nA=\"${A}${A}\"", "\ufeffA=1", "A='"} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		vars := make(map[string]string)
		_ = parseDotenv(src, vars, func(string) (string, bool) { return "", false }) // an error is an answer, too
		size := 0
		for name, value := range vars {
			size += len(name) + len(value)
		}
		if size > 16<<20 {
			t.Fatalf("%d bytes became %d", len(src), size)
		}
	})
}
