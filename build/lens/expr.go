package lens

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind is what an expression asks of the build that it leads to.
type Kind int

// The kinds of expressions.
const (
	// Whole is the build itself: `dep.NAME`. Specs have no use for it.
	Whole Kind = iota
	// Out is the public path: `dep.NAME.out`.
	Out
	// Promise is a promised path: `dep.NAME.promise:PATH`, or by the name of the promise, `dep.NAME.promise.NAME`.
	Promise
	// Field is a scalar of the derivation: `dep.NAME.spec.a.b`.
	Field
	// JSON is a scalar in a JSON file of the output: `dep.NAME.json.FILE:a.b`.
	JSON
	// Text is the content of a file of the output: `dep.NAME.text.FILE`.
	Text
)

// Content reports whether the answer depends on what was built.
func (k Kind) Content() bool { return k == JSON || k == Text }

// Expr is a parsed expression.
type Expr struct {
	// Source is the expression as it was written, without `${` and `}`.
	Source string
	// Hops are the NAMEs of dependencies to follow, one after the other; none for `self`.
	Hops []string
	Kind Kind
	// Path is the promised path or the file of the output: relative, clean, below the output. It is empty for a promise that
	// is asked by Name.
	Path string
	Name string
	// Keys lead to a scalar of a Field or JSON.
	Keys []string
}

// Error is an expression that means nothing or leads nowhere.
type Error struct {
	// Source is the expression as it was written, or as much of it as there is.
	Source string
	Reason string
	// Help says what to do about it; it may be empty.
	Help string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("reference %q: %s", "${"+e.Source+"}", e.Reason) }

// Fail makes the *Error of e.
func (e Expr) Fail(help, format string, args ...any) *Error {
	return &Error{Source: e.Source, Reason: fmt.Sprintf(format, args...), Help: help}
}

const forms = "there are self.out, dep.NAME.out, dep.NAME.promise:PATH, dep.NAME.promise.NAME, dep.NAME.spec.KEY, dep.NAME.json.FILE:KEY, dep.NAME.text.FILE, and .dep.OTHER after dep.NAME; text ${x} is written $${x}"

// ParseExpr reads an expression without `${` and `}`. What is none is an *Error.
func ParseExpr(text string) (Expr, error) {
	e := Expr{Source: text}
	word, rest, more := strings.Cut(text, ".")
	if word != "self" && word != "dep" {
		return e, e.Fail(forms, "it begins with neither self nor dep")
	}
	for word == "dep" {
		var name string
		name, rest, more = strings.Cut(rest, ".")
		if !isVariable(name) {
			return e, e.Fail("a NAME is that of $NAME_DIR: letters, digits and _", "%q is no NAME of a dependency", name)
		}
		e.Hops = append(e.Hops, name)
		if word = ""; more && (rest == "dep" || strings.HasPrefix(rest, "dep.")) {
			word, rest, _ = strings.Cut(rest, ".")
		}
	}
	if !more {
		return e, nil
	}
	return e, e.ask(rest)
}

// ask reads what the expression asks of the build.
func (e *Expr) ask(text string) error {
	if file, found := strings.CutPrefix(text, "promise:"); found {
		e.Kind = Promise
		return e.path(file)
	}
	word, rest, _ := strings.Cut(text, ".")
	switch word {
	case "out":
		e.Kind = Out
		if text != "out" {
			return e.Fail("a path below it goes behind the reference: ${dep.NAME.out}/bin", "nothing follows out")
		}
		return nil
	case "promise":
		if e.Kind, e.Name = Promise, rest; rest == "" {
			return e.Fail("write promise:PATH or promise.NAME", "it names no promise")
		}
		return nil
	case "spec":
		e.Kind = Field
		return e.keys(rest)
	case "json":
		file, keys, found := strings.Cut(rest, ":")
		if !found {
			return e.Fail("write dep.NAME.json.FILE:KEY", "it names no key")
		}
		e.Kind = JSON
		if err := e.path(file); err != nil {
			return err
		}
		return e.keys(keys)
	case "text":
		e.Kind = Text
		return e.path(rest)
	}
	return e.Fail(Nearest(word, []string{"out", "promise", "spec", "json", "text", "dep"}), "%q is nothing to ask of a build", word)
}

func (e *Expr) path(text string) error {
	switch {
	case text == "" || text == ".":
		return e.Fail("", "it names no path")
	case path.IsAbs(text) || slices.Contains(strings.Split(text, "/"), ".."):
		return e.Fail("paths start at the output", "the path %q leaves the output", text)
	case strings.ContainsRune(text, 0):
		return e.Fail("", "the path %q holds a NUL character", text)
	}
	e.Path = path.Clean(text)
	return nil
}

func (e *Expr) keys(text string) error {
	e.Keys = strings.Split(text, ".")
	if slices.Contains(e.Keys, "") {
		return e.Fail("", "a key is empty")
	}
	return nil
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
