package tree

import (
	"bufio"
	"cmp"
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

// Plan is a tree that is about to be composed, by real path; the root is not in it. The folders of a path are in it too.
type Plan map[string]node

// node is a file copied from source or made of data, a link to target, or a folder.
type node struct {
	dir    bool
	source string
	target string
	data   []byte
}

// MountpointError reports a path that cannot be made in a tree beside what is there.
type MountpointError struct{ Path, Reason string }

// Error implements error.
func (e *MountpointError) Error() string {
	return fmt.Sprintf("place %q in tree: %s", e.Path, e.Reason)
}

// Merge adds a snapshot. What is there already stays: packages that list one path were copied from one file.
func (p Plan) Merge(snapshot string) error {
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
func (p Plan) put(name string, n node) error {
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
func (p Plan) resolver() *rootpath.Resolver {
	return rootpath.New(func(name string) rootpath.Entry { return rootpath.Entry{Link: p[name].target} })
}

// File sets a file with the given content, whatever was there. A folder of it that is something else gives
// *MountpointError.
func (p Plan) File(name, content string) error { return p.put(name, node{data: []byte(content)}) }

// Mountpoint makes sure that a path exists, as a folder or as a file. What cannot be gives *MountpointError.
func (p Plan) Mountpoint(name string, dir bool) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return &MountpointError{name, "not an absolute, clean path below the root"}
	}
	real := p.resolver().Follow(name)
	if real.Closed {
		return &MountpointError{name, "too many links"}
	}
	old, ok := p[real.Path]
	switch {
	case !ok:
		return p.put(real.Path, node{dir: dir})
	case old.dir && !dir:
		return &MountpointError{name, "is a folder of a package"}
	case dir && !old.dir:
		return &MountpointError{name, "is a file of a package"}
	}
	return nil
}

// open returns the content of a file of the tree.
func (p Plan) open(name string) (*os.File, error) {
	n := p[name]
	if n.source == "" {
		return nil, fs.ErrNotExist
	}
	return os.Open(n.source)
}

// lines returns the lines of a file of the tree without comments and surrounding blanks; none if there is no such file.
func (p Plan) lines(name string) []string {
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

// Write makes the tree in the new folder dst, sealed but for its root.
func (p Plan) Write(dst string) error {
	out, err := NewWriter(dst)
	if err != nil {
		return err
	}
	for _, name := range slices.SortedFunc(maps.Keys(p), ComparePaths) {
		n := p[name]
		switch {
		case n.dir:
			err = out.Dir(name)
		case n.target != "":
			err = out.Symlink(name, n.target)
		case n.source != "":
			err = out.Share(name, n.source)
		default:
			err = out.Data(name, n.data)
		}
		if err != nil {
			return err
		}
	}
	return out.Seal()
}

// ComparePaths orders a folder before what is in it, and that before its siblings.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}
