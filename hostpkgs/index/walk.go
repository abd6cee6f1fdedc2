package index

import "strings"

// walk is a way down from the root of an index. It stands in a folder, by its real name.
type walk struct {
	x   *Index
	way []step
	dir []byte // the folder, "" for the root
	// last is the component that find looked up at last, "" if it ended in the folder itself.
	last string
}

// step is a folder on the way: its entry, which is zero for a folder that the index does not know, and how much of the
// name was there before it.
type step struct {
	entry  entry
	before int
}

// find goes to what a path names, a relative one from where the walk stands, and returns its entry and whether there is
// one. It follows links among the folders, not a link at the end.
func (w *walk) find(name string) (entry, bool) {
	if strings.HasPrefix(name, "/") {
		w.way, w.dir = w.way[:0], w.dir[:0]
	}
	links := 0
	for rest := name; ; {
		var part string
		part, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		rest = strings.TrimLeft(rest, "/")
		switch part {
		case "":
			w.last = ""
			return w.here()
		case ".":
			continue
		case "..":
			w.up()
			continue
		}
		e, ok := w.child(part)
		switch {
		case rest == "":
			w.last = part
			return e, ok
		case e.kind != isLink:
			w.down(part, e)
		case links == maxLinks:
			w.last = part
			return entry{}, false
		default:
			links++
			target := w.x.target(e)
			if strings.HasPrefix(target, "/") {
				w.way, w.dir = w.way[:0], w.dir[:0]
			}
			rest = target + "/" + rest
		}
	}
}

// leadsToFolder reports whether an entry that find has just returned is a link that ends at a folder.
func (w *walk) leadsToFolder(e entry) bool {
	for range maxLinks {
		if e.kind != isLink {
			break
		}
		e, _ = w.find(w.x.target(e))
	}
	return e.kind == isFolder
}

// real returns the real name of what find looked for.
func (w *walk) real() string {
	if w.last == "" {
		return string(w.dir)
	}
	return string(w.dir) + "/" + w.last
}

func (w *walk) child(name string) (entry, bool) {
	at, known := w.here()
	if !known || at.kind != isFolder {
		return entry{}, false
	}
	return w.x.child(at.ref, name)
}

// here returns the entry of the folder that the walk stands in.
func (w *walk) here() (entry, bool) {
	if len(w.way) == 0 {
		return entry{kind: isFolder}, true
	}
	e := w.way[len(w.way)-1].entry
	return e, e.kind != isUnknown
}

func (w *walk) down(name string, e entry) {
	w.way = append(w.way, step{e, len(w.dir)})
	w.dir = append(append(w.dir, '/'), name...)
}

func (w *walk) up() {
	if n := len(w.way); n > 0 {
		w.dir = w.dir[:w.way[n-1].before]
		w.way = w.way[:n-1]
	}
}
