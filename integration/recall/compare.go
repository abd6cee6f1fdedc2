package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// key is what event and path recall count.
type key struct{ op, path string }

// counts are how often each outcome was seen of one key.
type counts map[string]int

func (c counts) sum() (n int) {
	for _, count := range c {
		n += count
	}
	return n
}

// difference is one entry on which the two sides differ.
type difference struct {
	what  string // the measure that it spoils
	count int
	text  string
}

// result is the comparison of one trace and one audit.
type result struct {
	// events are how many strace saw, matched how many of them the audit has; agreed those with the same outcome, of compared.
	events, matched, agreed, compared int
	unique, uniqueMatched             int
	// outside are strace's keys outside the whitelist that exist on the host.
	outside, outsideMatched int
	// judged are keys of which both sides have an opinion.
	judged, sameVerdict int
	// attributed are the entries of which the audit names the process, rightly those where that process did it.
	attributed, rightly int
	// explained and unexplained are entries of the audit that strace lacks, or has less often.
	explained, unexplained int
	unreadable, odd        int // accesses of the audit without a path, and with one not in normal form
	differences            []difference
}

// comparison holds both sides.
type comparison struct {
	judge  *judge
	theirs map[key]counts
	opens  map[key]int // with an unknown outcome
	empty  map[key]int // with an empty path
	// expected are the verdicts of each key and outcome by the referee: any of them will do.
	expected map[key]map[string][]string
	actors   map[key]map[actor]bool
	ours     map[key]map[string]*access
	result   result
}

// compare judges an audit by what strace saw.
func compare(seen []entry, d *document, j *judge) result {
	c := &comparison{judge: j, theirs: map[key]counts{}, opens: map[key]int{}, empty: map[key]int{}, expected: map[key]map[string][]string{}, actors: map[key]map[actor]bool{},
		ours: map[key]map[string]*access{}}
	for _, e := range seen {
		c.addTheirs(e)
	}
	for _, a := range d.Accesses {
		c.addOurs(a)
	}
	for k, outcomes := range c.theirs {
		c.recall(k, outcomes)
	}
	for k, outcomes := range c.ours {
		for errno, a := range outcomes {
			c.precision(k, errno, a)
		}
	}
	slices.SortFunc(c.result.differences, func(a, b difference) int {
		return cmp.Or(strings.Compare(a.what, b.what), b.count-a.count, strings.Compare(a.text, b.text))
	})
	return c.result
}

func (c *comparison) addTheirs(e entry) {
	k := key{e.op, e.path}
	if e.empty {
		c.empty[k]++
		return
	}
	if c.theirs[k] == nil {
		c.theirs[k], c.expected[k], c.actors[k] = counts{}, map[string][]string{}, map[actor]bool{}
	}
	c.actors[k][e.by] = true
	if e.open {
		c.opens[k]++
		return
	}
	c.theirs[k][e.errno]++
	for _, verdict := range c.judge.verdicts(e) {
		if !slices.Contains(c.expected[k][e.errno], verdict) {
			c.expected[k][e.errno] = append(c.expected[k][e.errno], verdict)
		}
	}
}

func (c *comparison) addOurs(a *access) {
	if a.Verdict == "unknown" {
		c.result.unreadable += a.Count
		return
	}
	if a.Path == "" {
		return // a refused call without a path
	}
	k := key{a.Op, a.Path}
	if strings.HasPrefix(a.Path, "/") {
		k.path = normal(a.Path, 0)
		if k.path != strings.TrimSuffix(a.Path, "/") && a.Path != "/" {
			c.result.odd++
			c.differ("normal form", a.Count, a.Op+" "+quote(a.Path))
		}
	}
	if c.ours[k] == nil {
		c.ours[k] = map[string]*access{}
	}
	if first := c.ours[k][a.errno()]; first != nil {
		first.Count += a.Count
		return
	}
	copied := *a
	c.ours[k][a.errno()] = &copied
}

// recall compares one key of strace's.
func (c *comparison) recall(k key, outcomes counts) {
	r := &c.result
	total, have := outcomes.sum()+c.opens[k], 0
	mine := c.ours[k]
	for _, a := range mine {
		have += a.Count
	}
	r.events += total
	r.matched += min(total, have)
	if outcomes.sum() > 0 {
		r.unique++
		if have > 0 {
			r.uniqueMatched++
		} else {
			c.differ("missing path", total, describe(k, outcomes))
		}
	}
	if 0 < have && have < total {
		c.differ("missing events", total-have, describe(k, outcomes))
	}
	same := 0
	for errno, count := range outcomes {
		a := mine[errno]
		if a != nil {
			same += min(count, a.Count)
		}
		c.verdict(k, errno, count, a)
		c.actor(k, a)
	}
	comparable := min(outcomes.sum(), have)
	r.compared += comparable
	r.agreed += min(same, comparable)
	if same < comparable {
		c.differ("outcome", comparable-same, describe(k, outcomes)+" here "+describe(k, c.counted(k)))
	}
}

// verdict compares the judgement of one key and outcome.
func (c *comparison) verdict(k key, errno string, count int, a *access) {
	r := &c.result
	want := c.expected[k][errno]
	if len(want) == 1 && (want[0] == "leaked" || want[0] == "hidden") {
		r.outside++
		if a != nil || len(c.ours[k]) > 0 {
			r.outsideMatched++
		} else {
			c.differ("missing outside", count, want[0]+" "+describe(k, counts{errno: count}))
		}
	}
	if a == nil || len(want) == 0 {
		return
	}
	r.judged++
	if slices.Contains(want, a.Verdict) {
		r.sameVerdict++
		return
	}
	c.differ("verdict", count, a.Verdict+" instead of "+strings.Join(want, " or ")+": "+describe(k, counts{errno: count}))
}

// actor compares who is said to have made an access first with all that made it.
func (c *comparison) actor(k key, a *access) {
	if a == nil || a.Process == nil || a.stracesOwn() || a.kernels() {
		return
	}
	c.result.attributed++
	for by := range c.actors[k] {
		if by.pid == 0 || by.pid == a.Process.PID && (by.exe == "" || by.exe == a.Process.Exe) {
			c.result.rightly++
			return
		}
	}
	c.differ("process", a.Count, fmt.Sprintf("%s %s is said to be of %d %s, but is of %v", k.op, quote(k.path), a.Process.PID, a.Process.Exe, c.actors[k]))
}

// fewOfStrace bounds how often strace itself may have done what a build does too: it loads the same libraries, and its
// child looks for the command.
const fewOfStrace = 4

// precision looks at one entry of the audit that strace may lack.
func (c *comparison) precision(k key, errno string, a *access) {
	extra := a.Count - c.theirs[k][errno]
	if errno == "ENOENT" {
		extra -= c.empty[k]
	}
	if total := c.counted(k).sum() - c.theirs[k].sum() - c.opens[k]; extra > total {
		extra = total // another outcome of the same event, which is counted there
	}
	if extra <= 0 {
		return
	}
	stracesOwn := a.stracesOwn() && (extra <= fewOfStrace || c.theirs[k].sum() == 0 || strings.HasPrefix(k.path, "/proc/<pid>"))
	// It prints times, for which its C library asks for the zone, at any time.
	zone := k.path == "/etc/localtime" || strings.HasPrefix(k.path, "/usr/share/zoneinfo/")
	if stracesOwn || zone && extra <= c.theirs[k].sum() || a.kernels() || k.op == "readlink" && strings.HasPrefix(k.path, "/proc/<pid>/") {
		c.result.explained++
		return
	}
	c.result.unexplained++
	c.differ("unexplained", extra, describe(k, counts{errno: a.Count})+", strace has "+describe(k, c.theirs[k])+" "+strings.Join(a.Calls, ","))
}

func (c *comparison) counted(k key) counts {
	all := counts{}
	for errno, a := range c.ours[k] {
		all[errno] = a.Count
	}
	return all
}

func (c *comparison) differ(what string, count int, text string) {
	c.result.differences = append(c.result.differences, difference{what, count, text})
}
