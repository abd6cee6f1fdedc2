package links

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Set is one list of rules and the tree it selects from.
type Set struct {
	// Owner names the set in messages, like "zlib 1.3.1".
	Owner string
	Rules []Rule
	Tree  Tree
	// Dir is the absolute, clean path that relative sources lie below. Links are written with it.
	Dir string
}

// Input is what a plan is made from.
type Input struct {
	// Sets are obeyed in order.
	Sets []Set
	// Dir is the absolute, clean path that relative targets lie below.
	Dir string
	// Existing is what the targets may meet; nil means that nothing is there.
	Existing existing
	// Native fills in the defaults of native lists and keeps sources and targets inside their directories. Otherwise rules
	// are those of Hashdist's create-links.
	Native bool
	// KeepFirst lets the first of two sources have a target, and lists the rest in Actions.Kept.
	KeepFirst bool
	// Expand substitutes variables in the strings of rules; nil leaves them as they are.
	Expand func(string) (string, error)
}

// existing is asked for absolute paths, and does not follow a link in the last component. An error that is fs.ErrNotExist
// says that nothing is there.
type existing interface {
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
}

// Action is one step of a plan. Source and Target are written as the rules have them.
type Action struct {
	Verb   Verb
	Source string
	Target string
	// Text is what a symlink says.
	Text string
	// Idle steps do nothing: the target is right already, or another source keeps it. At most one step that is not idle
	// makes any one target.
	Idle bool

	from   Origin
	path   string // of the target, absolute and clean
	source string // absolute and clean
}

// Actions is a plan: steps in the order of the rules, and the conflicts that KeepFirst settled.
type Actions struct {
	Steps []Action
	Kept  []Conflict
}

// Plan decides what the rules of in make, and opens nothing but the trees. A rule that cannot be obeyed gives *RuleError,
// targets that two sources want give one *ConflictError with all of them. No link leads through a target of the plan.
func Plan(in Input) (Actions, error) {
	p := planner{in: in, placed: map[string]int{}, dirs: map[string]Origin{}, made: map[string]bool{}}
	for _, set := range in.Sets {
		if err := p.obey(set); err != nil {
			return Actions{}, fmt.Errorf("link %s: %w", cmp.Or(set.Owner, "files"), err)
		}
	}
	if len(p.conflicts) > 0 && !in.KeepFirst {
		return Actions{}, &ConflictError{p.conflicts}
	}
	return Actions{p.steps, p.conflicts}, nil
}

type planner struct {
	in        Input
	steps     []Action
	conflicts []Conflict
	placed    map[string]int    // path of a target: its step in steps
	dirs      map[string]Origin // paths that must be directories, and who was first to need each
	made      map[string]bool   // directories that a Makedirs was listed for
}

// obey runs the rules of one set. What a rule excludes is hidden from it and from the rules after it.
func (p *planner) obey(set Set) error {
	hidden := map[string]bool{}
	for i, rule := range set.Rules {
		s, err := rule.resolve(p.in.Native, p.in.Expand)
		if err == nil {
			err = p.run(set, i, s, hidden)
		}
		if err != nil {
			return &RuleError{i, err}
		}
	}
	return nil
}

// run hides and places what one step selects.
func (p *planner) run(set Set, index int, s step, hidden map[string]bool) error {
	without, err := expandAll(set.Tree, s.without, s.dirs)
	if err != nil {
		return err
	}
	for _, name := range without {
		hidden[name] = true
	}
	selected, err := expandAll(set.Tree, s.globs, s.dirs)
	if err != nil {
		return err
	}
	if s.source != "" {
		selected = []string{s.source}
	}
	for _, source := range selected {
		switch {
		case s.verb == exclude:
			hidden[source] = true
			continue
		case hidden[source]:
			continue
		}
		target, err := s.goal(source)
		if err == nil {
			err = p.place(set, index, s, Action{Source: source, Target: target})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goal is where a selected source goes.
func (s step) goal(source string) (string, error) {
	if target := path.Clean(s.target); s.source != "" && target != "." {
		return target, nil
	}
	rest, ok := strings.CutPrefix(source, s.prefix)
	switch {
	case s.source != "":
		return "", fmt.Errorf("target %q names no file", s.target)
	case !ok:
		return "", fmt.Errorf("%q does not begin with the prefix %q", source, s.prefix)
	case !filepath.IsLocal(rest):
		return "", fmt.Errorf("%q would not be placed below %q", rest, s.target)
	}
	return path.Join(s.target, rest), nil
}

// place lists the steps that put a's source at its target, and finds out whether something is in the way.
func (p *planner) place(set Set, index int, s step, a Action) error {
	a.Verb = s.verb
	a.path, a.source = absolute(p.in.Dir, a.Target), absolute(set.Dir, a.Source)
	a.from = Origin{Owner: set.Owner, Rule: index, Source: a.Source, rules: set.Rules}
	met, err := p.meets(a)
	if err != nil {
		return err
	}
	a.Text = a.source
	if s.verb == RelativeSymlink {
		if a.Text, err = filepath.Rel(path.Dir(a.path), a.source); err != nil {
			return fmt.Errorf("link %q: %w", a.Target, err)
		}
	}
	clash := met.found && !met.same && !(s.overwriting && met.replaceable)
	if clash {
		p.conflicts = append(p.conflicts, Conflict{Target: a.Target, First: met.who, Second: a.from})
	}
	a.Idle = met.found && met.same || clash
	p.list(a, s.overwriting, met)
	return nil
}

// list appends a with the steps that go before it.
func (p *planner) list(a Action, overwriting bool, met meeting) {
	parent := path.Dir(a.path)
	if dir := path.Dir(a.Target); dir != "." && !p.made[parent] {
		p.made[parent] = true
		p.steps = append(p.steps, Action{Verb: Makedirs, Target: dir, path: parent})
	}
	if overwriting {
		p.steps = append(p.steps, Action{Verb: Unlink, Target: a.Target, path: a.path, Idle: a.Idle || !met.onDisk})
	}
	p.steps = append(p.steps, a)
	if a.Idle {
		return
	}
	if old, ok := p.placed[a.path]; ok {
		p.steps[old].Idle = true
	}
	p.placed[a.path] = len(p.steps) - 1
	for dir := parent; dir != "/"; dir = path.Dir(dir) {
		if _, known := p.dirs[dir]; known {
			return
		}
		p.dirs[dir] = a.from
	}
}

func expandAll(tree Tree, globs []Glob, dirs bool) ([]string, error) {
	var all []string
	for _, g := range globs {
		matches, err := g.Expand(tree, "", dirs)
		if err != nil {
			return nil, err
		}
		all = append(all, matches...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func absolute(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}
