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

// Process is a command as it is compared, with names below /tmp and /var/tmp as "*" and process ids of its run as "<pid>".
// Count is how many more of it this run had; it is at least 1.
type Process struct {
	Argv  []string `json:"argv"`
	Cwd   string   `json:"cwd"`
	Count int      `json:"count"`
}

// Compare tells the traces of two runs of one derivation apart: the sets of operation, path, outcome and verdict outside the
// jail's own areas, and the multisets of argument list and working directory. Times, counts, order and process ids are no part
// of a trace.
func Compare(a, b *audit.Audit) Difference {
	d := CompareProcesses(a, b)
	first, second := accesses(a), accesses(b)
	d.OnlyA.Accesses, d.OnlyB.Accesses = missing(first, second), missing(second, first)
	return d
}

// CompareProcesses is Compare without the accesses: whether the same commands were run.
func CompareProcesses(a, b *audit.Audit) Difference {
	first, second := newRun(a), newRun(b)
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
func accesses(a *audit.Audit) map[Access]bool {
	set := make(map[Access]bool, len(a.Accesses))
	for i := range a.Accesses {
		x := &a.Accesses[i]
		p := x.Path
		if strings.HasPrefix(p, "/") {
			p = path.Clean(p)
		}
		if inOwn(p, a.Header.Derivation) {
			if p = x.Resolved; p == "" || inOwn(p, a.Header.Derivation) { // a name of its own may lead elsewhere
				continue
			}
		}
		set[Access{x.Op, p, cmp.Or(audit.ErrnoName(x.Errno), "ok"), x.Verdict}] = true
	}
	return set
}

// inOwn reports whether a path lies in the jail's own areas, of which the artifact of the derivation is one.
func inOwn(p, derivation string) bool {
	if derivation != "" && strings.Contains(p, "/store/"+derivation+"-") {
		return true
	}
	return slices.ContainsFunc(own, func(dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
}

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
