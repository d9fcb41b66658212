package wplc

import (
	"encoding/json"
	"os"
	"testing"
)

// phpPairs reads a file of [[in, out], …] that PHP wrote.
func phpPairs(t *testing.T, file string) [][2]any {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]any
	if err := json.Unmarshal(b, &pairs); err != nil || len(pairs) == 0 {
		t.Fatalf("%s: %d pairs, %v", file, len(pairs), err)
	}
	return pairs
}

func TestURLPathsAreThoseOfPHP(t *testing.T) {
	for _, pair := range phpPairs(t, "urls.json") {
		url := pair[0].(string)
		var got any
		switch path, kind := phpPath(url); kind {
		case hasPath:
			got = path
		case noURL:
			got = false
		}
		if got != pair[1] {
			t.Errorf("%q: %#v, PHP says %#v", url, got, pair[1])
		}
	}
}

func TestFieldsAreSentBackAsByWordPress(t *testing.T) {
	for _, pair := range phpPairs(t, "fields.json") {
		if got := echoed(pair[0].(string)); got != pair[1] {
			t.Errorf("%q: %q, WordPress says %q", pair[0], got, pair[1])
		}
	}
	if got := echoed("\xff"); got != "" {
		t.Errorf("no UTF-8: %q", got)
	}
}

// Each answer doubles the backslashes of a name, until there are too many.
func TestSlashesDoNotDoubleForEver(t *testing.T) {
	name := "O'Neil"
	for range 40 {
		name = echoed(name)
	}
	if len(name) < 100 || len(name) > maxEchoed {
		t.Errorf("%d bytes", len(name))
	}
	if got := echoed(echoed("O'Neil")); got != `O\\\'Neil` {
		t.Errorf("after two answers: %s", got)
	}
}

func TestTimeAgo(t *testing.T) {
	for _, tc := range []struct {
		seconds []int64
		want    string
	}{
		{[]int64{-3600, 0, 59, 60}, "0 min"},
		{[]int64{61, 89}, "1 min"},
		{[]int64{90, 149}, "2 min"},
		{[]int64{150}, "3 min"},
		{[]int64{3570, 3600, 3629}, "60 min"},
		{[]int64{3630, 5399}, "1 hr"},
		{[]int64{5400}, "2 hrs"},
		{[]int64{86400, 88199}, "24 hrs"},
		{[]int64{88200, 129599}, "1 day"},
		{[]int64{129600}, "2 days"},
		{[]int64{648000, 691200}, "1 week"},
		{[]int64{2600640}, "4 weeks"},
		{[]int64{2900000}, "1 month"},
		{[]int64{33000000, 46811519}, "1 year"},
		{[]int64{46811520}, "2 years"},
	} {
		for _, s := range tc.seconds {
			if got, _ := timeAgo(s); got != tc.want {
				t.Errorf("%d s: %q, want %q", s, got, tc.want)
			}
		}
	}
}

// The moment for which the next text is promised is the first one that has it, or
// at least none after it.
func TestTimeAgoTellsWhenItChanges(t *testing.T) {
	for s := int64(0); s < 60_000_000; {
		text, next := timeAgo(s)
		if next <= s {
			t.Fatalf("%d s: next is %d", s, next)
		}
		for _, at := range []int64{s + 1, (s + next) / 2, next - 1} {
			if got, _ := timeAgo(max(at, s)); at < next && got != text {
				t.Fatalf("%q at %d s, but %q at %d s, before %d", text, s, got, at, next)
			}
		}
		s = next
	}
}

func TestBrowsers(t *testing.T) {
	for agent, want := range map[string][2]browser{
		"Mozilla/4.0 (compatible; MSIE 8.0)":              {{"Internet Explorer", "internet-explorer_16x16.png"}, {"Internet explorer", "web_16x16.png"}},
		"Mozilla/5.0 (Windows NT 6.1; Trident/7.0)":       {{"Internet Explorer", "internet-explorer_16x16.png"}, {"Internet explorer", "web_16x16.png"}},
		"Mozilla/5.0 Chrome/64.0 Safari/537.36 Edge/17.1": {{"Internet Explorer", "internet-explorer_16x16.png"}, {"Google Chrome", "chrome_16x16.png"}},
		"Mozilla/5.0 Firefox/66.0":                        {{"Mozilla Firefox", "firefox_16x16.png"}, {"Mozilla Firefox", "firefox_16x16.png"}},
		"Mozilla/5.0 Chrome/73.0 Safari/537.36":           {{"Google Chrome", "chrome_16x16.png"}, {"Google Chrome", "chrome_16x16.png"}},
		"Opera/9.80 (Android; Opera Mini/7.5)":            {{"Opera", "opera_16x16.png"}, {"Opera", "opera_16x16.png"}},
		"Opera/9.80 (X11; Linux)":                         {{"Opera", "opera_16x16.png"}, {"Opera", "opera_16x16.png"}},
		"Mozilla/5.0 (Macintosh) Version/12 Safari/605.1": {{"Safari", "safari_16x16.png"}, {"Safari", "safari_16x16.png"}},
		"curl/7.64 firefox":                               {{"Other browser", "web_16x16.png"}, {"Other browser", "web_16x16.png"}},
		"":                                                {{"Other browser", "web_16x16.png"}, {"Other browser", "web_16x16.png"}},
	} {
		if got := browser8(agent); got != want[0] {
			t.Errorf("8.x, %s: %v", agent, got)
		}
		if got := browser5(agent); got != want[1] {
			t.Errorf("5.x, %s: %v", agent, got)
		}
	}
}

func TestNiceURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                            `""`,
		"https://shop.example":        `null`,
		"https://shop.example:99999/": `false`,
		"https://shop.example/":       `"\/"`,
		"https://shop.example/1234567890123456789":  `"\/1234567890123456789"`,
		"https://shop.example/12345678901234567890": `"\/1234567890123456789..."`,
		// The cut is within "ü" for PHP, which then has no list at all.
		"https://shop.example/123456789012345678über": `"\/123456789012345678..."`,
	} {
		if got := string(niceURL(url)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

// Texts that look like PHP are what somebody typed (or Pro has left).
func TestPathologicalTexts(t *testing.T) {
	for stored, want := range map[string][2]string{
		`i:5;`:                                   {`i:5;`, `i:5;`},
		`b:1;`:                                   {`b:1;`, `b:1;`},
		`N;`:                                     {`N;`, `N;`},
		`a:1:{i:0;i:1;}`:                         {`a:1:{i:0;i:1;}`, `a:1:{i:0;i:1;}`},
		`O:8:"stdClass":0:{}`:                    {`O:8:"stdClass":0:{}`, `O:8:"stdClass":0:{}`},
		`a:2:{s:1:"e";i:0;s:1:"m";s:5:"hello";}`: {`hello`, `hello`},
		`a:2:{s:1:"e";i:0;s:1:"m";s:7:"it\'s \";}`: {`it's `, `it's `},
		`back\\slash`: {`backslash`, `back\\slash`},
		`It\'s`:       {`It's`, `It\'s`},
		`one\`:        {`one`, `one\`},
		`nul\\0`:      {"nul\x00", `nul\\0`},
	} {
		if got := newText(stored); got != want[0] {
			t.Errorf("new: %s: %q", stored, got)
		}
		if got := oldText(stored); got != want[1] {
			t.Errorf("old: %s: %q", stored, got)
		}
	}
}
