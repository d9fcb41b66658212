package wordpress

// SyncAction is the ajax action of a sync call: POST
// /wp-admin/admin-ajax.php?action=holdline_sync with a Sync as JSON and the two
// headers of token.SignCall, without cookies. The answer is a SyncAnswer:
//
//	200  ok
//	400  "json": the body is no JSON object
//	403  "signature" or "time" (more than five minutes off; Time tells by how much)
//	409  "replay": this very call was received before
//	413  "size": more than the limits below
//
// Anything else (400 with the body "0") means that the plugin is not installed.
const SyncAction = "holdline_sync"

// TokenAction is the ajax action by which a page asks for a fresh token. The
// answer is {"token":"…","exp":1766380000} or {"token":null}.
const TokenAction = "holdline_token"

// Limits of one sync call.
const (
	MaxSyncBody        = 1 << 20 // bytes
	MaxSyncBeats       = 1000
	MaxSyncTransitions = 1000
	MaxSyncRead        = 5000
	MaxSyncMissed      = 200
	MaxSyncAdopt       = 50
)

// Sync asks for the writes that the plugin's own loops would have made. Every
// write is conditional, so a batch may be sent again, with another Call.
type Sync struct {
	// Call makes two calls in one second differ; a call with the same bytes and
	// timestamp as an earlier one is refused as a replay.
	Call        string       `json:"call"`
	Beats       []Beat       `json:"beats,omitempty"`
	Transitions []Transition `json:"transitions,omitempty"`
	Read        []int64      `json:"read,omitempty"`   // ids of messages that were delivered
	Missed      []int64      `json:"missed,omitempty"` // chats in status 12 whose visitor was just told
	Age         bool         `json:"age,omitempty"`    // run the plugin's ageing afterwards
	// Adopt asks for chats that began before Holdline, each on behalf of the first
	// browser that polls for it.
	Adopt []int64 `json:"adopt,omitempty"`
}

// Visit is what a visitor's poll tells of itself, raw from its request. What is
// nil is left as it is in the table.
type Visit struct {
	Session string  `json:"session,omitempty"` // wplcsession
	URL     *string `json:"url,omitempty"`     // Referer
	UA      *string `json:"ua,omitempty"`      // User-Agent
	IP      string  `json:"ip,omitempty"`      // stored by version 5 alone, and only if its settings say so
}

// Beat is the heartbeat of a chat that still has Status; 2 and 12 never beat,
// because they must age.
type Beat struct {
	Chat   int64 `json:"cid"`
	Status int   `json:"status"`
	Visit
}

// Transition is a heartbeat that also changes the status: 1 to 8, 7 to 5, 0 to 5
// (version 5), 6 to 3 (Pro), and 12 to 12, which only stamps the chat as PHP does
// when it tells a visitor that nobody answered.
type Transition struct {
	Chat int64 `json:"cid"`
	From int   `json:"from"`
	To   int   `json:"to"`
	Visit
}

// SyncAnswer is what the plugin answers. An empty Sync asks for it, and thereby
// whether the plugin is there.
type SyncAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Version int    `json:"version"` // of this contract: 1
	Plugin  string `json:"plugin"`  // of the chat plugin, such as "8.0.25"; "" when it is not active
	Time    int64  `json:"time"`    // the site's clock, Unix seconds
	// Done counts rows changed; a row that did not change counts as none.
	Done struct {
		Beats       int `json:"beats"`
		Transitions int `json:"transitions"`
		Read        int `json:"read"`
		Missed      int `json:"missed"`
		Skipped     int `json:"skipped"` // items that made no sense or that the database refused
	} `json:"done"`
	// Adopted has true, once for ever, for each chat of Adopt by its decimal id
	// that is not above Hello.Since, is alive and was active within a day.
	Adopted map[string]bool `json:"adopted"`
	Hello   struct {
		WordPress string `json:"wordpress"`
		PHP       string `json:"php"`
		Locale    string `json:"locale"`
		Blog      int    `json:"blog"`
		Ages      bool   `json:"ages"`  // Age has an effect
		Sends     bool   `json:"sends"` // SendAction stores messages: version 8 of the chat plugin
		Reroute   bool   `json:"reroute"`
		// Custom names filters of the loops' answers on which code of the site
		// listens: there, only PHP can answer.
		Custom []string `json:"custom"`
		// Since is the highest chat at the first sync call of all; later ones are
		// bound by cookie as they begin. 0: none is to be adopted (any more).
		Since int64 `json:"since"`
	} `json:"hello"`
	// Strings are the loops' texts in the site's language, by names such as
	// "admin", "agent_ended", "no_answer" and "retry".
	Strings map[string]string `json:"strings"`
}
