// Package rootpath finds the real names of paths below a root directory: symbolic links among the folders are resolved as
// if the root were "/". It decides by names, so what then opens a real name must still refuse links (O_NOFOLLOW).
package rootpath

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// Resolver resolves paths and remembers the folders that it has seen. Safe for concurrent use.
type Resolver struct {
	lookup func(name string) Entry
	mu     sync.Mutex
	seen   map[string]Real
}

// Entry is what a name stands for. Link is the target of a symbolic link, else empty; Closed marks a folder that not
// everybody may search, or what could not be looked at.
type Entry struct {
	Link   string
	Closed bool
}

// Real is a resolved path: Path has no symbolic link among its folders. Closed tells that the way led through a folder
// that not everybody may search; the rest of Path is then as it was given.
type Real struct {
	Path   string
	Closed bool
}

// maxLinks bounds a chain of links, like the kernel's 40 (path_resolution(7)).
const maxLinks = 40

// New returns a Resolver over names that lookup describes. Names are absolute, clean and have real folders; a name that
// does not exist is a zero Entry.
func New(lookup func(name string) Entry) *Resolver {
	return &Resolver{lookup: lookup, seen: map[string]Real{"/": {Path: "/"}}}
}

// OnHost returns a Resolver over the files below root.
func OnHost(root string) *Resolver {
	return New(func(name string) Entry {
		info, err := os.Lstat(filepath.Join(root, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Entry{}
		case err != nil:
			return Entry{Closed: true}
		case info.IsDir():
			return Entry{Closed: info.Mode().Perm()&0o001 == 0}
		case info.Mode().Type() != fs.ModeSymlink:
			return Entry{}
		}
		target, err := os.Readlink(filepath.Join(root, name))
		return Entry{Link: target, Closed: err != nil}
	})
}

// Name resolves the folders of an absolute path, not its last component.
func (r *Resolver) Name(name string) Real {
	r.mu.Lock()
	defer r.mu.Unlock()
	name = path.Clean(name)
	if name == "/" {
		return Real{Path: "/"}
	}
	return below(r.follow(path.Dir(name), maxLinks), path.Base(name))
}

// Follow resolves an absolute path, its last component too.
func (r *Resolver) Follow(name string) Real {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.follow(path.Clean(name), maxLinks)
}

// Chain returns the real name of an absolute path and, where that is a link, the real names that it leads to, one link
// after the other. Of a loop it returns the first 40.
func (r *Resolver) Chain(name string) []string {
	var chain []string
	for range maxLinks {
		real := r.Name(name)
		chain = append(chain, real.Path)
		target := r.lookup(real.Path).Link
		if target == "" || real.Closed {
			break
		}
		if name = target; !path.IsAbs(target) {
			name = path.Join(path.Dir(real.Path), target)
		}
	}
	return chain
}

func below(dir Real, base string) Real {
	return Real{Path: path.Join(dir.Path, base), Closed: dir.Closed}
}

func (r *Resolver) follow(name string, links int) Real {
	if real, ok := r.seen[name]; ok {
		return real
	}
	real := below(r.follow(path.Dir(name), links), path.Base(name))
	if !real.Closed {
		real = r.step(real.Path, links)
	}
	if links == maxLinks || !real.Closed { // deeper down a loop looks closed, which must not be remembered
		r.seen[name] = real
	}
	return real
}

// step resolves the last component of name, whose folders are real.
func (r *Resolver) step(name string, links int) Real {
	entry := r.lookup(name)
	if entry.Link == "" || entry.Closed || links == 0 {
		return Real{Path: name, Closed: entry.Closed || entry.Link != ""}
	}
	at := Real{Path: path.Dir(name)}
	if path.IsAbs(entry.Link) {
		at.Path = "/"
	}
	for part := range strings.SplitSeq(entry.Link, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			at.Path = path.Dir(at.Path)
		case at.Closed:
			at = below(at, part)
		default:
			at = r.follow(path.Join(at.Path, part), links-1)
		}
	}
	return at
}
