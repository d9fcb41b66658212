package ws

import (
	"testing"
	"unicode/utf8"

	"holdline/internal/park"
)

func TestCodeTable(t *testing.T) {
	seen := map[Code]bool{}
	reasons := map[string]Code{}
	for _, row := range Codes() {
		if seen[row.Code] {
			t.Errorf("code %d stands in the table twice", row.Code)
		}
		seen[row.Code] = true
		if other, ok := reasons[row.Reason]; ok {
			t.Errorf("codes %d and %d have the same reason %q", other, row.Code, row.Reason)
		}
		reasons[row.Reason] = row.Code
		if n := len(row.Reason); n == 0 || n > maxReason || !utf8.ValidString(row.Reason) {
			t.Errorf("code %d: reason %q does not fit into a close frame", row.Code, row.Reason)
		}
		if row.Code.Reason() != row.Reason || row.Code.Reconnect() != row.Reconnect || row.Code.Held() != row.Held {
			t.Errorf("code %d: the methods do not say what the table says", row.Code)
		}
		if row.Code >= 4100 && !row.Reconnect {
			t.Errorf("code %d: a client that does not know it would come back", row.Code)
		}
	}
	Codes()[0].Reason = "changed"
	if CodeNormal.Reason() == "changed" {
		t.Error("the table can be changed from outside")
	}
}

func TestUnknownCodesGoByRange(t *testing.T) {
	for code, want := range map[Code]bool{
		1014: true, 1999: true, 3000: true, 3999: true,
		4000: false, 4050: false, 4099: false,
		4100: true, 4999: true,
	} {
		if got := code.Reconnect(); got != want {
			t.Errorf("Code(%d).Reconnect() = %v, want %v", code, got, want)
		}
		if code.Reason() != "" {
			t.Errorf("Code(%d) has a reason although it is not in the table", code)
		}
	}
}

func TestReconnect(t *testing.T) {
	for code, want := range map[Code]bool{
		CodeNormal: false, CodeGoingAway: true, CodeProtocol: false, CodeUnsupported: false,
		CodeAbnormal: true, CodeInvalidData: false, CodePolicy: false, CodeTooBig: false,
		CodeInternal: true, CodeRestart: true, CodeTryLater: true,
		CodeUnauthorized: false, CodeForbidden: false, CodeSlow: true, CodeRevoked: false,
		CodeLimit: true, CodeDraining: true, CodeMisuse: false,
	} {
		if got := code.Reconnect(); got != want {
			t.Errorf("Code(%d).Reconnect() = %v, want %v", code, got, want)
		}
	}
}

func TestEveryReasonHasItsCode(t *testing.T) {
	for _, why := range park.Reasons() {
		code := CodeFor(why)
		if code == CodeInternal {
			t.Errorf("%v has no code of its own", why)
		}
		if got := code.Held(); got != why {
			t.Errorf("%v is closed with %d, which is counted as %v", why, code, got)
		}
	}
	if got := CodeFor(park.Reason(200)); got != CodeInternal {
		t.Errorf("a reason that nobody knows is closed with %d, want %d", got, CodeInternal)
	}
}

func TestCloseErrorNamesTheCode(t *testing.T) {
	err := &CloseError{CodeTooBig, "message is too big"}
	if got, want := err.Error(), "message is too big (close code 1009)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
