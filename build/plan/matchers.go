package plan

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/spec"
)

// Override is a matcher that the caller wants for the derivations that Name means; see Plan.Find. A file that it names has
// an absolute path.
type Override struct {
	Name    string
	Matcher match.Matcher
}

// NameError reports a name that means no derivation of the plan, or more than one where it is the beginning of an ID.
type NameError struct {
	Name string
	// Several are the IDs that begin so.
	Several []artifact.DerivationID
}

// Error implements error.
func (e *NameError) Error() string {
	if len(e.Several) > 0 {
		return fmt.Sprintf("find %q in the plan: %d derivations begin so", e.Name, len(e.Several))
	}
	return fmt.Sprintf("find %q in the plan: nothing is called so", e.Name)
}

// Find returns the steps that a person means: by name, by name and version as in "zlib-1.3", or the one whose ID begins so.
// None, or several beginnings, give *NameError.
func (p *Plan) Find(name string) ([]*Step, error) {
	var named, begun []*Step
	for _, step := range p.Steps {
		switch {
		case name == step.Derivation.Name, name == step.Name():
			named = append(named, step)
		case name != "" && strings.HasPrefix(step.ID.String(), name):
			begun = append(begun, step)
		}
	}
	switch {
	case len(named) > 0:
		return named, nil
	case len(begun) == 1:
		return begun, nil
	}
	e := &NameError{Name: name}
	for _, step := range begun {
		e.Several = append(e.Several, step.ID)
	}
	return nil, e
}

// statement is a matcher with who wants it, and where that is written; the caller's is in no spec.
type statement struct {
	match.Matcher
	from  string
	spec  *spec.Spec
	key   string
	index int
}

// settlement gathers what is stated for each step. The stronger replaces the weaker; two that are equally strong and differ
// are an error.
type settlement struct {
	rank map[*Step]int
	said map[*Step]statement
}

// Ranks of statements, the strongest last.
const (
	byItself = iota + 1
	byDependant
	byLock
	byCaller
)

// settleMatches gives each step the matcher that is stated for it: by the caller, by the lock file, by its dependants, by itself.
func (r *resolution) settleMatches(g *Graph, p *Plan) error {
	s := settlement{rank: map[*Step]int{}, said: map[*Step]statement{}}
	for _, o := range r.Matches {
		steps, err := p.Find(o.Name)
		if err != nil {
			return err
		}
		for _, step := range steps {
			if before, twice := s.said[step]; twice && before.String() != o.Matcher.String() {
				p.Warnings = append(p.Warnings, fmt.Sprintf("two matchers are given for %s: %s counts, %s does not", step.Name(), o.Matcher, before))
			}
			s.rank[step], s.said[step] = byCaller, statement{Matcher: o.Matcher, from: "the caller"}
		}
	}
	for _, step := range p.Steps {
		if m, locked := r.Locked[step.ID]; locked && s.rank[step] < byLock {
			s.rank[step], s.said[step] = byLock, statement{Matcher: m, from: "the lock file"}
		}
	}
	for _, n := range g.Nodes {
		if n.Spec == nil {
			continue
		}
		if err := s.state(byItself, r.steps[n.index], n, -1); err != nil {
			return err
		}
		for i := range n.Spec.Dependencies {
			if err := s.state(byDependant, r.steps[n.Dependencies[i].index], n, i); err != nil {
				return err
			}
		}
	}
	for _, step := range p.Steps {
		if step.Matcher = s.said[step].Matcher; step.Matcher == nil {
			step.Matcher = r.standard
		}
		if err := r.loadChooser(step, s.said[step]); err != nil {
			return err
		}
	}
	return nil
}

// state takes what the spec of n says of a step: of itself with index -1, else of its dependency with that index.
func (s *settlement) state(rank int, step *Step, n *Node, index int) error {
	m, key := n.Spec.Match, "match"
	if index >= 0 {
		m, key = n.Spec.Dependencies[index].Match, "dependencies"
	}
	if m == nil || rank < s.rank[step] {
		return nil
	}
	m = match.In(m, filepath.Dir(n.Path))
	before := s.said[step]
	if s.rank[step] == rank && before.String() != m.String() {
		return n.Spec.ErrorAt(key, index, fmt.Errorf("matcher %q for %s, but %s wants %q", m, step.Name(), before.from, before.Matcher),
			"use --match to decide: --match "+fmt.Sprintf("'%s=%s'", step.Derivation.Name, m))
	}
	s.rank[step], s.said[step] = rank, statement{m, n.Spec.File, n.Spec, key, index}
	return nil
}

// loadChooser resolves the spec of a step's matcher, if that is a script. It is a build without an output: its jail, packages
// and sources are declared like a build's.
func (r *resolution) loadChooser(step *Step, s statement) (err error) {
	file := match.Script(step.Matcher)
	if file == "" {
		return nil
	}
	if step.Chooser, err = r.choosers.get(file, r.chooser); err != nil {
		var located *spec.Error
		err = fmt.Errorf("matcher of %s, wanted by %s: %w", step.Name(), s.from, err)
		if s.spec != nil && !errors.As(err, &located) {
			err = s.spec.ErrorAt(s.key, s.index, err, "")
		}
	}
	return err
}

// ScriptError reports the script of a matcher that cannot be read.
type ScriptError struct {
	File string
	Err  error
}

// Error implements error: one line.
func (e *ScriptError) Error() string { return fmt.Sprintf("read the script of a matcher: %v", e.Err) }

// Unwrap returns the cause.
func (e *ScriptError) Unwrap() error { return e.Err }

func (r *resolution) chooser(file string) (*Step, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, &ScriptError{file, err}
	}
	s, err := spec.Parse(file, text)
	if err != nil {
		return nil, err
	}
	for key, has := range map[string]bool{"dependencies": len(s.Dependencies) > 0, "promises": len(s.Promises) > 0, "match": s.Match != nil,
		"links": s.Links != nil} {
		if has {
			return nil, s.ErrorAt(key, -1, fmt.Errorf("the script of a matcher has no %s", key), "it sees the candidates and its host packages, and prints what it selects")
		}
	}
	if !s.Mode.Contains() {
		return nil, s.ErrorAt("mode", -1, fmt.Errorf("the script of a matcher runs in mode hide, not %s", s.Mode), "")
	}
	step := &Step{Spec: s, URLs: map[string][]string{}}
	err = r.spec(&Node{Spec: s, Path: file}, step)
	step.ID = step.Derivation.ID()
	return step, err
}
