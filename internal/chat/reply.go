package chat

import "net/http"

// Reply is a whole answer to a plugin's own polling loop, as a plugin's folder
// gives it and a transport sends it. It must not be changed once given away: it
// may be read by several goroutines, some time later.
type Reply struct {
	// Status is a final HTTP status, 200 to 999; 0 is 200.
	Status int
	// Header is all that goes out beside the body, but for what belongs to the
	// connection (Content-Length, Connection, Transfer-Encoding, Date). Nil stands
	// for the headers of WordPress's own ajax answers; an empty one for none.
	Header http.Header
	Body   []byte
}
