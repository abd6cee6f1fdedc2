package artifact

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// nameMax bounds the length of a public name, so that it and temporary names made from it are file names (255 bytes).
const nameMax = 200

// Check reports, as *MalformedError, what would make d unfit for a store: a name or version that is no part of a file
// name, a prefix that is no clean absolute path, a layout below 1, text that is not UTF-8.
func (d *Derivation) Check() error {
	malformed := func(format string, args ...any) error {
		return &MalformedError{What: "derivation", Name: d.Name, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case !isName(d.Name):
		return malformed("the name has to match [A-Za-z0-9_+-][A-Za-z0-9_+.-]*")
	case d.Version != "" && !isName(d.Version):
		return malformed("the version %q has to match [A-Za-z0-9_+-][A-Za-z0-9_+.-]*", d.Version)
	case len(d.Name)+len(d.Version) > nameMax:
		return malformed("name and version are longer than %d characters", nameMax)
	case d.Layout < 1:
		return malformed("the layout is %d", d.Layout)
	case !path.IsAbs(d.Prefix) || path.Clean(d.Prefix) != d.Prefix:
		return malformed("the prefix %q is not an absolute, clean path", d.Prefix)
	}
	for field, text := range d.texts() {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return malformed("the %s is not UTF-8 text without NUL", field)
		}
	}
	for _, p := range d.Promises {
		if err := p.Check(); err != nil {
			return err
		}
	}
	return nil
}

// texts yields every text of d that a person or another machine chose, with the field that it is in.
func (d *Derivation) texts() func(yield func(field, text string) bool) {
	return func(yield func(field, text string) bool) {
		list := [][2]string{{"system", d.System}, {"prefix", d.Prefix}, {"script", d.Script}, {"policy", d.Policy}}
		for _, s := range d.Interpreter {
			list = append(list, [2]string{"interpreter", s})
		}
		for k, v := range d.Environment {
			list = append(list, [2]string{"environment", k}, [2]string{"environment", v})
		}
		for _, s := range d.Sources {
			list = append(list, [2]string{"source", s.Digest}, [2]string{"source", s.Target})
		}
		for _, p := range d.Dependencies {
			list = append(list, [2]string{"dependency", p.As})
		}
		for _, p := range d.HostPackages {
			list = append(list, [2]string{"host package", p.Name + p.Architecture + p.Version})
		}
		for _, p := range d.HostPaths {
			list = append(list, [2]string{"host path", p.Path}, [2]string{"host path", p.Identity})
		}
		for _, p := range d.Promises {
			list = append(list, [2]string{"promise", p.Path + p.Kind + p.Name})
		}
		for _, pair := range list {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '+', c == '-':
		case c == '.' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// StoreName is the public name of d below the directory store/: its ID, its name and, unless empty, its version, joined
// by "-".
func (d *Derivation) StoreName() string { return d.ID().StoreName(d.Name, d.Version) }

// StoreName is the public name of the derivation that id belongs to, for who knows the ID already.
func (id DerivationID) StoreName(name, version string) string {
	if version == "" {
		return id.String() + "-" + name
	}
	return id.String() + "-" + name + "-" + version
}

// Label is what people call d: its name and, unless empty, its version, joined by "-".
func (d *Derivation) Label() string {
	if d.Version == "" {
		return d.Name
	}
	return d.Name + "-" + d.Version
}

// PublicPath is the path that a build of d is configured with, below d's prefix.
func (d *Derivation) PublicPath() string { return path.Join(d.Prefix, "store", d.StoreName()) }
