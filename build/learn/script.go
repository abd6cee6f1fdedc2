package learn

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"hdjail/artifact"
	"hdjail/build/lens"
	"hdjail/policies"
)

// describe drafts everything of the spec but what it sees of the host.
func (l *learner) describe() {
	h := l.Audit.Header
	what := "a run"
	if h.Derivation != "" {
		what = "a build of " + h.Derivation
	}
	state := "the record is complete"
	if !h.Complete {
		state = "the record is not complete: " + strings.Join(h.IncompleteReasons, ", ")
	}
	l.draft.Heading = []string{fmt.Sprintf("Learnt from %s in mode %s; %s.", what, h.Mode, state)}
	if l.Derivation != nil {
		l.fromDerivation(l.Derivation)
		return
	}
	l.draft.Heading = append(l.draft.Heading, "Command: "+shellJoin(l.command))
	l.draft.Name, l.draft.Version = nameOf(l.tree)
	l.draft.Environment = l.environment()
	if l.tree == "" {
		l.edit("nothing tells which files of its own the command needs: name them under sources")
	} else {
		l.source()
	}
	l.script()
}

// fromDerivation repeats what was built.
func (l *learner) fromDerivation(d *artifact.Derivation) {
	l.draft.Name, l.draft.Version, l.draft.Script, l.draft.Promises = d.Name, d.Version, d.Script, d.Promises
	l.draft.Environment = map[string]string{}
	for name, value := range d.Environment {
		if t, err := lens.ParseIn(d, value); err == nil { // else it never was of a spec
			l.draft.Environment[name] = t.String()
		}
	}
	if !slices.Equal(d.Interpreter, []string{"/bin/sh", "-eu"}) {
		l.draft.Interpreter = d.Interpreter
	}
	for _, s := range d.Sources {
		if strings.HasPrefix(s.Digest, "tree:") {
			l.edit("a source was a local directory (%s, at %q): write its path, the store does not know it", s.Digest, s.Target)
			continue
		}
		l.draft.Sources = append(l.draft.Sources, Source{Digest: s.Digest, Target: s.Target, Unpack: s.Unpack})
	}
	for _, dep := range d.Dependencies {
		l.draft.Dependencies = append(l.draft.Dependencies, dep.ID.String())
		if dep.As != "" || dep.Many {
			l.edit("dependency %s was called %s: add as: or many: if the script wants it", dep.ID, dep.As)
		}
	}
}

var versioned = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9_+][A-Za-z0-9_+-]*?)[-_]v?([0-9][A-Za-z0-9_+.-]*)$`)
})

// nameOf reads name and version out of the name of a directory, like zlib-1.2.13.
func nameOf(dir string) (name, version string) {
	base := path.Base(dir)
	if found := versioned().FindStringSubmatch(base); found != nil {
		return found[1], found[2]
	}
	odd := func(r rune) bool {
		return r > 127 || !strings.ContainsRune("_+-.", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	name = strings.TrimLeft(strings.Map(func(r rune) rune {
		if odd(r) {
			return '-'
		}
		return r
	}, base), ".")
	if name == "" || dir == "" {
		name = "learnt"
	}
	return name[:min(len(name), 100)], ""
}

// source makes the tree that the command ran in the input of the spec.
func (l *learner) source() {
	rel, err := filepath.Rel(l.Dir, l.tree)
	if err != nil || l.Dir == "" {
		rel = l.tree
	}
	l.draft.Sources = []Source{{Path: rel, Unpack: true, Reason: "where the command ran"}}
}

// defaultPath are the directories of a build's PATH (docs/spec.md).
var defaultPath = []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"}

// environment has what the run was given, and a PATH that finds what the run found by its own.
func (l *learner) environment() map[string]string {
	env := map[string]string{}
	for name, value := range l.Environment {
		env[name] = lens.Escape(value)
	}
	byName := map[string]bool{}
	for _, p := range l.Audit.Processes {
		if len(p.Argv) > 0 {
			byName[p.Argv[0]] = true
		}
	}
	var found []string
	for _, a := range l.Audit.Accesses {
		dir := path.Dir(a.Path)
		if a.Op == policies.OpExec && a.Errno == 0 && byName[path.Base(a.Path)] && !slices.Contains(defaultPath, dir) &&
			!slices.Contains(found, dir) && !inside(dir, jailAreas) && (l.tree == "" || !below(l.tree, dir)) && !inside(dir, l.Never) {
			found = append(found, dir)
		}
	}
	rest := defaultPath
	if l.missedPrograms() {
		rest = defaultPath[:2]
	}
	if (len(found) > 0 || len(rest) < len(defaultPath)) && env["PATH"] == "" {
		env["PATH"] = strings.Join(append(found, rest...), ":")
	}
	return env
}

// missedPrograms reports whether the run did not find a program by its PATH that a build would find by its own, in a
// directory for administrators, like ldconfig.
func (l *learner) missedPrograms() bool {
	asked, missed := map[string]bool{}, map[string]bool{}
	for _, a := range l.Audit.Accesses {
		switch dir, name := path.Split(a.Path); {
		case dir == "/usr/sbin/" || dir == "/sbin/":
			asked[name] = true
		case a.Verdict == policies.Absent && (dir == "/usr/bin/" || dir == "/bin/") && l.Host.Look("/usr/sbin/"+name).Kind != None:
			missed[name] = true
		}
	}
	for name := range missed {
		if !asked[name] {
			return true
		}
	}
	return false
}

// script drafts how the command is run and where its result goes.
func (l *learner) script() {
	text := l.body()
	out, edited := l.install(text)
	installs := edited != text
	if l.tree != "" {
		edited = substitute(edited, l.tree, "$BUILD")
	}
	var lines []string
	if made := l.leftovers(); len(made) > 0 {
		lines = append(lines, "# What the recorded run made in the tree, as far as it can be told: a build begins without it.",
			"rm -rf -- "+wrap(made))
	}
	if l.tree != "" && l.dir != l.tree {
		lines = append(lines, "cd "+shellWord(strings.TrimPrefix(l.dir, l.tree+"/")))
	}
	lines = append(lines, edited)
	switch {
	case installs:
	case out != "":
		lines = append(lines, fmt.Sprintf("cp -R -- \"$BUILD\"/%s/. \"$ARTIFACT\"", shellWord(strings.TrimPrefix(out, l.tree+"/"))))
	default:
		lines = append(lines, l.collect()...)
	}
	l.draft.Script = strings.Join(lines, "\n") + "\n"
}

// body is the command as shell text. Of a shell with -c it is what that was given.
func (l *learner) body() string {
	text := ""
	switch c := l.command; {
	case len(c) == 0:
		l.edit("nothing tells which command was run: write the script")
		return "false"
	case len(c) == 3 && slices.Contains([]string{"sh", "dash", "bash"}, path.Base(c[0])) && slices.Contains([]string{"-c", "-ec", "-euc"}, c[1]):
		text = strings.TrimSpace(c[2])
		if path.Base(c[0]) == "bash" {
			l.draft.Interpreter = []string{"/bin/bash", "-eu"}
		}
	default:
		text = shellJoin(c)
	}
	return text
}

// scriptUses reports whether a line of the script begins with a command.
func (l *learner) scriptUses(tool string) bool {
	return l.Derivation == nil && slices.ContainsFunc(strings.Split(l.draft.Script, "\n"), func(line string) bool {
		return strings.HasPrefix(line, tool+" ")
	})
}
