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
// the end of a child goes on with the next directory of its PATH, and finds the same program as /bin/sed.
func Settle(a, b *audit.Audit) (*audit.Audit, *audit.Audit) {
	madeA, namesA := ownNames(a)
	madeB, namesB := ownNames(b)
	first, second := newRun(a), newRun(b)
	cancel(&first, &second) // before names are hidden, as they may hold process ids
	return settle(a, first.commands, madeA, namesB), settle(b, second.commands, madeB, namesA)
}

// ownNames are the names, of files and directories, that a run made in the jail's own areas, and all that it asked for there.
func ownNames(a *audit.Audit) (made, all map[string]bool) {
	made, all = map[string]bool{}, map[string]bool{}
	for i := range a.Accesses {
		x := &a.Accesses[i]
		p := path.Clean(x.Path)
		if !inOwn(p, a.Header.Derivation) {
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

// settle copies an audit. The commands are those of its processes that have a directory, in their order; without one a process
// is no command, but its id stays one.
func settle(a *audit.Audit, commands []command, made, others map[string]bool) *audit.Audit {
	copied := *a
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
		p.Argv, p.Cwd = slices.Clone(p.Argv), hideNames(p.Cwd, made, others)
		for j, arg := range p.Argv {
			p.Argv[j] = hideNames(arg, made, others)
		}
	}
	for i := range copied.Accesses {
		if x := &copied.Accesses[i]; x.Resolved != "" {
			x.Path = x.Resolved
		}
	}
	return &copied
}

// hideNames writes every name in a text that is made and none of the others as "*". Names end where paths and words do.
func hideNames(text string, made, others map[string]bool) string {
	const ends = separators + "/"
	var b strings.Builder
	for len(text) > 0 {
		end := strings.IndexAny(text, ends)
		if end < 0 {
			end = len(text)
		}
		if name := text[:end]; made[name] && !others[name] {
			b.WriteString("*")
		} else {
			b.WriteString(name)
		}
		if end < len(text) {
			b.WriteByte(text[end])
			end++
		}
		text = text[end:]
	}
	return b.String()
}
