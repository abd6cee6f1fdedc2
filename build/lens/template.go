package lens

import (
	"strings"

	"hdjail/artifact"
)

// Template is text with references. In it `$$` is a dollar sign, and a dollar before anything but `{` or `$` is one, too.
type Template struct{ parts []part }

// part is literal text, or the expression that stands for it.
type part struct {
	literal string
	expr    *Expr
}

// Values answers for references. Where it does not know an answer yet, the reference stays.
type Values func(e Expr) (text string, known bool, err error)

// Literal reports whether text, read as a template, is itself: most are.
func Literal(text string) bool { return !strings.Contains(text, "${") && !strings.Contains(text, "$$") }

// Parse reads a template. A reference that is none is an *Error.
func Parse(text string) (Template, error) {
	var t Template
	var literal strings.Builder
	for text != "" {
		at := strings.IndexByte(text, '$')
		if at < 0 {
			at = len(text)
		}
		literal.WriteString(text[:at])
		text = text[at:]
		switch {
		case strings.HasPrefix(text, "$$"):
			literal.WriteByte('$')
			text = text[2:]
		case strings.HasPrefix(text, "${"):
			source, rest, closed := strings.Cut(text[2:], "}")
			if !closed {
				return t, &Error{Source: source, Reason: "it has no end", Help: "end it with }; a dollar sign before { is written $$"}
			}
			e, err := ParseExpr(source)
			if err != nil {
				return t, err
			}
			t.add(literal.String(), &e)
			literal.Reset()
			text = rest
		case text != "":
			literal.WriteByte('$')
			text = text[1:]
		}
	}
	t.add(literal.String(), nil)
	return t, nil
}

// firstLayout is the layout of the first derivations whose environment and interpreter are templates.
const firstLayout = 2

// ParseIn reads a text of the environment or interpreter of a derivation.
func ParseIn(d *artifact.Derivation, text string) (Template, error) {
	if d.Layout < firstLayout {
		return Template{parts: []part{{literal: text}}}, nil
	}
	return Parse(text)
}

func (t *Template) add(literal string, e *Expr) {
	if literal != "" {
		t.parts = append(t.parts, part{literal: literal})
	}
	if e != nil {
		t.parts = append(t.parts, part{expr: e})
	}
}

// Exprs lists the references in their order.
func (t Template) Exprs() []Expr {
	var list []Expr
	for _, p := range t.parts {
		if p.expr != nil {
			list = append(list, *p.expr)
		}
	}
	return list
}

// Expand returns the template with every reference replaced that values knows.
func (t Template) Expand(values Values) (Template, error) {
	var expanded Template
	var literal strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			literal.WriteString(p.literal)
			continue
		}
		text, known, err := values(*p.expr)
		if err != nil {
			return Template{}, err
		}
		if known {
			literal.WriteString(text)
			continue
		}
		expanded.add(literal.String(), p.expr)
		literal.Reset()
	}
	expanded.add(literal.String(), nil)
	return expanded, nil
}

// Text is what the template stands for; known is false while it has references.
func (t Template) Text() (text string, known bool) {
	for _, p := range t.parts {
		if p.expr != nil {
			return "", false
		}
		text += p.literal
	}
	return text, true
}

// String is the canonical form: two templates that stand for the same have the same, and Parse reads it back. Only dollar
// signs that would not stay are doubled.
func (t Template) String() string {
	var b strings.Builder
	for i, p := range t.parts {
		if p.expr != nil {
			b.WriteString("${" + p.expr.Source + "}")
			continue
		}
		b.WriteString(escape(p.literal, i+1 < len(t.parts)))
	}
	return b.String()
}

// Escape is the template that stands for a text.
func Escape(text string) string { return escape(text, false) }

// escape doubles the dollar signs before `{`, `$` and, when one follows, a reference.
func escape(text string, reference bool) string {
	if Literal(text) && !(reference && strings.HasSuffix(text, "$")) {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte(text[i])
		last := i+1 == len(text)
		if text[i] == '$' && (last && reference || !last && (text[i+1] == '{' || text[i+1] == '$')) {
			b.WriteByte('$')
		}
	}
	return b.String()
}
