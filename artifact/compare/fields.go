package compare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"hdjail/artifact"
)

// Change is one field in which two derivations differ. A and B are its values as text, nil on a side that has none.
type Change struct {
	// Field is what differs: "layout", "name", "version", "system", "prefix", "interpreter", "script", "environment", "source",
	// "dependency", "host package", "host path", "promise" or "policy"; " order" follows a list whose order alone differs.
	Field string `json:"field"`
	// Key says which one where there are several: a variable, the target of a source, the NAME of a dependency, a package, a path.
	Key string  `json:"key,omitempty"`
	A   *string `json:"a"`
	B   *string `json:"b"`
	// Diff is a unified diff of values of several lines, empty for others.
	Diff string `json:"diff,omitempty"`
}

// Fields lists what differs between two derivations but for their dependencies, in the order of the fields. Two derivations
// without a difference there and with equal dependencies have equal identities.
func Fields(a, b *artifact.Derivation) []Change {
	var c changes
	c.value("layout", "", strconv.Itoa(a.Layout), strconv.Itoa(b.Layout))
	c.value("name", "", a.Name, b.Name)
	c.value("version", "", a.Version, b.Version)
	c.value("system", "", a.System, b.System)
	c.value("prefix", "", a.Prefix, b.Prefix)
	if !slices.Equal(a.Interpreter, b.Interpreter) {
		c.value("interpreter", "", fmt.Sprintf("%q", a.Interpreter), fmt.Sprintf("%q", b.Interpreter))
	}
	c.value("script", "", a.Script, b.Script)
	c.list("environment", variables(a), variables(b))
	c.list("source", sources(a), sources(b))
	c.hostPackages(a, b)
	c.list("host path", paths(a), paths(b))
	c.list("promise", promises(a), promises(b))
	c.value("policy", "", a.Policy, b.Policy)
	return c
}

// changes collects.
type changes []Change

// value compares a field that both sides have.
func (c *changes) value(field, key, a, b string) {
	if a != b {
		*c = append(*c, Change{Field: field, Key: key, A: &a, B: &b, Diff: unified(a, b)})
	}
}

// entry is an element of a list: what it is known by, and what is said of it.
type entry struct{ key, value string }

// list compares lists of entries: those of one key in their order, then the order of all.
func (c *changes) list(field string, a, b []entry) {
	if slices.Equal(a, b) {
		return
	}
	before, ofA, ofB := len(*c), byKey(a), byKey(b)
	keys := maps.Clone(ofA)
	maps.Copy(keys, ofB)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		for i := range max(len(ofA[key]), len(ofB[key])) {
			switch {
			case i >= len(ofB[key]):
				*c = append(*c, Change{Field: field, Key: key, A: &ofA[key][i]})
			case i >= len(ofA[key]):
				*c = append(*c, Change{Field: field, Key: key, B: &ofB[key][i]})
			default:
				c.value(field, key, ofA[key][i], ofB[key][i])
			}
		}
	}
	if len(*c) == before {
		c.value(field+" order", "", keysOf(a), keysOf(b))
	}
}

func byKey(list []entry) map[string][]string {
	m := map[string][]string{}
	for _, e := range list {
		m[e.key] = append(m[e.key], e.value)
	}
	return m
}

// keysOf names the entries in their order.
func keysOf(list []entry) string {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = cmp.Or(e.key, e.value)
	}
	return strings.Join(names, ", ")
}

func variables(d *artifact.Derivation) (list []entry) {
	for _, k := range slices.Sorted(maps.Keys(d.Environment)) {
		list = append(list, entry{k, d.Environment[k]})
	}
	return list
}

func sources(d *artifact.Derivation) (list []entry) {
	for _, s := range d.Sources {
		text := s.Digest
		if s.Unpack {
			text += " unpacked"
		}
		list = append(list, entry{s.Target, text})
	}
	return list
}

// hostPackages compares the packages; where versions tell them apart, nobody needs the digests.
func (c *changes) hostPackages(a, b *artifact.Derivation) {
	first := len(*c)
	c.list("host package", packages(a), packages(b))
	version := func(text *string) string {
		if text == nil {
			return ""
		}
		v, _, _ := strings.Cut(*text, " ")
		return v
	}
	for i := range (*c)[first:] {
		change := &(*c)[first+i]
		if version(change.A) == version(change.B) {
			continue
		}
		for _, side := range []**string{&change.A, &change.B} {
			if *side != nil {
				short := version(*side)
				*side = &short
			}
		}
	}
}

func packages(d *artifact.Derivation) (list []entry) {
	for _, p := range d.HostPackages {
		name := p.Name
		if p.Architecture != "" {
			name += ":" + p.Architecture
		}
		list = append(list, entry{name, p.Version + " " + p.Digest.String()})
	}
	return sorted(list)
}

func paths(d *artifact.Derivation) (list []entry) {
	for _, p := range d.HostPaths {
		list = append(list, entry{p.Path, p.Identity})
	}
	return sorted(list)
}

func promises(d *artifact.Derivation) (list []entry) {
	for _, p := range d.Promises {
		value := p.Kind
		if p.Name != "" {
			value += ", called " + p.Name
		}
		list = append(list, entry{p.Path, value})
	}
	return list
}

// sorted is for lists whose order counts for nothing.
func sorted(list []entry) []entry {
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value)) })
	return list
}

// unified is the difference of two texts, empty where neither has several lines.
func unified(a, b string) string {
	if !strings.Contains(strings.TrimSuffix(a, "\n"), "\n") && !strings.Contains(strings.TrimSuffix(b, "\n"), "\n") {
		return ""
	}
	return difference(a, b)
}

// difference is the unified diff of two texts without its header.
func difference(a, b string) string {
	_, hunks, _ := strings.Cut(udiff.Unified("a", "b", a, b), "+++ b\n")
	return hunks
}
