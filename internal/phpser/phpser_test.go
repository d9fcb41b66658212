package phpser_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"holdline/internal/phpser"
)

// golden is testdata/golden.json, written by real PHP (testdata/golden.php).
type golden struct {
	PHP   string
	Cases []struct {
		Name       string
		Serialized []byte
		Valid      bool
		JSON       []byte // nil where json_encode fails
	}
}

func loadGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) < 100 {
		t.Fatalf("golden.json has only %d cases", len(g.Cases))
	}
	return g
}

func TestParseAndPrintLikePHP(t *testing.T) {
	for _, c := range loadGolden(t).Cases {
		t.Run(c.Name, func(t *testing.T) {
			v, err := phpser.Parse(c.Serialized)
			if (err == nil) != c.Valid {
				t.Fatalf("Parse(%q) error = %v, PHP accepts: %v", c.Serialized, err, c.Valid)
			}
			if err != nil {
				return
			}
			got, err := phpser.AppendJSON([]byte("> "), v)
			if c.JSON == nil {
				if !errors.Is(err, phpser.ErrInvalidUTF8) && !errors.Is(err, phpser.ErrNotFinite) {
					t.Errorf("AppendJSON error = %v, want the refusal PHP gives", err)
				}
				if string(got) != "> " {
					t.Errorf("after an error AppendJSON returns %q, want dst unchanged", got)
				}
				return
			}
			if want := "> " + string(c.JSON); string(got) != want || err != nil {
				t.Errorf("AppendJSON =\n%s, %v, PHP prints\n%s", got, err, want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("a:1:{i:0;", 17) + "N;" + strings.Repeat("}", 17)
	tests := []struct {
		name, in string
		want     error
	}{
		{"object", `O:8:"stdClass":0:{}`, phpser.ErrUnsupported},
		{"object in an array", `a:1:{i:0;O:8:"stdClass":1:{s:1:"a";i:1;}}`, phpser.ErrUnsupported},
		{"custom object", `C:11:"ArrayObject":0:{}`, phpser.ErrUnsupported},
		{"enum", `E:7:"Foo:Bar";`, phpser.ErrUnsupported},
		{"reference", `a:2:{i:0;i:1;i:1;R:2;}`, phpser.ErrUnsupported},
		{"object reference", `a:2:{i:0;i:1;i:1;r:1;}`, phpser.ErrUnsupported},
		{"escaped string", `S:1:"\41";`, phpser.ErrUnsupported},
		{"escaped string as key", `a:1:{S:1:"\41";i:1;}`, phpser.ErrUnsupported},
		{"bytes after the value", `i:1;x`, phpser.ErrSyntax},
		{"two values", `i:1;i:2;`, phpser.ErrSyntax},
		{"int beyond 64 bits", `i:9223372036854775808;`, phpser.ErrSyntax},
		{"length larger than any int", `s:18446744073709551615:"a";`, phpser.ErrSyntax},
		{"count larger than the text", `a:2147483647:{i:0;i:1;}`, phpser.ErrSyntax},
		{"only white space", " \n\t\r\x00\x0b", phpser.ErrSyntax},
		{"JSON", `{"a":1}`, phpser.ErrSyntax},
		{"17 arrays deep", deep, phpser.ErrLimit},
		{"a million arrays deep, cut off", strings.Repeat("a:1:{i:0;", 400_000), phpser.ErrLimit},
		{"too many bytes", `s:4194304:"` + strings.Repeat("a", phpser.MaxBytes) + `";`, phpser.ErrLimit},
		{"too many entries", "a:100001:{" + strings.Repeat("i:0;N;", 100_001) + "}", phpser.ErrLimit},
		{"too many entries in parts", "a:2:{" + strings.Repeat("i:0;a:50000:{"+strings.Repeat("i:0;N;", 50_000)+"}", 2) + "}", phpser.ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := phpser.Parse([]byte(tt.in))
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if v.Kind() != phpser.Null {
				t.Errorf("with the error came a %v", v.Kind())
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error text has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestParseAtTheLimits(t *testing.T) {
	tests := []struct{ name, in string }{
		{"16 arrays deep", strings.Repeat("a:1:{i:0;", 16) + "N;" + strings.Repeat("}", 16)},
		{"100000 entries", "a:100000:{" + strings.Repeat("i:0;N;", 100_000) + "}"},
		{"4 MiB", `s:4194289:"` + strings.Repeat("a", phpser.MaxBytes-15) + `";` + "\n "},
		{"white space around", " \t\r\n\x00\x0bi:1;\x0b\x00\n\r\t "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := phpser.Parse([]byte(tt.in)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseErrorNamesTheByte(t *testing.T) {
	_, err := phpser.Parse([]byte(`a:2:{i:0;i:1;i:1;q:0;}`))
	if err == nil || !strings.Contains(err.Error(), "byte 17") {
		t.Errorf("error = %v, want it to name byte 17", err)
	}
}

func TestResultDoesNotAliasInput(t *testing.T) {
	in := []byte(`s:3:"abc";`)
	v := mustParse(t, string(in))
	copy(in, `s:3:"xyz";`)
	if s, _ := v.Text(); s != "abc" {
		t.Errorf("after the input changed the value reads %q", s)
	}
}

func mustParse(t testing.TB, in string) phpser.Value {
	t.Helper()
	v, err := phpser.Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAccessors(t *testing.T) {
	tests := []struct {
		in     string
		kind   phpser.Kind
		truthy bool
		number int64
		isNum  bool
	}{
		{"N;", phpser.Null, false, 0, false},
		{"b:1;", phpser.Bool, true, 0, false},
		{"b:0;", phpser.Bool, false, 0, false},
		{"i:-7;", phpser.Int, true, -7, true},
		{"i:0;", phpser.Int, false, 0, true},
		{"d:-7.9;", phpser.Float, true, -7, true},
		{"d:-0;", phpser.Float, false, 0, true},
		{"d:NAN;", phpser.Float, true, 0, false},
		{"d:INF;", phpser.Float, true, 0, false},
		{"d:9223372036854775808;", phpser.Float, true, 0, false},
		{"d:9.3E+18;", phpser.Float, true, 0, false},
		{"d:-9223372036854775808;", phpser.Float, true, math.MinInt64, true},
		{`s:2:"12";`, phpser.String, true, 12, true},
		{`s:3:"12x";`, phpser.String, true, 0, false},
		{`s:1:"0";`, phpser.String, false, 0, true},
		{`s:2:"00";`, phpser.String, true, 0, true},
		{`s:0:"";`, phpser.String, false, 0, false},
		{"a:0:{}", phpser.Array, false, 0, false},
		{"a:1:{i:0;N;}", phpser.Array, true, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			v := mustParse(t, tt.in)
			if v.Kind() != tt.kind || v.Truthy() != tt.truthy {
				t.Errorf("kind %v, truthy %v, want %v, %v", v.Kind(), v.Truthy(), tt.kind, tt.truthy)
			}
			if n, ok := v.Number(); n != tt.number || ok != tt.isNum {
				t.Errorf("Number() = %d, %v, want %d, %v", n, ok, tt.number, tt.isNum)
			}
			_, isBool := v.Bool()
			_, isInt := v.Int()
			_, isFloat := v.Float()
			_, isText := v.Text()
			for kind, is := range map[phpser.Kind]bool{phpser.Bool: isBool, phpser.Int: isInt, phpser.Float: isFloat, phpser.String: isText} {
				if is != (kind == tt.kind) {
					t.Errorf("accessor of %v says ok=%v for a %v", kind, is, tt.kind)
				}
			}
		})
	}
}

func TestArrays(t *testing.T) {
	v := mustParse(t, `a:4:{s:1:"b";i:1;s:1:"7";i:2;i:-3;i:3;s:1:"b";i:4;}`)
	var keys []string
	for k := range v.All() {
		keys = append(keys, k.String())
	}
	if got := strings.Join(keys, " "); got != "b 7 -3" || v.Len() != 3 {
		t.Errorf("keys %q, length %d, want b 7 -3 and 3", got, v.Len())
	}
	for key, want := range map[string]int64{"b": 4, "7": 2, "-3": 3} {
		item, ok := v.Get(key)
		if n, _ := item.Int(); n != want || !ok {
			t.Errorf("Get(%q) = %d, %v, want %d", key, n, ok, want)
		}
	}
	for _, key := range []string{"", "07", "B", "3"} {
		if _, ok := v.Get(key); ok {
			t.Errorf("Get(%q) finds something", key)
		}
	}
	if n, ok := phpser.StringKey("-3").Int(); n != -3 || !ok {
		t.Errorf(`StringKey("-3").Int() = %d, %v`, n, ok)
	}
	if _, ok := phpser.StringKey("x").Int(); ok {
		t.Error(`StringKey("x") is an int key`)
	}
	for range v.All() {
		break // an early break must not panic
	}
}

// Duplicate keys must behave the same in arrays long enough for the index.
func TestDuplicateKeysInLongArrays(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 1000} {
		var b strings.Builder
		for round := range 2 {
			for i := range n {
				fmt.Fprintf(&b, "i:%d;i:%d;", i, round*n+i)
			}
		}
		v := mustParse(t, fmt.Sprintf("a:%d:{%s}", 2*n, b.String()))
		if v.Len() != n {
			t.Errorf("%d keys given twice leave %d entries", n, v.Len())
		}
		for i := range n {
			item, _ := v.Get(strconv.Itoa(i))
			if got, _ := item.Int(); got != int64(n+i) {
				t.Errorf("of %d keys, key %d has the value %d, want the second, %d", n, i, got, n+i)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range loadGolden(f).Cases {
		f.Add(c.Serialized)
	}
	f.Add([]byte(`a:1:{i:0;O:8:"stdClass":0:{}}`))
	f.Add([]byte(strings.Repeat("a:1:{i:0;", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := phpser.Parse(data)
		if err != nil {
			if !errors.Is(err, phpser.ErrSyntax) && !errors.Is(err, phpser.ErrUnsupported) && !errors.Is(err, phpser.ErrLimit) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if d := depth(v); d > phpser.MaxDepth {
			t.Fatalf("%d arrays deep", d)
		}
		out, err := phpser.AppendJSON(nil, v)
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("not JSON: %s", out)
		}
		for _, c := range out {
			if c < ' ' || c >= utf8.RuneSelf {
				t.Fatalf("raw byte %#x in %q", c, out)
			}
		}
	})
}

func depth(v phpser.Value) int {
	if v.Kind() != phpser.Array {
		return 0
	}
	deepest := 0
	for _, item := range v.All() {
		deepest = max(deepest, depth(item))
	}
	return deepest + 1
}

func FuzzAppendJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", "</a>&'\"\\", "\x00\x1f\x7f", "é\u2028\U0001f600", "\xff", "a\xc3", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := phpser.AppendJSONString(nil, s)
		if utf8.ValidString(s) != (err == nil) {
			t.Fatalf("error %v for %q", err, s)
		}
		if err != nil {
			return
		}
		var back string
		if err := json.Unmarshal(out, &back); err != nil || back != s {
			t.Fatalf("%s reads back as %q, %v", out, back, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	row := []byte(`a:1:{s:64:"5c1ef2269b553590f5eb1ac6c04b020ac9c89bc281c101d7da7d82f7c87dd3b5";a:4:{s:10:"expiration";i:1768438923;s:2:"ip";s:11:"203.0.113.9";s:2:"ua";s:2:"UA";s:5:"login";i:1767229323;}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phpser.Parse(row); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendJSONString(b *testing.B) {
	s := strings.Repeat("A chat message with ünïcödé and a link http://example.test/ ", 4)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phpser.AppendJSONString(buf, s); err != nil {
			b.Fatal(err)
		}
	}
}
