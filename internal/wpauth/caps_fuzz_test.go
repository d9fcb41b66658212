package wpauth

import "testing"

// FuzzCapabilities: rows of the options and usermeta tables, which plugins write.
func FuzzCapabilities(f *testing.F) {
	f.Add([]byte(`a:1:{s:13:"administrator";a:1:{s:12:"capabilities";a:1:{s:14:"manage_options";b:1;}}}`), []byte(`a:1:{s:13:"administrator";b:1;}`), []byte(`a:1:{i:0;s:5:"admin";}`))
	f.Add([]byte(`a:0:{}`), []byte(`i:1;`), []byte(`s:1:"`))
	f.Fuzz(func(t *testing.T, option, row, supers []byte) {
		if _, err := ParseSuperAdmins(supers); err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
		roles, err := ParseRoles(option)
		if err != nil {
			return
		}
		if _, err := roles.Of(row); err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
	})
}
