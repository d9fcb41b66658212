package park

// Drained returns a question that is answered yes while a connection has taken
// everything it was sent, or nil where the connection cannot tell. Whoever has a
// lot to say asks it between two parts.
func Drained(c Conn) func() bool {
	q, ok := c.(interface{ Queued() int })
	if !ok {
		return nil
	}
	return func() bool { return q.Queued() == 0 }
}
