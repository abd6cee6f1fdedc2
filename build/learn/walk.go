package learn

import (
	"path"
	"strings"
)

// walker resolves paths on the host, and tells the links that it meets. It remembers what it has seen.
type walker struct {
	look func(path string) Entry
	seen map[string]step
}

// step is where a path leads, with the links on the way.
type step struct {
	end   string
	links []string
}

// maxLinks bounds a chain of links, like the kernel's 40 (path_resolution(7)).
const maxLinks = 40

// walk returns the real path of an absolute, clean one, and the real paths of the links on the way. Without follow, a link at
// its end is where it ends.
func (w *walker) walk(p string, follow bool) (end string, links []string) {
	if p == "/" {
		return p, nil
	}
	dir := w.follow(path.Dir(p), maxLinks)
	at := path.Join(dir.end, path.Base(p))
	if !follow {
		return at, dir.links
	}
	s := w.follow(at, maxLinks)
	return s.end, append(append([]string{}, dir.links...), s.links...)
}

func (w *walker) follow(p string, left int) step {
	if p == "/" || left == 0 {
		return step{end: p}
	}
	if s, known := w.seen[p]; known {
		return s
	}
	dir := w.follow(path.Dir(p), left)
	at := path.Join(dir.end, path.Base(p))
	s := step{end: at, links: dir.links}
	if e := w.look(at); e.Kind == Link {
		target := e.Target
		if !path.IsAbs(target) {
			target = path.Dir(at) + "/" + target
		}
		s.links = append(append([]string{}, dir.links...), at)
		rest := w.parts(target, left-1)
		s.end, s.links = rest.end, append(s.links, rest.links...)
	}
	if left == maxLinks { // deeper down, a loop ends early
		w.seen[p] = s
	}
	return s
}

// parts follows a link's target component by component, because ".." means the parent of where a link leads.
func (w *walker) parts(target string, left int) step {
	at := step{end: "/"}
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			at.end = path.Dir(at.end)
		default:
			next := w.follow(path.Join(at.end, part), left)
			at = step{next.end, append(at.links, next.links...)}
		}
	}
	return at
}
