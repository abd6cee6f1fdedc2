package observe

import (
	"path"
	"sync"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// facts gathers what the verdict of a new entry depends on, but for the host's answer.
func (l *Log) facts(p *Pending, key entryKey, c *pendingPath) policies.Facts {
	f := policies.Facts{Op: key.op, Errno: key.errno, Unreadable: c.unreadable, Refused: p.call.Refused != 0, NoFollow: !c.follow || p.resolve != 0,
		Visible: c.resolved && c.look.errno == 0}
	if p.resolve != 0 && c.resolved && !f.Visible {
		f.Visible = l.view.at(c.path, p.call.TID, c.follow).errno == 0
	}
	switch {
	case f.Unreadable != "" || key.op == policies.OpCall:
	case !isPath(c.path): // the name of a socket: an address is the jail's own
		f.Whitelisted, f.Own = c.path[0] != '@', c.path[0] != '@'
	default:
		l.place(&f, c)
	}
	return f
}

// place finds where the path leads, and what that means.
func (l *Log) place(f *policies.Facts, c *pendingPath) {
	where := c.look.resolved
	if !c.resolved {
		where = path.Clean(string(c.path))
	}
	a := l.view.areas.of(where)
	f.Own = a.kind == areaOwn || a.host
	f.Covered = a.kind == areaCovered
	f.Whitelisted = l.whitelisted(f, where, a)
	for _, hop := range c.look.via {
		f.Whitelisted = f.Whitelisted && l.whitelisted(f, hop, l.view.areas.of(hop))
	}
	f.Ruled = policies.MatchPath(l.options.Rules, f.Op, where)
	if f.Op == policies.OpList && f.Whitelisted && a.kind == areaHost {
		f.Partial = l.partial(where)
	}
}

// whitelisted says whether one path without links is inside the whitelist.
func (l *Log) whitelisted(f *policies.Facts, where string, a area) bool {
	switch a.kind {
	case areaOwn, areaListed:
		return true
	case areaCovered:
		return false
	case areaSkeleton:
		return l.options.Mode.Contains() || l.view.areas.leads(where)
	}
	if l.options.Whitelist != nil && l.options.Whitelist.Has(where) {
		return true
	}
	return f.Op.IsLookUp() && l.view.areas.leads(where)
}

// maxEntries bounds how much of a directory is compared with the whitelist.
const maxEntries = 10_000

// partial reports whether a directory of the host shows something outside the whitelist.
func (l *Log) partial(dir string) bool {
	for _, name := range l.view.entries(dir, maxEntries) {
		p := path.Join(dir, name)
		if a := l.view.areas.of(p); a.kind == areaHost && !l.options.Whitelist.Has(p) {
			return true
		}
	}
	return false
}

// decide judges an entry, whose shard is locked.
func (l *Log) decide(key entryKey, e *entry, f policies.Facts, host *audit.HostFile) {
	var reason string
	e.verdict, reason = policies.Classify(f)
	if f.Ruled == policies.RuleNoise && e.verdict.Outside() {
		e.flags |= flagNoise
		reason = "noise, by a rule"
	}
	if reason != "" {
		e.detail().reason = reason
	}
	if host != nil {
		e.detail().host = host
	}
}

// asking asks the host about entries, apart from those who saw them: the host may be slow.
type asking struct {
	log     *Log
	queue   chan question
	workers sync.WaitGroup
}

type question struct {
	key entryKey
	e   *entry
	f   policies.Facts
}

// askers is how many questions are open at once, and askQueue how many wait before those who see calls wait, too.
const (
	askers   = 2
	askQueue = 4096
)

func newAsking(l *Log) *asking {
	a := &asking{log: l, queue: make(chan question, askQueue)}
	for range askers {
		a.workers.Go(func() {
			for q := range a.queue {
				a.answer(q)
			}
		})
	}
	return a
}

func (a *asking) ask(key entryKey, e *entry, f policies.Facts) { a.queue <- question{key, e, f} }

func (a *asking) answer(q question) {
	where := q.key.path
	s := &a.log.shards[q.key.hash()%shardCount]
	s.mu.Lock()
	if m := q.e.more; m != nil && m.resolved != "" {
		where = m.resolved
	}
	s.mu.Unlock()
	if isPath([]byte(where)) {
		where = path.Clean(where)
	}
	answer, file := a.log.options.Host.Ask(where, !q.f.NoFollow)
	q.f.Host = answer
	s.mu.Lock()
	a.log.decide(q.key, q.e, q.f, file)
	s.mu.Unlock()
}

// wait returns when every question is answered; none may come after it.
func (a *asking) wait() {
	close(a.queue)
	a.workers.Wait()
}
