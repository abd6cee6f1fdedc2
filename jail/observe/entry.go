package observe

import (
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// entryKey is what makes accesses equal.
type entryKey struct {
	op    policies.Operation
	errno syscall.Errno
	path  string
}

// hash is FNV-1a of the path, for choosing a shard.
func (k entryKey) hash() uint32 {
	h := uint32(2166136261)
	for i := range len(k.path) {
		h = (h ^ uint32(k.path[i])) * 16777619
	}
	return h
}

// entry adds up equal accesses. There may be hundreds of thousands, so it is small. Its verdict is decided once; until
// then it is empty. count is changed atomically, the rest under the lock of the shard.
type entry struct {
	count   int64
	first   time.Duration
	program int32
	flags   entryFlags
	verdict policies.Verdict
	calls   callSet
	more    *details
}

// details are what few entries have.
type details struct {
	resolved string
	via      []string
	reason   string
	host     *audit.HostFile
}

type entryFlags uint8

const (
	flagInferred entryFlags = 1 << iota
	flagNoFollow
	flagImplicit
	flagNoise
	flagUsual // a usual refers to the entry, so it stays in memory
)

// callSet is a set of traced calls, by their place in the table.
type callSet [2]uint64

var callPlaces = func() map[string]int {
	places := map[string]int{}
	for i, c := range policies.Traced() {
		places[c.Name] = i
	}
	return places
}()

func (s *callSet) add(c *policies.TracedCall) {
	if c != nil {
		i := callPlaces[c.Name]
		s[i/64] |= 1 << (i % 64)
	}
}

func (s callSet) names() (list []string) {
	for i, c := range policies.Traced() {
		if s[i/64]>>(i%64)&1 != 0 {
			list = append(list, c.Name)
		}
	}
	return list
}

func newEntry(l *Log, p *Pending, key entryKey, c *pendingPath) *entry {
	e := &entry{first: time.Since(l.began), program: int32(p.program)}
	if p.inferred {
		e.flags |= flagInferred
	}
	if !c.follow && isPath(c.path) {
		e.flags |= flagNoFollow
	}
	if c.resolved && (len(c.look.via) > 0 || c.look.resolved != path.Clean(key.path)) {
		e.more = &details{resolved: c.look.resolved, via: c.look.via}
	}
	return e
}

// detail returns the entry's details, made if there are none.
func (e *entry) detail() *details {
	if e.more == nil {
		e.more = &details{}
	}
	return e.more
}

// merge adds what another entry of the same key has.
func (e *entry) merge(other *entry) {
	e.count += other.count
	e.flags |= other.flags
	for i := range e.calls {
		e.calls[i] |= other.calls[i]
	}
	if other.first < e.first {
		e.first, e.program = other.first, other.program
	}
	if e.more == nil {
		e.more = other.more
	}
}

// access is the entry as the audit has it, without owners.
func (e *entry) access(key entryKey) audit.Access {
	a := audit.Access{Op: key.op, Path: key.path, Errno: int(key.errno), Inferred: e.flags&flagInferred != 0, Verdict: e.verdict,
		Count: e.count, First: e.first, Process: int(e.program), Calls: e.calls.names()}
	if key.op == policies.OpCall {
		a.Path, a.Calls = "", []string{key.path}
	}
	if e.flags&flagNoFollow != 0 {
		a.Flags = append(a.Flags, "nofollow")
	}
	if e.flags&flagImplicit != 0 {
		a.Flags = append(a.Flags, "implicit")
	}
	if e.flags&flagNoise != 0 {
		a.Flags = append(a.Flags, audit.FlagNoise)
	}
	if m := e.more; m != nil {
		a.Via, a.Reason, a.Host = m.via, m.reason, m.host
		if m.resolved != path.Clean(key.path) {
			a.Resolved = m.resolved
		}
	}
	return a
}

// compareKeys is the order of the audit: operation, path, outcome.
func compareKeys(a, b entryKey) int {
	if c := strings.Compare(string(a.op), string(b.op)); c != 0 {
		return c
	}
	if c := strings.Compare(a.path, b.path); c != 0 {
		return c
	}
	return int(a.errno) - int(b.errno)
}

func sortedKeys(entries map[entryKey]*entry) []entryKey {
	keys := make([]entryKey, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}
