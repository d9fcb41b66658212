package wordpress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What Courier.Hello and Courier.Adopt say of a site without a companion plugin
// that would listen. The text tells the operator what to do.
var (
	ErrAbsent = errors.New("WordPress has no companion plugin at work: put what `holdline snippet mu-plugin` prints into " +
		"wp-content/mu-plugins/holdline.php, and HOLDLINE_URL and HOLDLINE_SECRET into wp-config.php")
	ErrRefused = errors.New("WordPress refuses Holdline's calls")
)

// result is how a call ended; it is also the key of CourierStats.Calls.
type result string

const (
	delivered result = "delivered"
	replayed  result = "replayed" // WordPress had it before: delivered as well, but without an answer
	failed    result = "failed"   // may work later
	tooLarge  result = "too_large"
	// These do not work until the operator has changed something.
	absent      result = "absent"
	wrongSecret result = "wrong_secret"
	wrongClock  result = "wrong_clock"
	blocked     result = "blocked"
)

// Bounds of an answer's parts. The whole has MaxSyncBody.
const (
	mostCustom     = 64  // names of filters
	mostName       = 128 // bytes of a name
	mostStrings    = 128
	mostStringSize = 64 << 10
	mostExcerpt    = 120 // bytes of a foreign answer in an error's text
)

// readAnswer tells what an answer to a sync call means. The error is nil for
// delivered and replayed; it wraps ErrAbsent or ErrRefused where the operator has
// to do something.
func readAnswer(status int, body []byte, now time.Time) (SyncAnswer, result, error) {
	if len(body) > MaxSyncBody {
		return SyncAnswer{}, failed, fmt.Errorf("WordPress answers %d with more than %d bytes", status, MaxSyncBody)
	}
	var a SyncAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		a = SyncAnswer{} // a web server's own page, or half of an answer
	}
	r, err := judge(status, body, envelope{a.OK && a.Version > 0, a.Error, a.Time}, now)
	if r != delivered {
		return SyncAnswer{}, r, err
	}
	a.bound()
	return a, delivered, nil
}

// envelope is what the answers to all signed calls have in common.
type envelope struct {
	ok    bool
	error string
	time  int64
}

// judge tells what became of a signed call, see readAnswer.
func judge(status int, body []byte, e envelope, now time.Time) (result, error) {
	// What admin-ajax.php says to an action that nobody listens to; WordPress before
	// 4.7 says it with status 200.
	if text := bytes.TrimSpace(body); string(text) == "0" && (status == http.StatusBadRequest || status == http.StatusOK) {
		return absent, ErrAbsent
	}
	switch {
	case status == http.StatusOK && e.ok:
		return delivered, nil
	case status == http.StatusConflict && e.error == "replay":
		return replayed, nil
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge, errors.New("WordPress or its web server finds the call too large")
	case status == http.StatusForbidden && e.error == "signature":
		return wrongSecret, fmt.Errorf("%w: set HOLDLINE_SECRET in wp-config.php to what auth.secret is here", ErrRefused)
	case status == http.StatusForbidden && e.error == "time":
		return wrongClock, fmt.Errorf("%w: its clock is %s; set both clocks by NTP", ErrRefused, apart(e.time, now))
	case status == http.StatusOK || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return failed, fmt.Errorf("WordPress answers %d %s", status, excerpt(body))
	default: // a redirect, a login, a firewall
		return blocked, fmt.Errorf("%w: it answers %d %s; let POST requests for admin-ajax.php pass from here",
			ErrRefused, status, excerpt(body))
	}
}

// apart says how far a clock is from ours.
func apart(theirs int64, now time.Time) string {
	off := theirs - now.Unix()
	switch {
	case theirs <= 0 || off > 1e9 || off < -1e9:
		return "wrong by decades"
	case off < 0:
		return (time.Duration(-off) * time.Second).String() + " behind this machine's"
	default:
		return (time.Duration(off) * time.Second).String() + " ahead of this machine's"
	}
}

// excerpt is the beginning of a foreign answer, fit for a log.
func excerpt(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), mostExcerpt)]), "")
	return fmt.Sprintf("%q", strings.Join(strings.Fields(text), " "))
}

// bound makes what an answer tells fit to be kept.
func (a *SyncAnswer) bound() {
	a.Hello.Since = max(0, a.Hello.Since)
	a.Hello.Custom = a.Hello.Custom[:min(len(a.Hello.Custom), mostCustom)]
	for i, name := range a.Hello.Custom {
		a.Hello.Custom[i] = clip(name, mostName)
	}
	for _, text := range []*string{&a.Plugin, &a.Error, &a.Hello.WordPress, &a.Hello.PHP, &a.Hello.Locale} {
		*text = clip(*text, mostName)
	}
	kept := make(map[string]string)
	for name, text := range a.Strings {
		if len(kept) < mostStrings && len(name) <= mostName && len(text) <= mostStringSize {
			kept[name] = text
		}
	}
	a.Strings = kept
}
