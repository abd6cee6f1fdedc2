package build

import (
	"fmt"
	"maps"
	"slices"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/build/lens"
	"hdjail/build/plan"
)

// filled is the derivation of a task as its jail has it: with nothing left of the references in its environment and
// interpreter. What they stand for follows from the derivation and the context. A preview leaves what is not built yet.
func (t Task) filled() (*artifact.Derivation, error) {
	d := t.Step.Derivation
	d.Interpreter = slices.Clone(d.Interpreter)
	d.Environment = maps.Clone(d.Environment)
	var err error
	for i, word := range d.Interpreter {
		if d.Interpreter[i], err = t.fill(word); err != nil {
			return nil, referenceError(t.Step, "interpreter", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Environment)) {
		if d.Environment[name], err = t.fill(d.Environment[name]); err != nil {
			return nil, referenceError(t.Step, "environment."+name, err)
		}
	}
	return &d, nil
}

// referenceError puts the error where the spec has the reference, if there is a spec.
func referenceError(step *plan.Step, key string, err error) error {
	if step.Spec == nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return step.Spec.ErrorAt(key, -1, err, "")
}

func (t Task) fill(text string) (string, error) {
	if lens.Literal(text) {
		return text, nil
	}
	template, err := lens.ParseIn(&t.Step.Derivation, text)
	if err != nil {
		return "", err
	}
	self := lens.OutOf(t.Step.Derivation.PublicPath())
	template, err = template.Expand(func(e lens.Expr) (string, bool, error) {
		if len(e.Hops) > 0 {
			return t.content(e)
		}
		return self(e)
	})
	if err != nil {
		return "", err
	}
	if text, known := template.Text(); known {
		return text, nil
	}
	return template.String(), nil
}

// content reads what a reference stands for from the one realization of the dependency that it leads to.
func (t Task) content(e lens.Expr) (text string, known bool, err error) {
	to, _, err := t.Step.Follow(e)
	if err != nil {
		return "", false, err
	}
	at := slices.IndexFunc(t.Closure, func(d jailplan.Dependency) bool { return d.ID == to.ID })
	switch {
	case at < 0:
		return "", false, e.Fail("", "%s is no dependency", to.Name())
	case len(t.Closure[at].IDs) != 1:
		return "", false, e.Fail("", "%d realizations of %s are selected, so there is no one content", len(t.Closure[at].IDs), to.Name())
	case t.Closure[at].IDs[0].IsZero():
		return "", false, nil
	}
	text, err = lens.Read(t.Closure[at].Outs[0], e)
	return text, true, err
}
