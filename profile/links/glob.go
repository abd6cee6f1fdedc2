package links

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Tree is what rules select from. Names are as rules write them: relative to the tree's own directory ("." is itself), or
// absolute, which a Tree may refuse. Links on the way to the last component are followed. An error that is fs.ErrNotExist
// says that there is no such thing in the tree: also where a name leads through a file, in a circle, or out of it.
type Tree interface {
	// ReadDir lists a directory, in any order; a link to a directory is followed.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Lstat does not follow a link in the last component.
	Lstat(name string) (fs.FileInfo, error)
}

// Glob is a parsed pattern. "*" is its only special character, within one component, and matches a leading dot. A whole
// component "**" stands for zero or more directories and does not enter links; every other component follows them.
// Components that are empty, "." or ".." match nothing.
type Glob struct {
	absolute bool
	parts    []string
}

// GlobError reports a pattern that means nothing.
type GlobError struct{ Pattern, Reason string }

// Error implements error, in one line.
func (e *GlobError) Error() string { return fmt.Sprintf("parse pattern %q: %s", e.Pattern, e.Reason) }

// ParseGlob reads a pattern. "**" as the last component, or with text beside it, gives *GlobError.
func ParseGlob(pattern string) (Glob, error) {
	text, absolute := strings.CutPrefix(pattern, "/")
	g := Glob{absolute, strings.Split(text, "/")}
	for i, part := range g.parts {
		switch {
		case part == "**" && i == len(g.parts)-1:
			return Glob{}, &GlobError{pattern, "** cannot be the last component; ** and then * means all below"}
		case part != "**" && strings.Contains(part, "**"):
			return Glob{}, &GlobError{pattern, "** must be a whole component"}
		}
	}
	return g, nil
}

// Expand returns the paths that match, sorted, each once; none is no error. Results of a relative pattern begin with dir,
// as it is given; an absolute one ignores dir. Directories are among them only when dirs is set; a link never counts as one.
// A directory that cannot be read is an error where it must be listed, and passed through by literal components.
func (g Glob) Expand(tree Tree, dir string, dirs bool) ([]string, error) {
	w := walk{tree: tree, dirs: dirs, listed: map[string][]fs.DirEntry{}, done: map[visit]bool{}}
	if g.absolute {
		dir = "/"
	}
	if err := w.match(dir, g.parts); err != nil {
		return nil, err
	}
	slices.Sort(w.found)
	return slices.Compact(w.found), nil
}

type walk struct {
	tree   Tree
	dirs   bool
	listed map[string][]fs.DirEntry
	found  []string
	// done says which parts, by their number, were matched below a directory, because several "**" come there many ways.
	done map[visit]bool
}

type visit struct {
	dir  string
	left int
}

// match adds what parts match below dir.
func (w *walk) match(dir string, parts []string) error {
	part, rest, key := parts[0], parts[1:], visit{dir, len(parts)}
	if w.done[key] {
		return nil
	}
	w.done[key] = true
	switch {
	case part == "" || part == "." || part == "..":
		return nil
	case !strings.Contains(part, "*"):
		return w.literal(join(dir, part), rest)
	case part == "**":
		if err := w.match(dir, rest); err != nil {
			return err
		}
	}
	entries, err := w.list(dir)
	for _, e := range entries {
		name := join(dir, e.Name())
		switch {
		case part == "**" && e.IsDir():
			err = w.match(name, parts)
		case part == "**" || !matchName(part, e.Name()):
		case len(rest) == 0:
			w.add(name, e.Type())
		case !e.Type().IsRegular():
			err = w.match(name, rest)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// literal handles a component without a star, which name ends with.
func (w *walk) literal(name string, rest []string) error {
	if len(rest) > 0 {
		return w.match(name, rest)
	}
	info, err := w.tree.Lstat(name)
	if err == nil {
		w.add(name, info.Mode())
	}
	return unlessAbsent(err)
}

func (w *walk) add(name string, mode fs.FileMode) {
	if w.dirs || !mode.IsDir() {
		w.found = append(w.found, name)
	}
}

// list reads a directory once; what is no directory has no entries.
func (w *walk) list(dir string) ([]fs.DirEntry, error) {
	if entries, ok := w.listed[dir]; ok {
		return entries, nil
	}
	entries, err := w.tree.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil, unlessAbsent(err)
	}
	w.listed[dir] = entries
	return entries, nil
}

func unlessAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func join(dir, name string) string {
	if dir == "" || strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

// matchName matches one component, in which path.Match would see more special characters.
func matchName(pattern, name string) bool {
	ok, err := path.Match(literal.Replace(pattern), name)
	return ok && err == nil
}

var literal = strings.NewReplacer(`\`, `\\`, `?`, `\?`, `[`, `\[`)
