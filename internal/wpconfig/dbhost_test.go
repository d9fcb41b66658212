package wpconfig

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCandidates(t *testing.T) {
	usual := []Endpoint{{"unix", "/run/mysqld/mysqld.sock"}, {"unix", "/var/run/mysqld/mysqld.sock"}, {"unix", "/var/lib/mysql/mysql.sock"}, {"unix", "/tmp/mysql.sock"}}
	local := func(first []Endpoint, last string) []Endpoint {
		return append(append(first, usual...), Endpoint{"tcp", last})
	}
	tests := []struct {
		host       string
		configured []string
		want       []Endpoint
	}{
		{"localhost", nil, local(nil, "127.0.0.1:3306")},
		{"", nil, local(nil, "127.0.0.1:3306")},
		{"LOCALHOST:3307", nil, local(nil, "127.0.0.1:3307")},
		{"localhost:/x.sock", []string{"/ini.sock", ""}, local([]Endpoint{{"unix", "/x.sock"}, {"unix", "/ini.sock"}}, "127.0.0.1:3306")},
		{":/tmp/mysql.sock", nil, []Endpoint{{"unix", "/tmp/mysql.sock"}, usual[0], usual[1], usual[2], {"tcp", "127.0.0.1:3306"}}},
		{"127.0.0.1:/x.sock", []string{"/ini.sock"}, []Endpoint{{"tcp", "127.0.0.1:3306"}}},
		{"db.example.com:3307", nil, []Endpoint{{"tcp", "db.example.com:3307"}}},
		{"[::1]:3307", nil, []Endpoint{{"tcp", "[::1]:3307"}}},
		{"2001:db8::1", nil, []Endpoint{{"tcp", "[2001:db8::1]:3306"}}},
	}
	for _, tt := range tests {
		host, ok := ParseDBHost(tt.host)
		if !ok {
			t.Fatalf("%q does not parse", tt.host)
		}
		if diff := cmp.Diff(tt.want, host.Candidates(tt.configured...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.host, diff)
		}
	}
}
