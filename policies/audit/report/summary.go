package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// SummaryOptions say how large a summary may be.
type SummaryOptions struct {
	// Lines is how many there may be: 25 for 0, and never less than 12.
	Lines int
	// Width is how long a line may be, in characters; 0 for as long as it is.
	Width int
	// Name is how `hdjail audit` is told which audit this is; without one no next commands are named.
	Name string
}

const (
	summaryLines = 25
	summaryLeast = 12
	// summaryItems is how many entries of one kind a summary lists, if there is room.
	summaryItems = 6
)

// Summary says in a few lines what matters in an audit: how it ended, whether the record is whole, the verdicts, what was
// wanted of each package outside the whitelist, what is unknown or was denied, and what to do next.
func Summary(a *audit.Audit, o SummaryOptions) []string {
	x := newIndex(a)
	limit := max(cmp.Or(o.Lines, summaryLines), summaryLeast)
	lines := x.head()
	if o.Name != "" {
		limit--
	}
	packages, others := x.blocks()
	lines = append(lines, fit(packages, others, limit-len(lines))...)
	for i, line := range lines {
		if lines[i] = Escape(line); o.Width > 0 {
			lines[i] = shorten(lines[i], o.Width)
		}
	}
	if o.Name != "" {
		lines = append(lines, Escape(x.next(o.Name))) // whole: half a command is none
	}
	return lines
}

// head is at most five lines.
func (x *index) head() []string {
	h := x.Header
	name := cmp.Or(commandLine(h.Command), h.Name, "a run")
	lines := []string{fmt.Sprintf("%s: mode %s, exit %d, %s", shorten(name, 60), h.Mode, h.Exit, Seconds(h.Duration)), x.record()}
	if !h.Complete {
		reasons := strings.Join(h.IncompleteReasons, "; ")
		lines = append(lines, "the record is not complete: "+cmp.Or(reasons, "no reason is given"))
	}
	if missing := slices.Concat(h.Enforced.Missing, h.Degradations); len(missing) > 0 {
		lines = append(lines, "not enforced: "+strings.Join(missing, ", "))
	}
	var counts []string
	for _, v := range policies.Verdicts() {
		counts = append(counts, fmt.Sprintf("%d %s", h.Counters.Verdicts[v], v))
	}
	return append(lines, strings.Join(counts, ", "))
}

// record says who watched, and how much was seen.
func (x *index) record() string {
	h := x.Header
	if len(h.Observers) == 0 {
		return "nothing was recorded: no observer ran"
	}
	var names []string
	for _, o := range h.Observers {
		names = append(names, o.Name)
	}
	line := fmt.Sprintf("%s, %d distinct, by %s, recorded by %s", plural(h.Counters.Events, "access"), h.Counters.Unique,
		plural(len(x.Processes), "process"), strings.Join(names, " and "))
	if h.Complete {
		line += "; the record is complete"
	}
	if h.Counters.Lost > 0 {
		line += fmt.Sprintf("; %d lost", h.Counters.Lost)
	}
	return line
}

// next names commands that show more. A path that cannot be typed as it is, or is long, is not proposed.
func (x *index) next(name string) string {
	command := "hdjail audit " + commandLine([]string{name})
	line := "next: " + command + " --html audit.html"
	if first := x.worst(); first != nil && len(first.Path) <= 100 && Escape(first.Path) == first.Path {
		line += "    " + command + " --explain " + commandLine([]string{first.Path})
	}
	return line
}

// worst is the first access of those that matter most, nil if nothing has to be looked at or it has no path.
func (x *index) worst() (found *audit.Access) {
	for i, a := range x.Accesses {
		if slices.Contains(Reported(), a.Verdict) && a.Path != "" && (found == nil || severity(a.Verdict) < severity(found.Verdict)) {
			found = &x.Accesses[i]
		}
	}
	return found
}

// block is a line with further ones beneath it.
type block struct {
	head  string
	items []string
	shown int
}

// blocks are what was wanted of each package, then what belongs to none, is unknown or was denied, then what happened.
func (x *index) blocks() (packages, others []block) {
	owned := map[audit.Owner][]audit.Access{}
	var unowned, unknown, denied []audit.Access
	for _, a := range x.Accesses {
		switch {
		case a.Verdict == policies.Unknown:
			unknown = append(unknown, a)
		case a.Verdict == policies.Denied:
			denied = append(denied, a)
		case !a.Outside():
		case len(a.Owners) == 0:
			unowned = append(unowned, a)
		default:
			owner := audit.Owner{Package: a.Owners[0].Package, Version: a.Owners[0].Version}
			owned[owner] = append(owned[owner], a)
		}
	}
	for owner, accesses := range owned {
		packages = append(packages, x.block(x.wanted(owner), accesses))
	}
	slices.SortFunc(packages, func(a, b block) int {
		return cmp.Or(cmp.Compare(len(b.items), len(a.items)), cmp.Compare(a.head, b.head))
	})
	for _, more := range []struct {
		head     string
		accesses []audit.Access
	}{{"outside the whitelist, of no package", unowned}, {"unknown", unknown}, {"denied", denied}} {
		if len(more.accesses) > 0 {
			others = append(others, x.block(more.head, more.accesses))
		}
	}
	if len(x.Events) > 0 {
		b := block{head: "what else happened: " + plural(len(x.Events), "event")}
		for _, e := range x.Events {
			b.items = append(b.items, strings.TrimSpace(fmt.Sprintf("%s at %s  %s %s", e.Name, Seconds(e.Time), e.Path, e.Detail)))
		}
		others = append(others, b)
	}
	return packages, others
}

func (x *index) wanted(owner audit.Owner) string {
	if x.whitelisted[owner.Package] {
		return PackageName(owner) + ", whitelisted, but not with these files"
	}
	return PackageName(owner) + ", outside the whitelist"
}

// block lists each path once, with the access that matters most; those that matter most, and were first, come first.
func (x *index) block(head string, accesses []audit.Access) block {
	accesses = slices.Clone(accesses)
	slices.SortStableFunc(accesses, func(a, b audit.Access) int {
		return cmp.Or(cmp.Compare(severity(a.Verdict), severity(b.Verdict)), cmp.Compare(a.First, b.First), cmp.Compare(a.Path, b.Path))
	})
	b, seen := block{}, map[string]bool{}
	for _, a := range accesses {
		if seen[place(a)] {
			continue
		}
		seen[place(a)] = true
		b.items = append(b.items, x.item(a))
	}
	b.head = head + ": " + plural(len(b.items), "path")
	return b
}

func (x *index) item(a audit.Access) string {
	text := fmt.Sprintf("%-7s %-8s %s  %s", a.Verdict, a.Op, shorten(Escape(place(a)), 90), x.by(a))
	if a.Verdict == policies.Denied {
		text += "  " + outcome(a)
	}
	if a.Reason != "" {
		text += "  (" + shorten(a.Reason, 60) + ")"
	}
	return text
}

// fit shows as much as the limit allows: all heads before the first item, and packages are left out before anything else.
func fit(packages, others []block, limit int) []string {
	var left []string
	if over := len(packages) + len(others) - limit; over > 0 {
		keep := max(0, len(packages)-over-1)
		left = []string{fmt.Sprintf("and %d more packages", len(packages)-keep)}
		packages = packages[:keep]
	}
	room := limit - len(packages) - len(left) - len(others)
	blocks := slices.Concat(packages, others)
	share(blocks, room)
	return slices.Concat(show(blocks[:len(packages)]), left, show(blocks[len(packages):]))
}

// share gives each block its share of the room for items, one after the other.
func share(blocks []block, room int) {
	for given := true; given && room > 0; {
		given = false
		for i := range blocks {
			if b := &blocks[i]; room > 0 && b.shown < min(len(b.items), summaryItems) {
				b.shown++
				room--
				given = true
			}
		}
	}
}

// show is each block's head, with as many items as it has a share; the last one says how many more there are.
func show(blocks []block) (lines []string) {
	for _, b := range blocks {
		lines = append(lines, b.head)
		for _, item := range b.items[:b.shown] {
			lines = append(lines, "  "+item)
		}
		if more := len(b.items) - b.shown; more > 0 && b.shown > 0 {
			lines[len(lines)-1] += fmt.Sprintf("  and %d more", more)
		}
	}
	return lines
}
