package wplc

import (
	"context"
	"fmt"
	"net/url"
)

// HasPage tells whether a visitor's loop comes from the page that has the chat:
// its wplcsession is what the plugin last stored for the chat. That is the time
// in milliseconds at which the page began to run, which nobody else is told.
func (d *Desk) HasPage(ctx context.Context, l Loop) (bool, error) {
	if l.Agent || l.CID <= 0 || l.form.session == "" {
		return false, nil
	}
	r := &round{s: d.src, q: d.opt.Query, l: &l}
	row, err := r.chat(ctx)
	if err != nil {
		return false, fmt.Errorf("wplc: find out which page has chat %d: %w", l.CID, err)
	}
	// PHP and MySQL take "1" for one; only a whole time of day is proof.
	return len(row.session) >= provingSession && row.session == l.form.session, nil
}

// provingSession is how many characters a wplcsession has that proves anything:
// the milliseconds since 1970 have had 13 since 2001.
const provingSession = 13

// NonceForAll tells whether PHP asks visitors for a nonce who are not logged in:
// 5.x does (ajax.php), 8.x asks those who are (ajax_new.php:28).
func (d *Desk) NonceForAll() bool { return d.src.facts.Version == 5 }

// Unfit tells why loops cannot be answered from rows; nil is that they can. See
// [Source.Native].
func (d *Desk) Unfit() error { return d.src.Native() }

// Recognise reads the form of a request; see [Source.Recognise].
func (d *Desk) Recognise(form url.Values) (Loop, bool) { return d.src.Recognise(form) }
