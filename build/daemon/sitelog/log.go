package sitelog

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// Entry is one line. Seq, Prev and Hash are the log's; the hash is over the line without it.
type Entry struct {
	Seq  int64     `json:"seq"`
	Prev string    `json:"prev"`
	Time time.Time `json:"time"`
	// Event is "start", "request", "built", "failed", "source", "derivation" or "repaired".
	Event string `json:"event"`
	UID   int    `json:"uid"`
	PID   int    `json:"pid,omitempty"`
	// Request is the kind of a request, Decision "allowed" or "refused", Reason why it was refused.
	Request  string `json:"request,omitempty"`
	Decision string `json:"decision,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Job      string `json:"job,omitempty"`
	Name     string `json:"name,omitempty"`
	// Derivations are those that a request is about, at most MaxDerivations of them; Count is how many there are.
	Derivations []string `json:"derivations,omitempty"`
	Count       int      `json:"count,omitempty"`
	Realization string   `json:"realization,omitempty"`
	Source      string   `json:"source,omitempty"`
	// Number is that of the build record, Bytes what the result takes in the store, LogBytes its log.
	Number   int   `json:"number,omitempty"`
	Bytes    int64 `json:"bytes,omitempty"`
	LogBytes int64 `json:"log_bytes,omitempty"`
}

// MaxDerivations is how many derivations an entry lists.
const MaxDerivations = 100

// MaxLine is how long a line may be, in bytes.
const MaxLine = 64 << 10

// hashDomain separates these hashes from every other use of BLAKE3.
const hashDomain = "hdjail 2026-11 site log v1"

// genesis is what the first entry follows.
const genesis = "none"

// head is the content of the second file: the last entry. It is rewritten in place, always of the same length, so it fits
// one sector and is never half written by a process that dies.
const headFormat = "%020d %s\n"

// Log appends entries. It is safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	file *os.File
	head *os.File
	now  func() time.Time
	seq  int64
	last string
	size int64 // of the log
}

// HeadName is where the end of the log at name is kept.
func HeadName(name string) string { return name + ".head" }

// Open opens the log at name, in a directory that only its owner can write to, and makes it when there is none. The chain is
// verified, and replay, unless nil, gets each entry. A last line that a crash cut off is removed, which is an entry of its own;
// any other damage is *DamageError. Only one process can have a log open.
func Open(name string, now func() time.Time, replay func(Entry)) (*Log, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open site log: %w", err)
	}
	l := &Log{file: file, now: now}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("open site log %q: another process has it: %w", name, err), file.Close())
	}
	if l.head, err = os.OpenFile(HeadName(name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640); err != nil {
		return nil, errors.Join(fmt.Errorf("open site log: %w", err), file.Close())
	}
	if err := l.resume(name, replay); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// resume goes to the end of what is there.
func (l *Log) resume(name string, replay func(Entry)) error {
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("open site log: %w", err)
	}
	text, err := io.ReadAll(io.NewSectionReader(l.head, 0, 256))
	if err != nil {
		return fmt.Errorf("open site log: %w", err)
	}
	found, err := verify(io.NewSectionReader(l.file, 0, info.Size()), text, replay)
	if err != nil {
		var damage *DamageError
		if errors.As(err, &damage) {
			damage.Name = name
		}
		return err
	}
	l.seq, l.last, l.size = found.Entries, found.Last, found.whole
	if found.whole < info.Size() {
		if err := l.file.Truncate(found.whole); err != nil {
			return fmt.Errorf("repair site log: %w", err)
		}
		return l.Append(Entry{Event: "repaired", Reason: fmt.Sprintf("the last %d bytes were no whole line", info.Size()-found.whole)})
	}
	return nil
}

// Append writes an entry. When it returns the entry survives the end of this process.
func (l *Log) Append(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq, e.Prev, e.Time = l.seq+1, l.last, l.now().UTC()
	if l.seq == 0 {
		e.Prev = genesis
	}
	line, hash, err := e.encode()
	if err != nil {
		return err
	}
	if _, err := l.file.Write(line); err != nil {
		return errors.Join(fmt.Errorf("write site log: %w", err), l.file.Truncate(l.size)) // a full disk takes half a line
	}
	l.seq, l.last, l.size = e.Seq, hash, l.size+int64(len(line))
	if _, err := l.head.WriteAt(fmt.Appendf(nil, headFormat, l.seq, l.last), 0); err != nil {
		return fmt.Errorf("write site log: %w", err)
	}
	return nil
}

// encode is the line of an entry: its JSON, a space, its hash, a newline.
func (e *Entry) encode() (line []byte, hash string, err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, "", fmt.Errorf("encode site log: %w", err)
	}
	hash = hashOf(text)
	if len(text)+len(hash)+2 > MaxLine {
		return nil, "", fmt.Errorf("write site log: a line of %d bytes, and %d are allowed", len(text), MaxLine)
	}
	return append(append(append(text, ' '), hash...), '\n'), hash, nil
}

func hashOf(text []byte) string {
	h := blake3.NewDeriveKey(hashDomain)
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil))
}

// Close brings the log onto the disk, and closes it.
func (l *Log) Close() error {
	return errors.Join(l.file.Sync(), l.head.Sync(), l.file.Close(), l.head.Close())
}

// DamageError reports a log that is not as it was written. Line counts from 1.
type DamageError struct {
	Name   string
	Line   int64
	Reason string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("verify site log %q: line %d %s", e.Name, e.Line, e.Reason)
}

// Found is what a log was found to be.
type Found struct {
	Entries int64  `json:"entries"`
	Last    string `json:"last"`
	// whole is the length of all whole lines.
	whole int64
}

// Verify reads the log at name and its head, and demands that a line has the hash, unless that is empty. Damage is *DamageError.
func Verify(name, hash string) (Found, error) {
	there := hash == ""
	found, err := Read(name, func(e Entry) { there = there || e.Prev == hash })
	if err == nil && !there && found.Last != hash {
		err = &DamageError{Name: name, Line: found.Entries + 1, Reason: "is missing: no line has the hash " + strconv.Quote(hash)}
	}
	return found, err
}

// Read is Verify without a hash, and replay gets each entry; nil gets none.
func Read(name string, replay func(Entry)) (Found, error) {
	file, err := os.Open(name)
	if err != nil {
		return Found{}, fmt.Errorf("verify site log: %w", err)
	}
	defer file.Close()
	// The head is read first: a daemon that writes meanwhile only makes the log longer.
	head, err := os.ReadFile(HeadName(name))
	if err != nil {
		return Found{}, fmt.Errorf("verify site log: %w", err)
	}
	found, err := verify(file, head, replay)
	var damage *DamageError
	if errors.As(err, &damage) {
		damage.Name = name
	}
	return found, err
}

// verify reads a chain. An incomplete last line is left out, unless the head knows of it.
func verify(in io.Reader, head []byte, replay func(Entry)) (found Found, err error) {
	found.Last = genesis
	var known int64
	knownHash := genesis
	if len(head) > 0 {
		if n, err := fmt.Sscanf(string(head), "%d %s\n", &known, &knownHash); n != 2 || err != nil || known < 1 {
			return found, &DamageError{Line: 0, Reason: "cannot be compared: the head is not one of hdjail"}
		}
	}
	lines := bufio.NewReaderSize(in, MaxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return found, &DamageError{Line: found.Entries + 1, Reason: "is longer than any line can be"}
		}
		if err != nil {
			return found, fmt.Errorf("verify site log: %w", err)
		}
		e, hash, reason := follow(line, found)
		if reason != "" {
			return found, &DamageError{Line: found.Entries + 1, Reason: reason}
		}
		found.Entries, found.Last, found.whole = e.Seq, hash, found.whole+int64(len(line))
		if e.Seq == known && hash != knownHash {
			return found, &DamageError{Line: e.Seq, Reason: "is another one than the head says"}
		}
		if replay != nil {
			replay(e)
		}
	}
	if found.Entries < known {
		return found, &DamageError{Line: found.Entries + 1, Reason: fmt.Sprintf("is missing: the log had %d", known)}
	}
	return found, nil
}

// follow reads a line that must follow what was found so far, or tells why it does not.
func follow(line []byte, found Found) (e Entry, hash, reason string) {
	at := bytes.LastIndexByte(line, ' ')
	if at < 0 {
		return e, "", "holds no hash"
	}
	hash = string(bytes.TrimSuffix(line[at+1:], []byte("\n")))
	switch d := json.NewDecoder(bytes.NewReader(line[:at])); {
	case hashOf(line[:at]) != hash:
		return e, "", "was changed: its hash is another one"
	case d.Decode(&e) != nil:
		return e, "", "is no entry"
	case e.Prev != found.Last:
		return e, "", "does not follow the line before it: a line was removed or moved"
	case e.Seq != found.Entries+1:
		return e, "", fmt.Sprintf("has the number %d", e.Seq)
	}
	return e, hash, ""
}
