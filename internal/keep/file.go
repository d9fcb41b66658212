package keep

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"time"
)

// The file is a magic text and entries, all numbers little-endian:
//
//	crc32c of all that follows(4) time(8, Unix ms) key length(2) value length(4) key value
//
// The value length of a key that was taken out is deleted. Later entries count.
const (
	magic    = "HOLDKEEP1\n"
	headSize = 18
	deleted  = 1<<32 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendEntry appends an entry as it stands in the file.
func appendEntry(b []byte, e *entry, gone bool) []byte {
	start := len(b)
	length := uint32(len(e.value))
	if gone {
		length = deleted
	}
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.at))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.key)))
	b = binary.LittleEndian.AppendUint32(b, length)
	b = append(append(b, e.key...), e.value...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	return b
}

// errDamaged ends the reading; what came before it is good.
var errDamaged = errors.New("damaged")

// readEntry reads one. The errors are errDamaged, io.EOF at the end, and those of
// the reader.
func readEntry(r *bufio.Reader) (e *entry, gone bool, err error) {
	var head [headSize]byte
	switch _, err := io.ReadFull(r, head[:]); {
	case err == io.ErrUnexpectedEOF:
		return nil, false, errDamaged
	case err != nil:
		return nil, false, err
	}
	keySize, size := int(binary.LittleEndian.Uint16(head[12:])), binary.LittleEndian.Uint32(head[14:])
	if gone = size == deleted; gone {
		size = 0
	}
	if keySize > MaxKey || size > MaxValue {
		return nil, false, errDamaged
	}
	body := make([]byte, keySize+int(size))
	switch _, err := io.ReadFull(r, body); {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return nil, false, errDamaged
	case err != nil:
		return nil, false, err
	}
	sum := crc32.Update(crc32.Checksum(head[4:], castagnoli), castagnoli, body)
	if sum != binary.LittleEndian.Uint32(head[:]) {
		return nil, false, errDamaged
	}
	at := int64(binary.LittleEndian.Uint64(head[4:]))
	return &entry{string(body[:keySize]), body[keySize:], at}, gone, nil
}

// read takes the entries of a file, up to the first that is damaged, and tells how
// many bytes are good: 0 if it is no file of ours.
func (m *Map) read(from io.Reader) (good int64, err error) {
	r := bufio.NewReaderSize(from, 64<<10)
	var start [len(magic)]byte
	if _, err := io.ReadFull(r, start[:]); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	if string(start[:]) != magic {
		return 0, nil
	}
	good = int64(len(magic))
	now := time.Now()
	for {
		e, gone, err := readEntry(r)
		if err == io.EOF || err == errDamaged {
			return good, nil
		}
		if err != nil {
			return 0, err
		}
		good += e.size()
		if gone {
			if old, ok := m.byKey[e.key]; ok {
				m.drop(old)
			}
			continue
		}
		e.at = min(e.at, now.UnixMilli()) // a clock that was put back
		m.set(e)
		for m.order.Len() > m.opt.MaxEntries || m.live > m.opt.MaxBytes {
			m.drop(m.order.Front())
		}
	}
}

// append writes an entry behind the others. The caller has the lock.
func (m *Map) append(e *entry, gone bool) error {
	if m.file == nil {
		return errors.New("keep: it is closed")
	}
	m.buffer = appendEntry(m.buffer[:0], e, gone)
	if m.torn || m.size+int64(len(m.buffer)) > max(2*m.live+slack, m.again) {
		err := m.rewrite()
		if err == nil {
			return nil // with all that is in memory
		}
		m.again = m.size + max(m.size, slack)
		if m.torn || m.size > 4*m.opt.MaxBytes+slack {
			return fmt.Errorf("keep: %w: %w", errFull, err)
		}
	}
	n, err := m.file.Write(m.buffer)
	if err != nil {
		m.torn = n > 0 && m.file.Truncate(m.size) != nil
		return fmt.Errorf("keep: %w", err)
	}
	m.size += int64(n)
	return nil
}

// rewrite makes a file of what there is now and puts it in the place of the old one.
func (m *Map) rewrite() error {
	next, err := os.OpenFile(m.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write the file anew: %w", err)
	}
	size, err := m.writeAll(next)
	if err == nil {
		err = os.Rename(next.Name(), m.path)
	}
	if err != nil {
		_ = next.Close()
		_ = os.Remove(next.Name()) // it is overwritten in any case
		return fmt.Errorf("write the file anew: %w", err)
	}
	_ = m.file.Close() // all that was in it is in the new one
	m.file, m.size, m.torn, m.again = next, size, false, 0
	return nil
}

func (m *Map) writeAll(to io.Writer) (size int64, err error) {
	w := bufio.NewWriterSize(to, 64<<10)
	_, _ = w.WriteString(magic) // its errors come with Flush
	size = int64(len(magic))
	var b []byte
	for e := m.order.Front(); e != nil; e = e.Next() {
		b = appendEntry(b[:0], e.Value.(*entry), false)
		_, _ = w.Write(b)
		size += int64(len(b))
	}
	return size, w.Flush()
}

// lockFile locks a file as long as this process lives, or until it is closed. It is
// another than the one with the entries, which is replaced.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock it: %w: the folder must be on a file system that has locks", err)
	}
	return f, nil
}
