package lens

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"

	"strconv"
	"strings"

	"hdjail/artifact"
)

// Build is a derivation whose dependencies can be reached.
type Build interface {
	Derivation() *artifact.Derivation
	// Dependency is the build that Derivation().Dependencies[i] names.
	Dependency(i int) (Build, error)
}

// Follow goes from a build to the one that the expression asks. via is the dependency that led to it, zero for `self`. A
// NAME that a build on the way does not have is an *Error.
func Follow(from Build, e Expr) (to Build, via artifact.Dependency, err error) {
	to = from
	for _, name := range e.Hops {
		d := to.Derivation()
		i := slices.IndexFunc(d.Dependencies, func(dep artifact.Dependency) bool { return dep.As == name })
		if i < 0 {
			return nil, via, e.Fail(noDependency(d, name))
		}
		via = d.Dependencies[i]
		if to, err = to.Dependency(i); err != nil {
			return nil, via, err
		}
	}
	return to, via, nil
}

func noDependency(d *artifact.Derivation, name string) (help, format string, a, b string) {
	var known []string
	for _, dep := range d.Dependencies {
		if dep.As != "" {
			known = append(known, dep.As)
		}
	}
	if help = Nearest(name, known); len(known) == 0 {
		help = "list it under dependencies"
	}
	return help, "%s has no dependency %s", d.Name, name
}

// Value answers an expression that needs no realization, for the derivation that it leads to. What is not there is an
// *Error, and so is a Kind that needs one.
func Value(d *artifact.Derivation, e Expr) (string, error) {
	switch e.Kind {
	case Out:
		return d.PublicPath(), nil
	case Promise:
		promised, err := Promised(d, e)
		return path.Join(d.PublicPath(), promised), err
	case Field:
		return field(d, e)
	case Whole:
		return "", e.Fail("ask it for out, promise:PATH, spec.KEY, json.FILE:KEY or text.FILE", "it is a build, and no value")
	}
	return "", e.Fail("", "it is known only when %s is built", d.Name)
}

// Promised is the path that the derivation promises and the expression asks for; where there is none, an *Error.
func Promised(d *artifact.Derivation, e Expr) (string, error) {
	var paths, names []string
	for _, p := range d.Promises {
		if e.Name != "" && p.Name == e.Name || e.Name == "" && p.Path == e.Path {
			return p.Path, nil
		}
		paths = append(paths, p.Path)
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	switch {
	case e.Name != "" && len(names) == 0:
		return "", e.Fail("write promise:PATH", "%s promises nothing by the name %s", d.Name, e.Name)
	case e.Name != "":
		return "", e.Fail(Nearest(e.Name, names), "%s promises nothing by the name %s", d.Name, e.Name)
	case len(paths) == 0:
		return "", e.Fail("list it under promises in the spec of "+d.Name, "%s does not promise %q", d.Name, e.Path)
	}
	return "", e.Fail(Nearest(e.Path, paths), "%s does not promise %q", d.Name, e.Path)
}

// field looks a scalar of the derivation up, by the names that its JSON has.
func field(d *artifact.Derivation, e Expr) (string, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return "", e.Fail("", "%v", err)
	}
	text, err := scalar(data, e)
	if err != nil || e.Keys[0] != "environment" && e.Keys[0] != "interpreter" {
		return text, err
	}
	t, err := ParseIn(d, text)
	if err != nil {
		return "", err
	}
	if t, err = t.Expand(OutOf(d.PublicPath())); err != nil {
		return "", err
	}
	text, known := t.Text()
	if !known {
		return "", e.Fail("", "it is known only when the dependencies of %s are built", d.Name)
	}
	return text, nil
}

// OutOf knows nothing but `self.out`.
func OutOf(public string) Values {
	return func(e Expr) (string, bool, error) {
		return public, len(e.Hops) == 0 && e.Kind == Out, nil
	}
}

// scalar finds the scalar that the keys lead to in a JSON document, as it is written there; numbers count a list from 0.
func scalar(data []byte, e Expr) (string, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return "", e.Fail("", "malformed JSON: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return "", e.Fail("", "malformed JSON: text after the end of the document")
	}
	for i, key := range e.Keys {
		at, found := cmp.Or(strings.Join(e.Keys[:i], "."), "the top"), false
		switch v := value.(type) {
		case map[string]any:
			if value, found = v[key]; !found {
				return "", e.Fail(Nearest(key, slices.Sorted(maps.Keys(v))), "there is no key %q at %s", key, at)
			}
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n < 0 || n >= len(v) {
				return "", e.Fail("", "there is no number %q in the list at %s, which has %d", key, at, len(v))
			}
			value = v[n]
		default:
			return "", e.Fail("", "there is no key %q, because %s is no mapping", key, at)
		}
	}
	return scalarText(value, e)
}

func scalarText(value any, e Expr) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case map[string]any:
		return "", e.Fail(Nearest("", slices.Sorted(maps.Keys(v))), "it is a mapping, and no scalar")
	case []any:
		return "", e.Fail("a number behind it picks an element, from 0", "it is a list, and no scalar")
	}
	return "", e.Fail("", "it is null, and no scalar")
}
