package observe

import (
	"sync"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// usuals are calls that a jail makes again and again with one outcome: look-ups of absolute paths in places that it cannot
// change. Compilers ask for the same directories thousands of times. What is found here is counted at once.
type usuals struct {
	mu    sync.RWMutex
	known map[usualKey]*entry
}

// usualKey is a call as it was made. wants holds the arguments that decide the outcome.
type usualKey struct {
	call  *policies.TracedCall
	wants uint64
	path  string
}

// maxUsuals bounds what is remembered.
const maxUsuals = 16_000

// find looks the call up, and notes whether it may be learnt when it is not known.
func (u *usuals) find(p *Pending) bool {
	if p.usualOK = p.mayBeUsual(); !p.usualOK {
		return false
	}
	u.mu.RLock()
	p.usual = u.known[usualKey{p.call.Traced, p.wants(), string(p.first.text)}]
	u.mu.RUnlock()
	return p.usual != nil
}

// mayBeUsual reports whether the call, as far as it is read, is one that could be known.
func (p *Pending) mayBeUsual() bool {
	if p.call.Traced == nil || p.call.Refused != 0 || p.call.Told || len(p.first.text) == 0 || p.first.text[0] != '/' {
		return false
	}
	switch p.call.Traced.Kind {
	case policies.KindStat, policies.KindAccess, policies.KindReadlink, policies.KindStatfs:
	case policies.KindOpen:
		if p.openFlags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC|unix.O_TMPFILE&^unix.O_DIRECTORY) != unix.O_RDONLY {
			return false
		}
	default:
		return false
	}
	return p.flags < 1<<16 && p.mode() < 1<<16
}

// mode is the argument with R_OK and the like, which the kernel looks at as an int.
func (p *Pending) mode() uint64 { return p.call.arg(p.call.Traced.Mode) & 0xffffffff }

// wants are the arguments that decide the outcome of a call that may be usual; none of them reaches into another.
func (p *Pending) wants() uint64 { return p.openFlags | p.flags<<32 | p.mode()<<48 }

// learn remembers a call with its entry, of which it was counted. An entry that has gone to disk meanwhile is not learnt.
func (l *Log) learn(p *Pending, c *pendingPath, e *entry) {
	if !p.usualOK || p.n != 1 || c.unreadable != "" || !c.resolved || !c.look.stays {
		return
	}
	u := &l.usuals
	u.mu.RLock()
	full := len(u.known) >= maxUsuals
	u.mu.RUnlock()
	if full {
		return
	}
	key := entryKey{op: c.op, errno: p.errno, path: string(c.path)}
	s := &l.shards[key.hash()%shardCount]
	s.mu.Lock()
	there := s.entries[key] == e
	if there {
		e.flags |= flagUsual
	}
	s.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if there {
		u.known[usualKey{p.call.Traced, p.wants(), string(p.first.text)}] = e
	}
}
