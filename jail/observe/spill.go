package observe

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"syscall"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// spillAt is how many entries are held in memory; what is over it goes to a file, sorted.
const spillAt = 150_000

// Temporary is a file without a name.
type Temporary interface {
	io.ReadWriteSeeker
	io.Closer
}

// spill are the entries on disk, in runs that are sorted each.
type spill struct {
	mu   sync.Mutex
	runs []Temporary
	next int64 // how many entries in memory are too many
	err  error
}

// spillEntries moves what is judged to disk. Who comes while another does it goes on.
func (l *Log) spillEntries() {
	if l.options.Spill == nil || !l.spill.mu.TryLock() {
		return
	}
	defer l.spill.mu.Unlock()
	if l.spill.err != nil || l.unique.Load() <= l.spill.next {
		return
	}
	// Apart from this thread, which may have the file system ids of the jail.
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.spillJudged()
	}()
	<-done
	l.spill.next = max(spillAt, l.unique.Load()+spillAt/2) // so that no run is small
}

func (l *Log) spillJudged() {
	taken := map[entryKey]*entry{}
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for key, e := range s.entries {
			if e.verdict != "" && e.flags&flagUsual == 0 {
				taken[key] = e
				delete(s.entries, key)
			}
		}
		s.mu.Unlock()
	}
	l.unique.Add(-int64(len(taken)))
	if err := l.writeRun(taken); err != nil {
		l.spill.err = err
		l.Incomplete(fmt.Sprintf("%d entries are lost, as they could not be written to disk: %v", len(taken), err))
	}
}

func (l *Log) writeRun(entries map[entryKey]*entry) error {
	file, err := l.options.Spill()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 256<<10)
	for _, key := range sortedKeys(entries) {
		if err := writeEntry(out, key, entries[key]); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	if err := out.Flush(); err != nil {
		return errors.Join(err, file.Close())
	}
	l.spill.runs = append(l.spill.runs, file)
	return nil
}

// stored is an entry on disk but for its path, which may be any bytes.
type stored struct {
	Op      policies.Operation
	Errno   syscall.Errno
	Count   int64
	First   time.Duration
	Program int32
	Flags   entryFlags
	Verdict policies.Verdict
	Calls   callSet
	Via     []string `json:",omitempty"`
	Reason  string   `json:",omitempty"`
	More    bool     `json:",omitempty"`
	Host    *audit.HostFile
}

func writeEntry(out *bufio.Writer, key entryKey, e *entry) error {
	s := stored{Op: key.op, Errno: key.errno, Count: e.count, First: e.first, Program: e.program, Flags: e.flags, Verdict: e.verdict, Calls: e.calls}
	resolved := ""
	if m := e.more; m != nil {
		s.Via, s.Reason, s.Host, s.More, resolved = m.via, m.reason, m.host, true, m.resolved
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	for _, field := range []string{string(text), key.path, resolved} {
		out.Write(binary.AppendUvarint(nil, uint64(len(field))))
		if _, err = out.WriteString(field); err != nil {
			return err
		}
	}
	return nil
}

func readEntry(in *bufio.Reader) (key entryKey, e *entry, err error) {
	var fields [3]string
	for i := range fields {
		n, err := binary.ReadUvarint(in)
		if err != nil {
			return key, nil, err
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(in, buf); err != nil {
			return key, nil, err
		}
		fields[i] = string(buf)
	}
	var s stored
	if err := json.Unmarshal([]byte(fields[0]), &s); err != nil {
		return key, nil, err
	}
	e = &entry{count: s.Count, first: s.First, program: s.Program, flags: s.Flags, verdict: s.Verdict, calls: s.Calls}
	if s.More {
		e.more = &details{resolved: fields[2], via: s.Via, reason: s.Reason, host: s.Host}
	}
	return entryKey{s.Op, s.Errno, fields[1]}, e, nil
}

// source is a sorted run of entries, or those in memory.
type source struct {
	next func() (entryKey, *entry, error) // io.EOF at the end
	key  entryKey
	e    *entry
}

func (s *source) advance() (err error) {
	s.key, s.e, err = s.next()
	return err
}

// sources are all runs, at their beginning.
func (l *Log) sources() (list []*source, err error) {
	if l.keys == nil {
		l.keys = l.sortedInMemory()
	}
	keys := l.keys
	inMemory := &source{next: func() (entryKey, *entry, error) {
		if len(keys) == 0 {
			return entryKey{}, nil, io.EOF
		}
		key := keys[0]
		keys = keys[1:]
		copied := *l.shards[key.hash()%shardCount].entries[key]
		return key, &copied, nil
	}}
	list = append(list, inMemory)
	for _, run := range l.spill.runs {
		if _, err := run.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		in := bufio.NewReaderSize(run, 64<<10)
		list = append(list, &source{next: func() (entryKey, *entry, error) { return readEntry(in) }})
	}
	return list, nil
}

func (l *Log) sortedInMemory() []entryKey {
	var keys []entryKey
	for i := range l.shards {
		for key := range l.shards[i].entries {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// sorted merges everything, in the order of the audit. It is for after Close, and can be run through again.
func (l *Log) sorted() iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		list, err := l.sources()
		if err != nil {
			yield(keyed{}, err)
			return
		}
		list, err = advanceAll(list)
		for err == nil && len(list) > 0 {
			var least []*source
			for _, s := range list {
				if len(least) == 0 || compareKeys(s.key, least[0].key) < 0 {
					least = least[:0]
				}
				if len(least) == 0 || compareKeys(s.key, least[0].key) == 0 {
					least = append(least, s)
				}
			}
			merged := keyed{least[0].key, least[0].e}
			for _, s := range least[1:] {
				merged.e.merge(s.e)
			}
			if !yield(merged, nil) {
				return
			}
			var rest []*source
			for _, s := range list {
				if compareKeys(s.key, merged.key) != 0 {
					rest = append(rest, s)
				}
			}
			least, err = advanceAll(least)
			list = append(rest, least...)
		}
		if err != nil {
			yield(keyed{}, err)
		}
	}
}

type keyed struct {
	key entryKey
	e   *entry
}

// advanceAll advances sources and drops those that have ended.
func advanceAll(list []*source) (rest []*source, err error) {
	for _, s := range list {
		switch err := s.advance(); {
		case errors.Is(err, io.EOF):
		case err != nil:
			return nil, fmt.Errorf("read spilled entries: %w", err)
		default:
			rest = append(rest, s)
		}
	}
	return rest, nil
}
