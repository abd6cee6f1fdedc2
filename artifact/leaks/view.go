package leaks

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// view is what a jail showed, as a tree of names: links are resolved in it as they were there, wherever on the host the
// parts are. It remembers what it has seen, so it is for trees that do not change, and for one goroutine.
type view struct {
	places  map[string]*place // by public path
	parents map[string]bool   // directories that lead to places
	entries map[string]entry
	found   map[string]found
}

// place is a part of the view. Its root is opened when it is needed.
type place struct {
	origin Origin
	public string
	open   func() (*os.Root, error)
	root   *os.Root
	err    error
	// below is where in the root the place begins.
	below string
}

// entry is one name, without following it.
type entry struct {
	exists bool
	link   string
	mode   fs.FileMode
	place  *place // nil for a directory that only leads to places
}

// found is a name with all links resolved.
type found struct {
	entry
	path string
	ok   bool
}

// maxMemory bounds how many names a view remembers.
const maxMemory = 1 << 18

// maxLinks bounds a chain of links, like the kernel's 40 (path_resolution(7)).
const maxLinks = 40

// newView puts together what o describes. tree is the artifact's own.
func newView(tree *os.File, o Options) *view {
	v := &view{places: map[string]*place{}, parents: map[string]bool{}, entries: map[string]entry{}, found: map[string]found{}}
	if o.Root != "" {
		v.add("/", Origin{Belongs: Package}, directory(o.Root))
	}
	for _, p := range o.Paths {
		// A file is a place too, so its directory is opened, and the name looked up there.
		v.add(p.Public, Origin{Belongs: Package}, directory(path.Dir(p.Host))).below = strings.TrimPrefix(path.Base(p.Host), "/")
	}
	for _, d := range o.Dependencies {
		v.add(d.Public, Origin{Belongs: Dependency, Dependency: d.Public}, directory(d.Host))
	}
	v.add(o.Artifact, Origin{Belongs: Output}, func() (*os.Root, error) {
		return os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(tree.Fd()))) // the directory itself, whatever its path now is
	})
	return v
}

func directory(name string) func() (*os.Root, error) {
	return func() (*os.Root, error) { return os.OpenRoot(name) }
}

func (v *view) add(public string, origin Origin, open func() (*os.Root, error)) *place {
	p := &place{origin: origin, public: public, open: open}
	v.places[public] = p
	for dir := public; dir != "/" && dir != "."; {
		dir = path.Dir(dir)
		v.parents[dir] = true
	}
	return p
}

// close closes what look-ups have opened.
func (v *view) close() {
	for _, p := range v.places {
		if p.root != nil {
			p.root.Close()
		}
	}
}

// in returns the place that a clean path is in, or nil.
func (v *view) in(name string) *place {
	for {
		if p := v.places[name]; p != nil {
			return p
		}
		if name == "/" || name == "." {
			return nil
		}
		name = path.Dir(name)
	}
}

// at returns the root of a place and the name that a clean path has there.
func (p *place) at(name string) (*os.Root, string, error) {
	if p.root == nil && p.err == nil {
		p.root, p.err = p.open()
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(name, p.public), "/")
	return p.root, path.Join(".", p.below, rest), p.err
}

// look describes a clean path whose directory has no links.
func (v *view) look(name string) entry {
	if e, ok := v.entries[name]; ok {
		return e
	}
	e := v.lstat(name)
	if len(v.entries) < maxMemory {
		v.entries[name] = e
	}
	return e
}

func (v *view) lstat(name string) (e entry) {
	if v.parents[name] && v.places[name] == nil {
		e = entry{exists: true, mode: fs.ModeDir | 0o555}
	}
	p := v.in(name)
	if p == nil {
		return e
	}
	root, rest, err := p.at(name)
	if err != nil {
		return e
	}
	info, err := root.Lstat(rest)
	if err != nil {
		return e
	}
	seen := entry{exists: true, mode: info.Mode(), place: p}
	if info.Mode().Type() == fs.ModeSymlink {
		if seen.link, err = root.Readlink(rest); err != nil || e.exists {
			return e // a mount point is a directory, whatever was there before
		}
	}
	return seen
}

// resolve follows an absolute path to its end.
func (v *view) resolve(name string) found {
	if f, ok := v.found[name]; ok {
		return f
	}
	f := v.follow(name)
	if len(v.found) < maxMemory {
		v.found[name] = f
	}
	return f
}

func (v *view) follow(name string) found {
	at, e := "/", v.look("/")
	links := 0
	rest := name
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			e = v.look(at)
			continue
		}
		if !e.mode.IsDir() && at != "/" {
			return found{}
		}
		next := path.Join(at, part)
		if len(next) > maxPath {
			return found{}
		}
		if e = v.look(next); !e.exists {
			return found{}
		}
		if e.link == "" {
			at = next
			continue
		}
		if links++; links > maxLinks || len(e.link)+len(rest) > maxPath {
			return found{}
		}
		if path.IsAbs(e.link) {
			at = "/"
		}
		rest = e.link + "/" + rest
		e = v.look(at)
	}
	return found{entry: e, path: at, ok: e.exists}
}

// read opens a resolved file for reading. It is nil without an error if the path is no regular file.
func (v *view) read(f found) (*os.File, error) {
	if !f.ok || f.place == nil || !f.mode.IsRegular() {
		return nil, nil
	}
	root, rest, err := f.place.at(f.path)
	if err != nil {
		return nil, err
	}
	return root.Open(rest)
}

// content returns a file of the view up to a number of bytes, nil if there is none.
func (v *view) content(name string, limit int64) ([]byte, error) {
	file, err := v.read(v.resolve(name))
	if err != nil || file == nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit))
}

// machine returns what an ELF file of the view is for; it is an error if it is none.
func (v *view) machine(f found) (machine, error) {
	file, err := v.read(f)
	if err != nil {
		return machine{}, err
	}
	if file == nil {
		return machine{}, errNotELF
	}
	defer file.Close()
	var head [machineSize]byte
	if n, err := file.ReadAt(head[:], 0); n < len(head) {
		return machine{}, errors.Join(errNotELF, err)
	}
	m, _, err := readMachine(head[:])
	return m, err
}

// under reports whether a clean path is dir or below it.
func under(name, dir string) bool {
	return strings.HasPrefix(name, dir) && (len(name) == len(dir) || name[len(dir)] == '/' || dir == "/")
}
