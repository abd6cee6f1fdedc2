package spec

import "hdjail/build/lens"

// Expand returns the spec with its references replaced by what values says, and checked like one that has none. What is
// not known yet stays a reference, where the key allows that. It is s itself when it has no references. An error is an
// *Error at the place of the reference.
func (s *Spec) Expand(values lens.Values) (*Spec, error) {
	if s.root == nil {
		return s, nil
	}
	return (&decoder{file: s.File, text: s.text, values: values}).spec(*s.root)
}

// When a reference has to be known, at the latest.
const (
	// never may it stay: the key is looked at before anything is built.
	never = iota
	// self may `self.out` stay, which depends on the derivation.
	self
	// later may the content of dependencies stay, too.
	later
)

// refer replaces the references in the text of n. pending tells that they are not known yet, because the spec is read for
// the first time: then there is nothing more to check. Where references may stay, what comes out is a template.
func (d *decoder) refer(n *node, stays int) (pending bool) {
	if d.err != nil || lens.Literal(n.text) {
		return false
	}
	d.references = true
	t, err := lens.Parse(n.text)
	if err == nil {
		err = allowed(t, stays)
	}
	if err == nil && d.values != nil {
		t, err = t.Expand(d.values)
	}
	switch {
	case err != nil:
		d.err = newError(d.file, d.text, n.at, err.Error(), "").because(err)
		return false
	case d.values == nil:
		return true
	case stays == never:
		n.text, _ = t.Text()
		return false
	}
	n.text = t.String()
	return false
}

func allowed(t lens.Template, stays int) error {
	for _, e := range t.Exprs() {
		switch {
		case len(e.Hops) == 0 && e.Kind != lens.Out:
			return e.Fail("in a spec there is only ${self.out}", "a spec does not ask itself")
		case len(e.Hops) == 0 && stays == never:
			return e.Fail("use it in environment or interpreter", "the path is known only when this spec is resolved")
		case e.Kind.Content() && stays != later:
			return e.Fail("use it in environment", "it is known only when the dependency is built")
		case e.Kind == lens.Whole:
			return e.Fail("ask it for out, promise:PATH, spec.KEY, json.FILE:KEY or text.FILE", "it is a build, and no value")
		}
	}
	return nil
}
