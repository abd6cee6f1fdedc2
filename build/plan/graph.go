package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"hdjail/artifact"
	"hdjail/build/spec"
)

// Derivations looks up what the store has. Implementations are safe for concurrent use.
type Derivations interface {
	// Derivation returns the derivation with this ID; an error when the store lacks it.
	Derivation(id artifact.DerivationID) (*artifact.Derivation, error)
}

// Node is one build in a Graph: a spec, or a derivation of the store that a spec names by ID.
type Node struct {
	// Spec is nil when the node came by ID; Derivation is nil otherwise.
	Spec       *spec.Spec
	Derivation *artifact.Derivation
	// Path is the canonical path of the spec file, which its relative paths start from.
	Path string
	// Dependencies are in the order of the spec, or of the derivation.
	Dependencies []*Node

	index int
}

// name is what messages call the node.
func (n *Node) name() string {
	if n.Spec != nil {
		return n.Spec.File
	}
	return n.Derivation.Name
}

// Graph is what a list of targets reaches. Nodes holds each node once, dependencies before dependants; Targets are in the
// order in which they were asked for.
type Graph struct {
	Nodes, Targets []*Node
}

// Targets says what to load: spec files, absolute or relative to the absolute directory Dir, and derivations by ID.
type Targets struct {
	Dir   string
	Files []string
	IDs   []artifact.DerivationID
}

// LoadGraph reads the targets and all that they depend on, each file once. A mistake in a spec, a reference that leads
// nowhere and a cycle are *spec.Error with a place.
func LoadGraph(ctx context.Context, t Targets, store Derivations) (*Graph, error) {
	l := &loader{store: store, files: map[string]*Node{}, derivations: map[artifact.DerivationID]*Node{}, dirs: map[string]string{}}
	g := &Graph{}
	var wanted []reference
	for _, file := range t.Files {
		path := file
		if !filepath.IsAbs(path) {
			path = t.Dir + "/" + path
		}
		wanted = append(wanted, reference{file: path, shown: file})
	}
	for _, id := range t.IDs {
		wanted = append(wanted, reference{id: id})
	}
	for level := wanted; len(level) > 0; {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		next, err := l.load(level)
		if err != nil {
			return nil, err
		}
		if g.Targets == nil {
			for _, r := range level {
				g.Targets = append(g.Targets, l.lookup(r))
			}
		}
		level = next
	}
	var err error
	g.Nodes, err = sortNodes(l.nodes)
	return g, err
}

// reference is a wish for a node: file is a path to open, shown is how messages call it. from, the node that wants it
// as its dependency number index, is nil for a target.
type reference struct {
	file, shown string
	id          artifact.DerivationID
	from        *Node
	index       int
	// canonical is the path of the node in loader.files.
	canonical string
}

// fail puts an error where the reference stands.
func (r reference) fail(err error) error {
	var located *spec.Error
	var path *os.PathError
	switch {
	case errors.As(err, &located):
		return err
	case errors.As(err, &path):
		err = path.Err
	}
	name := r.shown
	if r.file == "" {
		name = r.id.String()
	}
	if r.from == nil || r.from.Spec == nil {
		return fmt.Errorf("load %q: %w", name, err)
	}
	return r.from.Spec.ErrorAt("dependencies", r.index, fmt.Errorf("dependency %q: %w", name, err), "")
}

// loader reads a graph level by level: what one level refers to is the next. A level is read in parallel, its results are
// put in place one after the other, so the outcome does not depend on timing.
type loader struct {
	store       Derivations
	nodes       []*Node
	files       map[string]*Node
	derivations map[artifact.DerivationID]*Node
	// dirs maps directories as they are spelled to their canonical paths.
	dirs map[string]string
}

func (l *loader) lookup(r reference) *Node {
	if r.file == "" {
		return l.derivations[r.id]
	}
	return l.files[r.canonical]
}

// load makes the nodes of one level and returns the references of the new ones.
func (l *loader) load(level []reference) ([]reference, error) {
	if err := l.canonicalize(level); err != nil {
		return nil, err
	}
	var fresh []int
	for i, r := range level {
		if l.lookup(r) != nil {
			continue
		}
		n := &Node{Path: r.canonical}
		if r.file == "" {
			l.derivations[r.id] = n
		} else {
			l.files[r.canonical] = n
		}
		l.nodes = append(l.nodes, n)
		fresh = append(fresh, i)
	}
	err := parallel(len(fresh), func(i int) error {
		r := level[fresh[i]]
		if err := l.read(l.lookup(r), r); err != nil {
			return r.fail(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, r := range level {
		if r.from != nil {
			r.from.Dependencies[r.index] = l.lookup(r)
		}
	}
	var next []reference
	for _, i := range fresh {
		next = append(next, references(l.lookup(level[i]))...)
	}
	return next, nil
}

func (l *loader) canonicalize(level []reference) error {
	for _, r := range level {
		dir := filepath.Dir(r.file)
		if _, known := l.dirs[dir]; known || r.file == "" {
			continue
		}
		canonical, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return r.fail(err)
		}
		l.dirs[dir] = canonical
	}
	return parallel(len(level), func(i int) error {
		r := &level[i]
		if r.file == "" {
			return nil
		}
		r.canonical = filepath.Join(l.dirs[filepath.Dir(r.file)], filepath.Base(r.file))
		info, err := os.Lstat(r.canonical)
		if err == nil && info.Mode()&os.ModeSymlink != 0 {
			r.canonical, err = filepath.EvalSymlinks(r.canonical)
		}
		if err != nil {
			return r.fail(err)
		}
		return nil
	})
}

func (l *loader) read(n *Node, r reference) (err error) {
	if r.file == "" {
		n.Derivation, err = l.store.Derivation(r.id)
		return err
	}
	text, err := readFile(r.canonical)
	if err != nil {
		return err
	}
	n.Spec, err = spec.Parse(r.shown, text)
	return err
}

// readFile reads a regular file; more than a spec may have of it is not read.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is no regular file")
	}
	text := make([]byte, min(info.Size(), spec.MaxBytes)+1)
	length, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text[:length], nil
}

// references lists what n depends on and makes room for it.
func references(n *Node) []reference {
	var list []reference
	if n.Spec == nil {
		for i, dep := range n.Derivation.Dependencies {
			list = append(list, reference{id: dep.ID, from: n, index: i})
		}
	} else {
		for i, dep := range n.Spec.Dependencies {
			r := reference{from: n, index: i}
			if dep.Spec == "" {
				r.id, _ = artifact.ParseDerivationID(dep.ID) // spec.Parse has checked it
			} else if r.file, r.shown = dep.Spec, dep.Spec; !filepath.IsAbs(dep.Spec) {
				r.file = filepath.Dir(n.Path) + "/" + dep.Spec
				r.shown = filepath.Join(filepath.Dir(n.Spec.File), dep.Spec)
			}
			list = append(list, r)
		}
	}
	n.Dependencies = make([]*Node, len(list))
	return list
}

// sortNodes puts dependencies before dependants. It is iterative, so depth costs no stack.
func sortNodes(nodes []*Node) ([]*Node, error) {
	waiting := make([]int, len(nodes))
	dependants := make([][]*Node, len(nodes))
	for i, n := range nodes {
		n.index = i
	}
	var ready []*Node
	for i, n := range nodes {
		waiting[i] = len(n.Dependencies)
		for _, dep := range n.Dependencies {
			dependants[dep.index] = append(dependants[dep.index], n)
		}
		if waiting[i] == 0 {
			ready = append(ready, n)
		}
	}
	for done := 0; done < len(ready); done++ {
		for _, n := range dependants[ready[done].index] {
			if waiting[n.index]--; waiting[n.index] == 0 {
				ready = append(ready, n)
			}
		}
	}
	if len(ready) < len(nodes) {
		return nil, cycle(nodes, waiting)
	}
	return ready, nil
}

// cycle describes one cycle among the nodes that still wait, from its first file in load order.
func cycle(nodes []*Node, waiting []int) error {
	var n *Node
	for _, candidate := range nodes {
		if waiting[candidate.index] > 0 {
			n = candidate
			break
		}
	}
	stuck := func(n *Node) int {
		for i, dep := range n.Dependencies {
			if waiting[dep.index] > 0 {
				return i
			}
		}
		return 0
	}
	seen := map[*Node]bool{}
	for ; !seen[n]; n = n.Dependencies[stuck(n)] {
		seen[n] = true
	}
	names, start := []string{n.name()}, n
	for n = n.Dependencies[stuck(n)]; ; n = n.Dependencies[stuck(n)] {
		names = append(names, n.name())
		if n == start {
			break
		}
	}
	message := "dependency cycle: " + strings.Join(names, " -> ")
	if start.Spec == nil {
		return errors.New(message)
	}
	return start.Spec.ErrorAt("dependencies", stuck(start), errors.New(message), "one of these dependencies has to go")
}
