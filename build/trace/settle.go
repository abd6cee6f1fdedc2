package trace

import (
	"path"
	"slices"
	"strings"

	"hdjail/policies/audit"
)

// Settle returns copies of two audits without what chance decides anew in every run, for Compare. In commands that have no
// partner otherwise, a name that only one of the runs made in the jail's own areas, as configure makes ./confXXXXXX, reads "*";
// commands that have one are left out. A path that leads elsewhere is the one where it leads: a shell whose look at /usr/bin/sed is interrupted by
// the end of a child goes on with the next directory of its PATH, and finds the same program as /bin/sed. prefixes are as for Compare.
func Settle(a, b *audit.Audit, prefixes ...string) (*audit.Audit, *audit.Audit) {
	madeA, namesA := ownNames(a, prefixes)
	madeB, namesB := ownNames(b, prefixes)
	first, second := newRun(a, prefixes), newRun(b, prefixes)
	cancel(&first, &second) // before names are hidden, as they may hold process ids
	return settle(a, first, madeA, namesB), settle(b, second, madeB, namesA)
}

// ownNames are the names, of files and directories, that a run made in the jail's own areas, and all that it asked for there.
func ownNames(a *audit.Audit, prefixes []string) (made, all map[string]bool) {
	areas := areasOf(a, prefixes)
	made, all = map[string]bool{}, map[string]bool{}
	for i := range a.Accesses {
		x := &a.Accesses[i]
		p := path.Clean(x.Path)
		if !areas.own(p) {
			continue
		}
		names := strings.Split(p[1:], "/")
		for _, name := range names {
			all[name] = true
		}
		if name := names[len(names)-1]; x.Errno == 0 && x.Op.Changes() {
			made[name] = true
		}
	}
	return made, all
}

// settle copies an audit. The commands of its run are those of its processes that have a directory, in their order; without one a process
// is no command, but its id stays one.
func settle(a *audit.Audit, r run, made, others map[string]bool) *audit.Audit {
	copied, commands := *a, r.commands
	copied.Processes, copied.Accesses = slices.Clone(a.Processes), slices.Clone(a.Accesses)
	for i := range copied.Processes {
		p := &copied.Processes[i]
		if p.Cwd == "" {
			continue
		}
		paired := commands[0].paired
		commands = commands[1:]
		if paired {
			p.Cwd = ""
			continue
		}
		p.Argv, p.Cwd = slices.Clone(p.Argv), r.areas.hideNames(p.Cwd, made, others)
		for j, arg := range p.Argv {
			p.Argv[j] = r.areas.hideNames(arg, made, others)
		}
	}
	for i := range copied.Accesses {
		if x := &copied.Accesses[i]; x.Resolved != "" {
			x.Path = x.Resolved
		}
	}
	return &copied
}

// hideNames writes every name in a text that is made and none of the others as "*". Names end where paths and words do. Paths
// of other artifacts stay.
func (a areas) hideNames(text string, made, others map[string]bool) string {
	return eachWord(text, separators, func(word string) string {
		if at := strings.IndexByte(word, '/'); at >= 0 && a.stored(word[at:]) && !a.own(word[at:]) {
			return word
		}
		return eachWord(word, "/", func(name string) string {
			if made[name] && !others[name] {
				return "*"
			}
			return name
		})
	})
}
