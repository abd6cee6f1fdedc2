package report

import (
	"cmp"
	"fmt"
	"iter"
	"path"
	"slices"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// Lines are the accesses of an audit, one a line, in its order.
func Lines(a *audit.Audit) iter.Seq[string] {
	x := newIndex(a)
	return func(yield func(string) bool) {
		for _, access := range a.Accesses {
			if !yield(x.line(access)) {
				return
			}
		}
	}
}

func (x *index) line(a audit.Access) string {
	return Escape(fmt.Sprintf("%-7s  %-8s  %s  %s %dx  %s%s", a.Verdict, a.Op, place(a), outcome(a), a.Count, x.by(a), ownedBy(a)))
}

// By says what accesses are grouped by.
type By string

// What accesses can be grouped by: the package that owns the path, the program that was first, the directory of the path.
const (
	ByPackage   By = "package"
	ByProcess   By = "process"
	ByDirectory By = "directory"
)

// Group is the accesses that have one owner, program or directory.
type Group struct {
	// Name is empty for accesses that have none.
	Name string `json:"name"`
	// Paths and Accesses count distinct paths, and every time that one was accessed.
	Paths    int                        `json:"paths"`
	Accesses int64                      `json:"accesses"`
	Counts   map[policies.Verdict]int64 `json:"counts"`
	Entries  []audit.Access             `json:"-"`
	lines    *index
}

// Groups groups all accesses of an audit, the group with the most paths first. An unknown By gives one group.
func Groups(a *audit.Audit, by By) []Group {
	x := newIndex(a)
	groups := map[string]*Group{}
	for _, access := range a.Accesses {
		name := x.groupName(access, by)
		g := groups[name]
		if g == nil {
			g = &Group{Name: name, Counts: map[policies.Verdict]int64{}, lines: x}
			groups[name] = g
		}
		g.Accesses += access.Count
		g.Counts[access.Verdict]++
		g.Entries = append(g.Entries, access)
	}
	list := make([]Group, 0, len(groups))
	for _, g := range groups {
		g.Paths = distinctPaths(g.Entries)
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Or(cmp.Compare(b.Paths, a.Paths), cmp.Compare(a.Name, b.Name)) })
	return list
}

func (x *index) groupName(a audit.Access, by By) string {
	switch p := x.processes[a.Process]; {
	case by == ByPackage && len(a.Owners) > 0:
		return PackageName(a.Owners[0])
	case by == ByProcess && p != nil:
		return p.Exe
	case by == ByDirectory && a.Path != "":
		return path.Dir(a.Path)
	}
	return ""
}

func distinctPaths(list []audit.Access) int {
	seen := make(map[string]bool, len(list))
	for _, a := range list {
		seen[a.Path] = true
	}
	return len(seen)
}

// Lines are a head that names and counts the group, and its accesses, indented.
func (g Group) Lines() iter.Seq[string] {
	return func(yield func(string) bool) {
		name := g.Name
		if name == "" {
			name = "(none)"
		}
		if !yield(Escape(fmt.Sprintf("%s: %s, %s", name, plural(g.Paths, "path"), plural(g.Accesses, "access")))) {
			return
		}
		for _, a := range g.Entries {
			if !yield("  " + g.lines.line(a)) {
				return
			}
		}
	}
}
