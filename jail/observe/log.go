package observe

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/mounts"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Host answers what the host has at a path that the jail does not show, or whether it has a socket whose name begins with
// "@"; *Lookups is one. Safe for concurrent use.
type Host interface {
	Ask(path string, follow bool) (policies.HostAnswer, *audit.HostFile)
}

// Whitelist tells which paths of the host the packages of a whitelist have. Paths are absolute, clean, and without links.
// Safe for concurrent use.
type Whitelist interface {
	Has(path string) bool
}

// Options are what a Log needs to judge. Host is required.
type Options struct {
	Mode  policies.Mode
	Table mounts.Table
	// Paths are the host paths that were asked for by name.
	Paths []string
	// Whitelist is for modes that show more than it; nil for an empty one.
	Whitelist Whitelist
	Host      Host
	// Rules are those of the site.
	Rules []policies.PathRule
	// Spill makes a file for what does not fit into memory; the Log removes nothing.
	Spill func() (Temporary, error)
}

// Scene is a jail that stands, before its command runs.
type Scene struct {
	// Init is the pid of the jail's first process, outside.
	Init int
	// UID and GID are what files of the jail's user show outside; All tells that modes do not bind it.
	UID, GID int
	All      bool
	// Terminal tells that the jail has a terminal.
	Terminal bool
	// Canaries are paths that only hdjail's own probes ask for, each as often as it says.
	Canaries map[string]int
}

// Log takes the calls of one jail and makes its record. Begin and End may be called by several goroutines, with a Pending
// each; Open comes before them and Close after.
type Log struct {
	options   Options
	began     time.Time
	view      *view
	processes *processes
	canaries  map[string]*canary

	shards [shardCount]shard
	usuals usuals
	unique atomic.Int64
	asking *asking
	spill  spill
	keys   []entryKey // of what is in memory, sorted, once the record is closed

	aborted   atomic.Int64
	mu        sync.Mutex
	reasons   []string
	events    []audit.Event
	observers []audit.Observer
}

type canary struct {
	sent int
	seen atomic.Int64
}

// shardCount is how many locks the entries are divided among.
const shardCount = 16

type shard struct {
	mu      sync.Mutex
	entries map[entryKey]*entry
	_       [40]byte // a line of the processor's cache of its own
}

// NewLog returns a Log that has seen nothing. Times in the record count from began.
func NewLog(o Options, began time.Time) *Log {
	l := &Log{options: o, began: began, canaries: map[string]*canary{}, usuals: usuals{known: map[usualKey]*entry{}}}
	for i := range l.shards {
		l.shards[i].entries = map[entryKey]*entry{}
	}
	return l
}

// Restart forgets everything that a jail's observer has brought so far: it could not work, and the jail starts again with
// another one. It comes after Close.
func (l *Log) Restart() {
	if l.processes != nil {
		l.processes.close()
	}
	*l = *NewLog(l.options, l.began)
}

// Open looks at the jail. It is called once, before the first call.
func (l *Log) Open(s Scene) error {
	proc, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	root, err := unix.Openat(proc, strconv.Itoa(s.Init)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(proc)
		return fmt.Errorf("open the root of the jail: %w", err)
	}
	l.view = &view{root: root, proc: proc, areas: newAreas(l.options.Table, l.options.Mode, l.options.Paths),
		ids: ids{uid: uint32(s.UID), gid: uint32(s.GID), all: s.All}, known: map[lookKey]look{}, headers: map[string][]byte{}, terminal: s.Terminal}
	l.processes = newProcesses(proc, s.Init, l.began)
	for name, sent := range s.Canaries {
		l.canaries[name] = &canary{sent: sent}
	}
	l.asking = newAsking(l)
	return nil
}

// Observed names an observer that watches.
func (l *Log) Observed(o audit.Observer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observers = append(l.observers, o)
}

// Incomplete says that something may be missing from the record, and why.
func (l *Log) Incomplete(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.reasons, reason) {
		l.reasons = append(l.reasons, reason)
	}
}

// Event adds an event of the run.
func (l *Log) Event(name, path, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, audit.Event{Name: name, Path: path, Detail: detail, Time: time.Since(l.began)})
}

// Begin reads what a call names and infers how it will end. The caller waits meanwhile.
func (l *Log) Begin(p *Pending, c Call) {
	p.start(c, l.view.proc)
	p.task, p.program = l.processes.at(c.TID)
	p.inferred = c.Refused == 0
	if l.usuals.find(p) {
		return
	}
	p.decode()
	for i := range p.n {
		errno := c.Refused
		if path := &p.paths[i]; errno == 0 {
			errno = l.view.infer(p, i)
		} else if path.unreadable == "" && isPath(path.path) {
			path.look, path.resolved = l.view.at(path.path, c.TID, path.follow), true
		}
		if errno != 0 { // of two paths the second decides
			p.errno = errno
		}
	}
	// Before the answer, as the next call may be the new program's, and another goroutine may have it.
	if !c.Told && p.executes() {
		l.processes.execute(p)
	}
}

// executes reports whether the task goes on with another program, as far as is known.
func (p *Pending) executes() bool {
	return p.n > 0 && p.call.Traced.Kind == policies.KindExec && p.errno == 0
}

// End takes in a call that was answered. valid is false when the caller had gone meanwhile, so that what was read may be
// another's.
func (l *Log) End(p *Pending, valid bool) {
	if !valid {
		l.aborted.Add(1)
		if !p.call.Told && p.usual == nil && p.executes() {
			l.processes.abandon(p)
		}
		return
	}
	if p.usual != nil {
		atomic.AddInt64(&p.usual.count, 1)
		return
	}
	if p.n == 0 {
		if p.call.Refused != 0 {
			l.count(p, entryKey{op: policies.OpCall, errno: p.errno, path: p.call.Name}, &pendingPath{})
		}
		return
	}
	for i := range p.n {
		c := &p.paths[i]
		e := l.take(p, c, c.op)
		if c.also != "" {
			l.take(p, c, c.also)
		} else if e != nil {
			l.learn(p, c, e)
		}
	}
	for i := range p.implicit {
		opened := &p.implicit[i]
		l.count(p, entryKey{op: policies.OpExec, errno: opened.errno, path: opened.path},
			&pendingPath{path: []byte(opened.path), look: opened.look, follow: true, resolved: true, implicit: true})
	}
	if p.call.Told && p.executes() {
		l.processes.execute(p)
	}
}

// EndKnown is End where the kernel's answer is known. For an exec that went well it is called while the task is stopped, with
// the new program in place.
func (l *Log) EndKnown(p *Pending, errno syscall.Errno) {
	p.errno, p.inferred = errno, false
	l.End(p, true)
}

// Born looks at a process that has just been made, while the one that made it waits. An observer that sees this calls it, so
// that no process is an orphan.
func (l *Log) Born(pid int) { l.processes.born(pid) }

// take counts one path of a call, and returns its entry; nil for a canary.
func (l *Log) take(p *Pending, c *pendingPath, op policies.Operation) *entry {
	if c.unreadable == "" {
		if canary := l.canaries[string(c.path)]; canary != nil {
			if p.errno == unix.ENOENT {
				canary.seen.Add(1)
			}
			return nil
		}
	}
	return l.count(p, entryKey{op: op, errno: p.errno, path: ownPid(p, c.path)}, c)
}

// ownPid writes the caller's own pid below /proc as "self", and others as "<pid>".
func ownPid(p *Pending, name []byte) string {
	if len(name) < 7 || string(name[:6]) != "/proc/" || name[6] < '0' || name[6] > '9' {
		return string(name)
	}
	digits, rest, below := strings.Cut(string(name[6:]), "/")
	pid, err := strconv.Atoi(digits)
	if err != nil {
		return string(name)
	}
	who := "/proc/<pid>"
	if pid == p.task.group.pid {
		who = "/proc/self"
	}
	if below {
		who += "/" + rest
	}
	return who
}

// count adds an access to its entry. A new entry is judged, at once or when the host has answered.
func (l *Log) count(p *Pending, key entryKey, c *pendingPath) *entry {
	s := &l.shards[key.hash()%shardCount]
	s.mu.Lock()
	e := s.entries[key]
	fresh := e == nil
	var f policies.Facts
	if fresh {
		e = newEntry(l, p, key, c)
		s.entries[key] = e
		f = l.facts(p, key, c)
		if !f.NeedsHost() {
			l.decide(key, e, f, nil)
		}
	}
	atomic.AddInt64(&e.count, 1)
	e.calls.add(p.call.Traced)
	if c.implicit {
		e.flags |= flagImplicit
	}
	s.mu.Unlock()
	if !fresh {
		return e
	}
	if f.NeedsHost() {
		l.asking.ask(key, e, f)
	}
	if l.unique.Add(1) > spillAt {
		l.spillEntries()
	}
	return e
}

// Close ends the record: no task of the jail is left. It may be called for a Log that was never opened.
func (l *Log) Close() error {
	if l.view == nil {
		return nil
	}
	l.asking.wait()
	for name, canary := range l.canaries {
		if seen := canary.seen.Load(); int(seen) != canary.sent {
			l.Incomplete(fmt.Sprintf("of hdjail's own %d accesses of %s, %d are on record", canary.sent, name, seen))
		}
	}
	err := errors.Join(unix.Close(l.view.root), unix.Close(l.view.proc))
	l.view.root, l.view.proc = -1, -1
	return err
}
