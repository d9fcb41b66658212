package park

// writeFrames is how many queued frames go out in one system call.
const writeFrames = 64

// frame is one slice that a connection has been told to send, shared with every
// other connection that sends the same.
type frame struct {
	b  []byte
	at uint32 // when it was queued, in slots of the wheel
}

// queue keeps what the socket did not take. It exists only while there is
// something in it: a connection that keeps up has none.
type queue struct {
	timer  timer // when to look at the age of the oldest frame
	frames []frame
	head   int // frames before it are out
	bytes  int
}

func (q *queue) len() int { return len(q.frames) - q.head }

// oldest is when the frame at the head was queued.
func (q *queue) oldest() uint32 { return q.frames[q.head].at }

func (q *queue) push(b []byte, at uint32) {
	// Moving the rest down once half of the slice is spent keeps the slice as
	// long as the queue's bound at a cost of one copy per frame.
	if q.head > 0 && q.head >= len(q.frames)/2 {
		n := copy(q.frames, q.frames[q.head:])
		clear(q.frames[n:])
		q.frames, q.head = q.frames[:n], 0
	}
	q.frames = append(q.frames, frame{b: b, at: at})
	q.bytes += len(b)
}

// buffers appends the first frames to dst, up to its capacity.
func (q *queue) buffers(dst [][]byte) [][]byte {
	for _, f := range q.frames[q.head:] {
		if len(dst) == cap(dst) {
			break
		}
		dst = append(dst, f.b)
	}
	return dst
}

// advance lets go of the first n bytes, which have been written.
func (q *queue) advance(n int) {
	q.bytes -= n
	for n > 0 {
		f := &q.frames[q.head]
		if n < len(f.b) {
			f.b = f.b[n:]
			return
		}
		n -= len(f.b)
		*f = frame{} // the bytes may be the last reference to a broadcast
		q.head++
	}
}
