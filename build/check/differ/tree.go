package differ

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"hdjail/artifact/tree"
)

// Kinds of differences.
const (
	// OnlyFirst and OnlySecond: one tree lacks the entry, and what is below it.
	OnlyFirst, OnlySecond = "only-first", "only-second"
	// Type: a file here, a directory or link there.
	Type = "type"
	// Executable: a file is executable in one tree only.
	Executable = "executable"
	// LinkText: links lead to different places.
	LinkText = "link"
	// Content: files hold different bytes.
	Content = "content"
)

// Difference is one entry that two trees do not have in common.
type Difference struct {
	// Path is relative to the trees, and need not be UTF-8.
	Path string `json:"path"`
	Kind string `json:"kind"`
	// First and Second are what each has: types, the texts of links, the lines of texts or the values of a header.
	First  string `json:"first,omitempty"`
	Second string `json:"second,omitempty"`
	// Offset is the first byte that differs in files of these Sizes.
	Offset int64    `json:"offset"`
	Sizes  [2]int64 `json:"sizes"`
	// Place is where Offset lies, outermost first, for example: gzip, member "doc/man.1", line 3. It is empty where nothing is
	// known of the format.
	Place []string `json:"place,omitempty"`
	// Sections are the sections of an ELF file whose bytes differ, in the order of the first file.
	Sections []string `json:"sections,omitempty"`
}

// maxDifferences bounds the list for two trees that have little in common.
const maxDifferences = 10000

// entry is what counts of an entry of a tree but for the bytes of files.
type entry struct {
	kind   tree.Kind
	size   int64
	target string
}

func (e entry) isFile() bool { return e.kind == tree.File || e.kind == tree.Executable }

func (e entry) typeName() string {
	switch e.kind {
	case tree.Directory:
		return "directory"
	case tree.Link:
		return "link"
	}
	return "file"
}

// Trees lists the differences of the trees below two directories, sorted by path, and at most 10,000; more tells that some
// were left out.
func Trees(ctx context.Context, first, second string) (list []Difference, more bool, err error) {
	a, err := openSide(ctx, first)
	if err != nil {
		return nil, false, err
	}
	defer a.root.Close()
	b, err := openSide(ctx, second)
	if err != nil {
		return nil, false, err
	}
	defer b.root.Close()
	all := maps.Clone(a.entries)
	maps.Copy(all, b.entries)
	gone := "" // an entry that one tree lacks, with a slash
	for _, path := range slices.SortedFunc(maps.Keys(all), byParts) {
		if gone != "" && strings.HasPrefix(path, gone) {
			continue
		}
		found, err := compare(ctx, a, b, path)
		if err != nil {
			return list, more, err
		}
		for _, d := range found {
			if d.Kind == OnlyFirst || d.Kind == OnlySecond || d.Kind == Type {
				gone = path + "/"
			}
		}
		if list = append(list, found...); len(list) >= maxDifferences {
			return list[:maxDifferences], true, nil
		}
	}
	return list, false, nil
}

// byParts sorts paths so that what is below a directory follows it at once.
func byParts(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) }

// side is one of two trees.
type side struct {
	root    *os.Root
	entries map[string]entry
}

func openSide(ctx context.Context, path string) (*side, error) {
	dir, err := tree.Open(path, false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	s := &side{entries: map[string]entry{}}
	err = tree.Walk(ctx, dir, false, func(n *tree.Node) error {
		if n.Path != "" {
			s.entries[n.Path] = entry{n.Kind, n.Stat.Size, n.Target}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.root, err = os.OpenRoot(path)
	return s, err
}

func compare(ctx context.Context, a, b *side, path string) ([]Difference, error) {
	x, inA := a.entries[path]
	y, inB := b.entries[path]
	switch {
	case !inB:
		return []Difference{{Path: path, Kind: OnlyFirst, First: x.typeName()}}, nil
	case !inA:
		return []Difference{{Path: path, Kind: OnlySecond, Second: y.typeName()}}, nil
	case x.typeName() != y.typeName():
		return []Difference{{Path: path, Kind: Type, First: x.typeName(), Second: y.typeName()}}, nil
	case x.target != y.target:
		return []Difference{{Path: path, Kind: LinkText, First: x.target, Second: y.target}}, nil
	case !x.isFile():
		return nil, nil
	}
	var list []Difference
	if x.kind != y.kind {
		list = append(list, Difference{Path: path, Kind: Executable, First: executable(x), Second: executable(y)})
	}
	f, err := a.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := b.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	d, differ, err := contents(ctx, content{f, x.size}, content{g, y.size})
	if differ {
		d.Path = path
		list = append(list, d)
	}
	return list, err
}

func executable(e entry) string {
	if e.kind == tree.Executable {
		return "executable"
	}
	return "not executable"
}
