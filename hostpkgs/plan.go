package hostpkgs

import (
	"bufio"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hdjail/hostpkgs/rootpath"
)

// plan is a tree that is about to be composed, by real path; the root is not in it. The folders of a path are in it too.
type plan map[string]node

// node is a file copied from source or made of data, a link to target, or a folder.
type node struct {
	dir    bool
	source string
	target string
	data   []byte
}

// MountpointError reports a mountpoint that cannot be made in a tree.
type MountpointError struct{ Path, Reason string }

func (e *MountpointError) Error() string {
	return fmt.Sprintf("compose mountpoint %q: %s", e.Path, e.Reason)
}

// merge adds a snapshot. What is there already stays: packages that list one path were copied from one file.
func (p plan) merge(snapshot string) error {
	return filepath.WalkDir(snapshot, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == snapshot {
			return err
		}
		name := file[len(snapshot):]
		n := node{source: file}
		switch {
		case d.IsDir():
			n = node{dir: true}
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			n = node{target: target}
		}
		old, taken := p[name]
		switch {
		case !taken:
			p[name] = n
		case n.dir && !old.dir:
			return fs.SkipDir
		}
		return nil
	})
}

// put sets a path and makes its folders; it fails where one of them is something else.
func (p plan) put(name string, n node) error {
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if old, ok := p[dir]; ok && !old.dir {
			return &MountpointError{name, dir + " is no folder"}
		}
		p[dir] = node{dir: true}
	}
	p[name] = n
	return nil
}

// resolver resolves paths in the tree.
func (p plan) resolver() *rootpath.Resolver {
	return rootpath.New(func(name string) rootpath.Entry { return rootpath.Entry{Link: p[name].target} })
}

// mountpoint makes sure that m exists.
func (p plan) mountpoint(m Mountpoint) error {
	if !path.IsAbs(m.Path) || path.Clean(m.Path) != m.Path || m.Path == "/" {
		return &MountpointError{m.Path, "not an absolute, clean path below the root"}
	}
	real := p.resolver().Follow(m.Path)
	if real.Closed {
		return &MountpointError{m.Path, "too many links"}
	}
	old, ok := p[real.Path]
	switch {
	case !ok:
		return p.put(real.Path, node{dir: m.Dir})
	case old.dir && !m.Dir:
		return &MountpointError{m.Path, "is a folder of a package"}
	case m.Dir && !old.dir:
		return &MountpointError{m.Path, "is a file of a package"}
	}
	return nil
}

// open returns the content of a file of the tree.
func (p plan) open(name string) (*os.File, error) {
	n := p[name]
	if n.source == "" {
		return nil, fs.ErrNotExist
	}
	return os.Open(n.source)
}

// lines returns the lines of a file of the tree without comments and surrounding blanks; none if there is no such file.
func (p plan) lines(name string) []string {
	f, err := p.open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// write makes the tree in the new folder dst.
func (p plan) write(dst string) error {
	out, err := newWriter(dst)
	if err != nil {
		return err
	}
	for _, name := range slices.SortedFunc(maps.Keys(p), comparePaths) {
		n := p[name]
		switch {
		case n.dir:
			err = out.dir(name)
		case n.target != "":
			err = out.symlink(name, n.target)
		case n.source != "":
			err = out.share(name, n.source)
		default:
			err = out.data(name, n.data)
		}
		if err != nil {
			return err
		}
	}
	return out.seal()
}
