package wplc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdline/wpdb"
)

// Actions of the plugin's three long-poll loops (ajax_new.php).
const (
	ActionVisitor   = "wplc_call_to_server_visitor"
	ActionAgent     = "wplc_admin_long_poll_chat"
	ActionDashboard = "wplc_admin_long_poll"
)

// NonceAction is what the nonce in the field "security" was made for. PHP checks
// it for everybody who is logged in, and in 5.x for visitors as well.
const NonceAction = "wplc"

// Loop is one poll of the plugin's own JavaScript: a form that was understood
// (see [Source.Recognise]), and what only the web server's side can know.
type Loop struct {
	Action string
	// CID is the chat, 0 for the dashboard.
	CID int64
	// Short asks for an answer at once, whatever there is.
	Short bool
	// Agent loops are for WordPress users only: WordPress answers others "0" with
	// status 400. The caller proves the user by cookie and Nonce and sets UserID.
	Agent bool
	// Nonce is the field "security".
	Nonce string

	// UserID is the WordPress user whose cookie and nonce were found good, 0 for
	// none. It matters for visitors too: an agent who looks at the public site sees
	// no notes. Set it before the first Answer.
	UserID int64
	// Strings are the texts in the reader's language; nil is English.
	Strings *Strings
	// AdminURL is what admin_url() gives, with a slash at its end; PluginURL the
	// plugin's folder, with one too. Empty: made of the option siteurl.
	AdminURL, PluginURL string
	// Careful says that the request came through a proxy which does not tell when the
	// browser has left, so that an answer may be lost without a sign. See doubts.
	Careful bool
	// EmailCookie is the cookie wplc_email, which 5.x shows a picture for.
	EmailCookie string

	form loopForm
}

// Channels are those whose events make another Answer worth asking for.
func (l *Loop) Channels() []string {
	switch {
	case l.CID == 0:
		return []string{room{agents: true}.channel()}
	case l.Agent:
		return []string{room{chat: l.CID}.channel(), room{chat: l.CID, agents: true}.channel()}
	}
	return []string{room{chat: l.CID}.channel()}
}

// Client is the key under which a [LoopCursor] is kept between the polls of one
// browser. It is one browser's only together with who that is, by login or by the
// visitor's binding: what is in it came from a form. Empty: no cursor is needed.
// Two windows of an agent on one chat share a key, as they share the read flag
// in PHP.
func (l *Loop) Client() string {
	switch {
	case l.CID == 0:
		return ""
	case l.Agent:
		return fmt.Sprintf("agent/%d/%d", l.UserID, l.CID)
	}
	return fmt.Sprintf("visitor/%d/%s", l.CID, l.form.session)
}

// Answer is what PHP would do with a loop at one moment.
type Answer struct {
	// Now says to send Body and end the request. It is always true of the final
	// answer, whose Body is empty when nothing happened: status 200, Content-Type
	// text/html; charset=UTF-8, no bytes.
	Now  bool
	Body []byte
	// Hold is how long PHP would hold this request, counted from its beginning.
	// When it is over, ask for the final answer.
	Hold time.Duration
	// Again is when to ask again although no channel told anything, counted from
	// this answer; 0 is never. The dashboard shows how long ago chats began.
	Again time.Duration
	// Delivered are the ids of the messages in Body: after it was written, PHP has
	// their read flags set.
	Delivered []int64
	// Cursor is the client's position once Body was written. When it could not be
	// written the old one holds, so the next poll brings the messages again.
	Cursor LoopCursor
	// Effects are the other writes of PHP's, to be made also when Now is false.
	// Each is told once in a request.
	Effects []Effect
}

// EffectKind says what an [Effect] writes.
type EffectKind int

// The writes of the visitor's loop to wplc_chat_sessions (wplc_update_user_on_page,
// functions.php:92-147). Each also sets last_active_timestamp, and url and ip from
// the request's headers.
const (
	// EffectBeat says that the visitor is there. It must not write the status: PHP
	// does, and so brings chats back that an agent has just closed.
	EffectBeat EffectKind = iota
	// EffectMove changes the status From → To, if it still is From.
	EffectMove
	// EffectMissed is a beat of a chat that still is unanswered (12), and the action
	// wplc_hook_missed_chat with CID, Name and Email.
	EffectMissed
)

// Effect is a write that PHP makes and a reader cannot.
type Effect struct {
	Kind    EffectKind
	CID     int64
	Session string // for the column session
	// From is the status that the chat had, and To the one that EffectMove writes.
	// A chat that no longer has From was changed by somebody else, and keeps that.
	From, To int64
	// Switch says that another page or tab of the visitor's had the chat until
	// now. It is urgent: other held loops of this chat are told to stop once asked.
	Switch      bool
	Name, Email string // of EffectMissed, as the form has them, without slashes
}

// Hold is how long PHP holds a loop by the site's settings, from its beginning.
// Answers have it too; this is for who does not ask for any.
func (s *Source) Hold(ctx context.Context) (time.Duration, error) {
	timing, err := s.loopTiming(ctx)
	if err != nil {
		return 0, fmt.Errorf("wplc: %w", err)
	}
	return timing.hold(), nil
}

// Native tells why this site's loops cannot be answered from its rows; nil is
// that they can. PHP has to be asked instead (relay).
func (s *Source) Native() error {
	switch {
	case s.facts.NodeMode:
		return errors.New("the plugin's own Node server carries the chats (WPLC_SETTINGS.wplc_use_node_server)")
	case s.facts.Pro:
		// Its typing marks live in an option that every request rewrites, and it
		// hangs on nearly every filter of the loops.
		return errors.New("WP Live Chat Support Pro is or was installed, and changes what the loops answer")
	case !s.facts.knownPlugin():
		return fmt.Errorf("the plugin's version is %s (option wplc_db_version); the answers of 8.0.x and 5.0.x are known", s.facts.Plugin)
	case s.missing != nil:
		return s.missing
	}
	return nil
}

// Answer tells what PHP answers to a loop. It is asked when the request comes
// in, at each event on one of its channels, after [Answer].Again, and at the end
// of the hold as the final one. One request's calls come one after the other with
// the same state; different requests may be asked for at the same time.
//
// An error is one of the database or of [Source.Native]: nothing was told then
// and the state is as before, so the same may be asked again. What the browser
// gets in the end must still be status 200 and no body, since the plugin's
// JavaScript prints errors into the chat (8.x) or stops for good (5.x).
//
// Known differences from PHP, all on purpose: nobody but agents is told about
// chats by the agents' loops (PHP checks a nonce that every page shows); texts
// that are serialized PHP are shown as they are, where PHP loses messages or
// fails; at most [maxUnread] new messages come in one answer; a browser that got
// the history is not sent its messages again.
//
// Queries: chats by primary key, then messages by ranges of the primary key, each
// for all loops that ask at about the same time, so that there are at most 25 of
// each in a second however many visitors there are, and 2 while nobody says
// anything. Only for a client whose cursor is not known, and for the history of a
// page that is loaded, messages are searched by chat without an index, as PHP
// does it twice a second. The dashboard's scan is shared by everybody who waits
// for it.
func (s *Source) Answer(ctx context.Context, q wpdb.Querier, l *Loop, state *LoopState, final bool) (Answer, error) {
	if err := s.Native(); err != nil {
		return Answer{}, fmt.Errorf("wplc: %w", err)
	}
	if l.Agent && l.UserID <= 0 {
		return Answer{}, errors.New("wplc: a loop of agents without a WordPress user")
	}
	next := state.clone()
	// A request that has just come will mostly be held: PHP's would look half a
	// second later again, and so may this.
	patient := state.round == 0 && !l.Short && !l.form.first
	if err := s.begin(ctx, l, next); err != nil {
		return Answer{}, fmt.Errorf("wplc: %w", err)
	}
	r := &round{s: s, q: q, l: l, st: next, patient: patient}
	r.answer.Cursor = next.Cursor
	if err := r.run(ctx); err != nil {
		return Answer{}, fmt.Errorf("wplc: answer %s: %w", l.Action, err)
	}
	*state = *next
	r.answer.Hold = next.timing.hold()
	r.answer.Now = r.answer.Now || final
	return r.answer, nil
}

// round is one turn of PHP's loop.
type round struct {
	s       *Source
	q       wpdb.Querier
	l       *Loop
	st      *LoopState
	patient bool // others may be waited for, to ask the database together
	answer  Answer
}

func (r *round) run(ctx context.Context) error {
	switch {
	case r.l.Action == ActionDashboard:
		return r.dashboard(ctx)
	case r.l.Action == ActionAgent && r.s.facts.Version == 5:
		return r.agent5(ctx)
	case r.l.Action == ActionAgent:
		return r.agent8(ctx)
	case r.s.facts.Version == 5:
		return r.visitor5(ctx)
	}
	return r.visitor8(ctx)
}

// say ends the request.
func (r *round) say(body []byte) { r.answer.Now, r.answer.Body = true, body }

// isAgent looks once in a request.
func (r *round) isAgent(ctx context.Context) (bool, error) {
	if r.l.UserID <= 0 {
		return false, nil
	}
	if r.st.agent == nil {
		agent, err := r.s.isAgent(ctx, r.l.UserID)
		if err != nil {
			return false, fmt.Errorf("find out whether user %d is an agent: %w", r.l.UserID, err)
		}
		r.st.agent = &agent
	}
	return *r.st.agent, nil
}
