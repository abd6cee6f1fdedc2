package trace

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Difference is what only one of two runs did. Its lists are sorted, and nil where there is nothing.
type Difference struct {
	OnlyA Side `json:"only_a"`
	OnlyB Side `json:"only_b"`
}

// Side is what one run did and the other did not.
type Side struct {
	Accesses  []Access  `json:"accesses,omitempty"`
	Processes []Process `json:"processes,omitempty"`
}

// Access is a file operation as it is compared. Outcome is the name of an errno, "ok" for success.
type Access struct {
	Op      policies.Operation `json:"op"`
	Path    string             `json:"path"`
	Outcome string             `json:"outcome"`
	Verdict policies.Verdict   `json:"verdict"`
}

// Process is a command as it is compared, with names below /tmp and /var/tmp that are not in a store as "*", and process ids of its run as "<pid>".
// Count is how many more of it this run had; it is at least 1. Executable is the file that it executed, of several equal ones
// that of the first; it is not compared, as links lead to one file by many names.
type Process struct {
	Argv       []string `json:"argv"`
	Cwd        string   `json:"cwd"`
	Executable string   `json:"executable,omitempty"`
	Count      int      `json:"count"`
}

// Compare tells the traces of two runs of one derivation apart: the sets of operation, path, outcome and verdict outside the
// jail's own areas, and the multisets of argument list and working directory. Times, counts, order and process ids are no part
// of a trace. prefixes are those of the stores that the runs used: what lies below one counts, also where that is below /tmp.
func Compare(a, b *audit.Audit, prefixes ...string) Difference {
	d := CompareProcesses(a, b, prefixes...)
	first, second := accesses(a, prefixes), accesses(b, prefixes)
	d.OnlyA.Accesses, d.OnlyB.Accesses = missing(first, second), missing(second, first)
	return d
}

// CompareProcesses is Compare without the accesses: whether the same commands were run.
func CompareProcesses(a, b *audit.Audit, prefixes ...string) Difference {
	first, second := newRun(a, prefixes), newRun(b, prefixes)
	cancel(&first, &second)
	return Difference{OnlyA: Side{Processes: first.rest()}, OnlyB: Side{Processes: second.rest()}}
}

// Equal reports whether nothing differs.
func (d Difference) Equal() bool { return d.OnlyA.empty() && d.OnlyB.empty() }

func (s Side) empty() bool { return len(s.Accesses)+len(s.Processes) == 0 }

// Lines shows the difference, one thing a line: "-" is only in the first run, "+" only in the second.
func (d Difference) Lines() []string {
	return append(d.OnlyA.lines("-"), d.OnlyB.lines("+")...)
}

func (s Side) lines(sign string) (list []string) {
	for _, p := range s.Processes {
		times := ""
		if p.Count > 1 {
			times = fmt.Sprintf(" (%d times)", p.Count)
		}
		list = append(list, fmt.Sprintf("%s process %s  in %s%s", sign, strings.Join(p.Argv, " "), p.Cwd, times))
	}
	for _, a := range s.Accesses {
		list = append(list, fmt.Sprintf("%s %s %s %s  %s", sign, a.Verdict, a.Op, a.Path, a.Outcome))
	}
	return list
}

// own are the areas that every jail has of its own. What a build makes there is its result, and compared as such.
var own = []string{"/build", "/.hdjail", "/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp"}

// accesses is the set that counts of a run.
func accesses(a *audit.Audit, prefixes []string) map[Access]bool {
	areas := areasOf(a, prefixes)
	set := make(map[Access]bool, len(a.Accesses))
	for i := range a.Accesses {
		x := &a.Accesses[i]
		p := x.Path
		if strings.HasPrefix(p, "/") {
			p = path.Clean(p)
		}
		if areas.own(p) {
			if p = x.Resolved; p == "" || areas.own(p) { // a name of its own may lead elsewhere
				continue
			}
		}
		set[Access{x.Op, p, cmp.Or(audit.ErrnoName(x.Errno), "ok"), x.Verdict}] = true
	}
	return set
}

// areas tell which paths of a run lie in the jail's own areas, and which in a store, whose prefix may lie in one of these.
type areas struct {
	derivation string
	prefixes   []string
}

// areasOf adds the prefixes that the record itself names by its dependencies: their public paths are PREFIX/store/NAME.
func areasOf(a *audit.Audit, prefixes []string) areas {
	prefixes = slices.Clone(prefixes)
	for _, dependency := range a.Header.Whitelist.Dependencies {
		if store := path.Dir(dependency); path.Base(store) == "store" {
			prefixes = append(prefixes, path.Dir(store))
		}
	}
	slices.Sort(prefixes)
	return areas{a.Header.Derivation, slices.Compact(prefixes)}
}

// own reports whether a path lies in the jail's own areas, of which the artifact of the derivation is one.
func (a areas) own(p string) bool {
	if a.derivation != "" && strings.Contains(p, "/store/"+a.derivation+"-") {
		return true
	}
	return !a.stored(p) && slices.ContainsFunc(own, func(dir string) bool { return below(p, dir) })
}

// stored reports whether a path lies below the prefix of a store.
func (a areas) stored(p string) bool {
	p = path.Clean(p)
	return slices.ContainsFunc(a.prefixes, func(prefix string) bool { return prefix != "" && below(p, path.Clean(prefix)) })
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// missing lists what a set has and the other lacks.
func missing(set, other map[Access]bool) (list []Access) {
	for a := range set {
		if !other[a] {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(x, y Access) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Op, y.Op), cmp.Compare(x.Outcome, y.Outcome), cmp.Compare(x.Verdict, y.Verdict))
	})
	return list
}
