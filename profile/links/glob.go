package links

import (
	"errors"
	"fmt"
	"io/fs"
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
	// Readlink returns the text of a link.
	Readlink(name string) (string, error)
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
	w := walk{tree: tree, dirs: dirs, listed: map[string][]fs.DirEntry{}}
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
}

// match adds what parts match below dir.
func (w *walk) match(dir string, parts []string) error {
	part, rest := parts[0], parts[1:]
	switch {
	case part == "" || part == "." || part == "..":
		return nil
	case part == "**":
		return w.descend(dir, parts)
	case strings.Contains(part, "*"):
		return w.wild(dir, part, rest)
	case len(rest) > 0:
		return w.match(join(dir, part), rest)
	}
	name := join(dir, part)
	info, err := w.tree.Lstat(name)
	if err != nil {
		return unlessAbsent(err)
	}
	w.add(name, info.Mode())
	return nil
}

// wild handles a component with a star.
func (w *walk) wild(dir, part string, rest []string) error {
	entries, err := w.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !matchName(part, e.Name()) {
			continue
		}
		name := join(dir, e.Name())
		if len(rest) == 0 {
			w.add(name, e.Type())
			continue
		}
		if e.Type().IsRegular() {
			continue
		}
		if err := w.match(name, rest); err != nil {
			return err
		}
	}
	return nil
}

// descend handles "**": here, and in every real directory below.
func (w *walk) descend(dir string, parts []string) error {
	if err := w.match(dir, parts[1:]); err != nil {
		return err
	}
	entries, err := w.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := w.descend(join(dir, e.Name()), parts); err != nil {
				return err
			}
		}
	}
	return nil
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
	name := dir
	if name == "" {
		name = "."
	}
	entries, err := w.tree.ReadDir(name)
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

// matchName matches one component; a star matches any number of bytes.
func matchName(pattern, name string) bool {
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == name
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		i := strings.Index(name, piece)
		if i < 0 {
			return false
		}
		name = name[i+len(piece):]
	}
	return true
}
