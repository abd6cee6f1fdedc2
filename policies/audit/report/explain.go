package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Explanation is all that an audit knows of a path.
type Explanation struct {
	// Path is the one that was asked for; Exact tells that the entries are its own. Otherwise they are those of the paths
	// that are nearest to it, and none if nothing is near.
	Path    string
	Exact   bool
	Entries []Explained
	lines   *index
}

// Explained is an access with the reason for its verdict in words, and which entry of a whitelist would allow it, empty if
// none would or none is needed.
type Explained struct {
	Access audit.Access
	Why    string
	Allow  string
}

// Reasons returns a function that says in words why an access of the audit has its verdict, and which entry of a whitelist
// would allow it, empty if none would or none is needed. The words are not escaped.
func Reasons(a *audit.Audit) func(audit.Access) (why, allow string) { return newIndex(a).why }

// nearest is how many paths are shown in place of one that is not on record.
const nearest = 5

// Explain finds the accesses of a path: as it was typed, where the kernel ended, or as reports print it.
func Explain(a *audit.Audit, wanted string) Explanation {
	x := newIndex(a)
	e := Explanation{Path: wanted, Exact: true, lines: x}
	found := x.having(func(p string) bool { return p == wanted || Escape(p) == wanted })
	if len(found) == 0 {
		e.Exact = false
		found = x.near(wanted)
	}
	for _, access := range found {
		why, allow := x.why(access)
		e.Entries = append(e.Entries, Explained{access, why, allow})
	}
	return e
}

// having are the accesses one of whose paths is meant, those that matter most first.
func (x *index) having(meant func(string) bool) (found []audit.Access) {
	for _, a := range x.Accesses {
		if a.Path != "" && meant(a.Path) || a.Resolved != "" && meant(a.Resolved) {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b audit.Access) int {
		return cmp.Or(cmp.Compare(severity(a.Verdict), severity(b.Verdict)), cmp.Compare(a.First, b.First))
	})
	return found
}

// near finds what was meant by a path that is not on record: one that ends in it, what is beneath it, one with the same
// name or one that begins so, else what shares the deepest directory with it.
func (x *index) near(wanted string) []audit.Access {
	clean := path.Clean("/" + wanted)
	base, beneath := "/"+path.Base(clean), strings.TrimSuffix(clean, "/")+"/"
	for _, meant := range []func(string) bool{
		func(p string) bool { return strings.HasSuffix(p, clean) },
		func(p string) bool { return strings.HasPrefix(p, beneath) },
		func(p string) bool { return strings.HasSuffix(p, base) },
		func(p string) bool { return strings.Contains(p, base) },
	} {
		if found := x.having(meant); len(found) > 0 {
			return firstPaths(found, nearest)
		}
	}
	for dir := path.Dir(clean); dir != "/"; dir = path.Dir(dir) {
		if found := x.having(func(p string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }); len(found) > 0 {
			return firstPaths(found, nearest)
		}
	}
	return nil
}

// firstPaths keeps the accesses of the first few paths.
func firstPaths(list []audit.Access, n int) []audit.Access {
	kept := map[string]bool{}
	return slices.DeleteFunc(list, func(a audit.Access) bool {
		if len(kept) < n {
			kept[a.Path] = true
		}
		return !kept[a.Path]
	})
}

// why says in words why an access has its verdict, and which entry of a whitelist would allow it.
func (x *index) why(a audit.Access) (why, allow string) {
	switch a.Verdict {
	case policies.Allowed:
		why = x.whyAllowed(a)
	case policies.Leaked:
		why, allow = "it is outside the whitelist and was there, so the result may depend on this host", x.entry(a)
	case policies.Hidden:
		why, allow = "it is outside the whitelist: the host has it, and the answer was that it is not there", x.entry(a)
	case policies.Absent:
		why = "it is neither in the jail nor on the host, so nothing was hidden"
	case policies.Denied:
		why, allow = whyDenied(a)
	case policies.Unknown:
		why = "which file it was cannot be told, so it may have been any"
	}
	if a.Reason != "" {
		why += " (" + a.Reason + ")"
	}
	return why, allow
}

func (x *index) whyAllowed(a audit.Access) string {
	for _, o := range a.Owners {
		if x.whitelisted[o.Package] {
			return "it belongs to the whitelisted package " + PackageName(o)
		}
	}
	w := x.Header.Whitelist
	for _, list := range []struct {
		what string
		dirs []string
	}{{"the whitelisted path", w.Paths}, {"the writable directory", w.Writable}, {"the dependency", w.Dependencies}} {
		for _, dir := range list.dirs {
			if within(a.Path, dir) || within(a.Resolved, dir) {
				return "it is in " + list.what + " " + dir
			}
		}
	}
	return "it is the jail's own, part of a dependency, or a directory on the way to what is whitelisted"
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// entry is the entry of a whitelist that would allow an access.
func (x *index) entry(a audit.Access) string {
	if len(a.Owners) == 0 {
		return "host.paths: [" + cmp.Or(a.Resolved, a.Path) + "]"
	}
	var names []string
	for _, o := range a.Owners {
		if x.whitelisted[o.Package] {
			return "none: " + PackageName(o) + " is whitelisted, and what was pinned of it has no such file; resolve the spec again"
		}
		names = append(names, "host.packages: ["+o.Package+"]")
	}
	return strings.Join(names, " or ")
}

func whyDenied(a audit.Access) (why, allow string) {
	switch {
	case a.Path == "":
		return "jails refuse this call", ""
	case a.Errno == int(syscall.EROFS):
		return "it is read-only in the jail", "hdjail run --rw " + commandLine([]string{path.Dir(a.Path)}) + "; a build writes to its own directories only"
	case a.Errno == int(syscall.ENETUNREACH):
		return "jails have no network", ""
	case a.Errno == int(syscall.EACCES), a.Errno == int(syscall.EPERM):
		return "permission was refused", ""
	}
	return "jails refuse this", ""
}

// Lines are the explanation for people.
func (e Explanation) Lines() []string {
	var lines []string
	add := func(indent, format string, args ...any) {
		lines = append(lines, indent+Escape(fmt.Sprintf(format, args...)))
	}
	switch {
	case len(e.Entries) == 0:
		add("", "no access to %s is on record, nor to anything near it", e.Path)
	case !e.Exact:
		add("", "no access to %s is on record; near it are:", e.Path)
	}
	last := ""
	for _, entry := range e.Entries {
		a := entry.Access
		if a.Path != last {
			add("", "%s", a.Path)
		}
		last = a.Path
		add("  ", "%s: %s", a.Verdict, entry.Why)
		if entry.Allow != "" {
			add("    ", "would be allowed by: %s", entry.Allow)
		}
		for _, line := range e.lines.details(a) {
			add("    ", "%s", line)
		}
	}
	return lines
}

// details are the facts of an access: what, how often, where it led, whose it is, and who did it.
func (x *index) details(a audit.Access) []string {
	how := ""
	if a.Inferred {
		how = " (inferred)"
	}
	lines := []string{fmt.Sprintf("%s, %s%s, %s, first at %s", a.Op, outcome(a), how, plural(a.Count, "time"), Seconds(a.First))}
	if len(a.Calls)+len(a.Flags) > 0 {
		lines = append(lines, "calls: "+strings.Join(slices.Concat(a.Calls, a.Flags), " "))
	}
	if a.Resolved != "" {
		lines = append(lines, "leads to: "+strings.Join(append(slices.Clone(a.Via), a.Resolved), ", then "))
	}
	if a.Host != nil {
		lines = append(lines, "on the host: a "+a.Host.Type)
	}
	for _, o := range a.Owners {
		lines = append(lines, "owned by: "+PackageName(o))
	}
	return append(lines, x.chain(a.Process)...)
}

// maxChain bounds how many parents are shown.
const maxChain = 32

// chain is a process and those that started it, nearest first.
func (x *index) chain(id int) []string {
	var lines []string
	word := "by: "
	for p := x.processes[id]; p != nil && len(lines) < maxChain; p = x.processes[p.Parent] {
		argv := commandLine(p.Argv)
		if p.Truncated {
			argv += " …"
		}
		lines = append(lines, fmt.Sprintf("%s%s (pid %d): %s", word, cmp.Or(p.Exe, "?"), p.PID, argv))
		word = "  started by: "
		if p.Orphan {
			lines = append(lines, "  whose parent had ended")
		}
	}
	return lines
}
