package learn

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// destination finds where a command line says that results go.
// It is compiled at first use, because every jail starts this program twice.
var destination = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(--prefix|--root|--target|--install-dir|-DCMAKE_INSTALL_PREFIX(?::PATH)?|\bPREFIX|\bprefix|\bDESTDIR|\bINSTALL_TOP)(?:=|[ \t]+)("?)([^\s"';&|()]+)`)
})

// install finds the directory that the run installed into, and the script's text with $ARTIFACT in its place where that is
// plain. Without that, out is the directory below the source that has the result, empty for none.
func (l *learner) install(text string) (out, edited string) {
	staged := strings.Contains(text, "DESTDIR=")
	edited = text
	for _, found := range destination().FindAllStringSubmatch(text, -1) {
		if staged && found[1] != "DESTDIR" {
			continue
		}
		if l.isDirectory(found[3]) {
			edited = substitute(edited, found[3], "$ARTIFACT")
		}
	}
	if edited != text {
		return "", edited
	}
	for _, p := range l.Audit.Processes {
		line := strings.Join(p.Argv, " ")
		for _, found := range destination().FindAllStringSubmatch(line, -1) {
			dir := strings.Trim(found[3], "'\"")
			if !path.IsAbs(dir) && l.tree != "" && strings.Contains(dir, "/") {
				dir = path.Join(p.Cwd, dir)
			}
			switch {
			case !path.IsAbs(dir) || dir == "/":
			case l.tree != "" && below(l.tree, dir) && dir != l.tree && l.wroteBelow(dir):
				if out == "" || below(dir, out) {
					out = path.Clean(dir)
				}
			case l.wroteBelow(dir) || len(l.Audit.Header.Whitelist.Writable) > 0 && inside(dir, l.Audit.Header.Whitelist.Writable) && !below(l.tree, dir):
				l.edit("%s was told to install into %s: make that $ARTIFACT", path.Base(p.Exe), dir)
			}
		}
	}
	return out, edited
}

// isDirectory reports whether a value of the command line may be a directory, as --target is for one program and a machine for another.
func (l *learner) isDirectory(value string) bool {
	return strings.HasPrefix(value, "/") || strings.HasPrefix(value, "$PWD/") || strings.HasPrefix(value, "$(pwd)/") ||
		strings.HasPrefix(value, "$HOME/") || strings.HasPrefix(value, "~/") || strings.HasPrefix(value, "./")
}

// substitute puts a variable in place of a directory wherever it is not in single quotes.
func substitute(text, dir, variable string) string {
	var b strings.Builder
	dir = strings.TrimSuffix(dir, "/")
	for {
		at := strings.Index(text, dir)
		if at < 0 {
			b.WriteString(text)
			return b.String()
		}
		end := at + len(dir)
		written := b.String() + text[:at]
		line := written[strings.LastIndexByte(written, '\n')+1:]
		whole := end == len(text) || strings.IndexByte("/ \t\n\"';&|)", text[end]) >= 0
		b.WriteString(text[:at])
		switch {
		case !whole || strings.Count(line, "'")%2 == 1:
			b.WriteString(dir)
		case strings.Count(line, `"`)%2 == 1:
			b.WriteString(variable)
		default:
			b.WriteString(`"` + variable + `"`)
		}
		text = text[end:]
	}
}

func (l *learner) wroteBelow(dir string) bool {
	return slices.ContainsFunc(l.Audit.Accesses, func(a audit.Access) bool { return made(a) && below(dir, path.Clean(a.Path)) })
}

// made reports whether an access made or changed a file.
func made(a audit.Access) bool {
	return a.Errno == 0 && (a.Op == policies.OpWrite || a.Op == policies.OpCreate || a.Op == policies.OpRename || a.Op == policies.OpLink)
}

// written are the paths below the tree that the run wrote and that are still there, with those that were there before it
// left out as far as the record tells.
func (l *learner) written() (list []string) {
	before, absent := map[string]time.Duration{}, map[string]time.Duration{}
	for _, a := range l.Audit.Accesses {
		times := absent
		if a.Errno == 0 && !a.Op.Changes() {
			times = before
		} else if a.Errno == 0 {
			continue
		}
		if t, known := times[a.Path]; !known || a.First < t {
			times[a.Path] = a.First
		}
	}
	for _, a := range l.Audit.Accesses {
		p := path.Clean(a.Path)
		if !made(a) || l.tree == "" || !below(l.tree, p) || p == l.tree || slices.Contains(a.Flags, "append") {
			continue
		}
		missing, asked := absent[a.Path]
		old, read := before[a.Path]
		if read && old < a.First && !(asked && missing < old) {
			continue // it was there before
		}
		if kind := l.Host.Look(p).Kind; kind != None {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// maxLeftovers bounds the list of files that the script removes.
const maxLeftovers = 500

// leftovers are what the run left in the tree, relative to it, the topmost only.
func (l *learner) leftovers() (list []string) {
	created := map[string]bool{} // directories that the run made
	for _, a := range l.Audit.Accesses {
		if a.Op == policies.OpCreate && a.Errno == 0 {
			created[path.Clean(a.Path)] = true
		}
	}
	var last string
	for _, p := range l.written() {
		if last != "" && below(last, p) {
			continue
		}
		if l.Host.Look(p).Kind == Directory && !created[p] {
			continue
		}
		last = p
		list = append(list, shellWord(strings.TrimPrefix(p, l.tree+"/")))
	}
	if len(list) > maxLeftovers {
		l.edit("the run left %d files in %s: remove them before you build, they would be part of the source", len(list), l.tree)
		return nil
	}
	return list
}

// collect copies what looks like the result of a run that names no place for it: what the linker wrote, else everything new.
func (l *learner) collect() []string {
	l.edit("nothing tells where the command installs: see to it that the script puts the result into $ARTIFACT")
	linkers := map[int]bool{}
	for _, p := range l.Audit.Processes {
		name := path.Base(p.Exe)
		if name == "ld" || name == "ar" || strings.HasPrefix(name, "ld.") || strings.HasSuffix(name, "-ld") || strings.HasSuffix(name, "-ar") ||
			strings.HasSuffix(name, "-ld.bfd") {
			linkers[p.ID] = true
		}
	}
	byLinker := map[string]bool{}
	for _, a := range l.Audit.Accesses {
		if made(a) && linkers[a.Process] {
			byLinker[path.Clean(a.Path)] = true
		}
	}
	var linked, all []string
	for _, p := range l.written() {
		if l.Host.Look(p).Kind == Directory {
			continue
		}
		word := shellWord(strings.TrimPrefix(p, l.tree+"/"))
		all = append(all, word)
		if byLinker[p] {
			linked = append(linked, word)
		}
	}
	switch {
	case len(linked) > 0:
		all = linked
	case len(all) == 0 || len(all) > maxLeftovers:
		return []string{"# cp -R RESULT \"$ARTIFACT\""}
	}
	lines := []string{"# What the run linked, or else what it made."}
	if l.dir != l.tree {
		lines = append(lines, `cd "$BUILD"`)
	}
	return append(lines, "cp -R -- "+wrap(all)+" \"$ARTIFACT\"")
}

// shellJoin is a command line as one would type it.
func shellJoin(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shellWord(word)
	}
	return strings.Join(quoted, " ")
}

var plainWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
})

// shellWord is a word in the form that a shell reads it back.
func shellWord(word string) string {
	if plainWord().MatchString(word) {
		return word
	}
	if !strings.ContainsAny(word, "$`\"\\!") && word != "" {
		return `"` + word + `"`
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// wrap joins words into lines of a moderate length.
func wrap(words []string) string {
	var b strings.Builder
	width := 0
	for i, word := range words {
		switch {
		case i == 0:
		case width+len(word) > 100:
			b.WriteString(" \\\n  ")
			width = 0
		default:
			b.WriteByte(' ')
		}
		b.WriteString(word)
		width += len(word) + 1
	}
	return b.String()
}
