package links

import (
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
	// Existing is what the targets may meet, asked for absolute paths; nil means that nothing is there.
	Existing Tree
	// Native fills in the defaults of native lists and keeps sources and targets inside their directories. Otherwise rules
	// are those of Hashdist's create-links.
	Native bool
	// KeepFirst lets the first of two sources have a target, and lists the rest in Actions.Kept.
	KeepFirst bool
	// Expand substitutes variables in the strings of rules; nil leaves them as they are.
	Expand func(string) (string, error)
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

	from      Origin
	path      string // of the target, absolute and clean
	source    string // absolute and clean
	tree      Tree
	directory bool // a directory is copied
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
			if set.Owner != "" {
				err = fmt.Errorf("link %s: %w", set.Owner, err)
			}
			return Actions{}, err
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

// obey runs the rules of one set. What a rule excludes is hidden from it and the rules after it.
func (p *planner) obey(set Set) error {
	hidden := map[string]bool{}
	for i, rule := range set.Rules {
		s, err := rule.resolve(i, p.in.Native, p.in.Expand)
		if err != nil {
			return err
		}
		if err := hide(set.Tree, s.exclude, s.dirs, hidden); err != nil {
			return err
		}
		if s.verb == Exclude {
			hidden[s.source] = true
			if err := hide(set.Tree, s.globs, s.dirs, hidden); err != nil {
				return err
			}
			continue
		}
		if err := p.run(set, i, s, hidden); err != nil {
			return err
		}
	}
	return nil
}

func hide(tree Tree, globs []Glob, dirs bool, hidden map[string]bool) error {
	matches, err := expandAll(tree, globs, dirs)
	for _, m := range matches {
		hidden[m] = true
	}
	return err
}

// run places what one step selects.
func (p *planner) run(set Set, index int, s step, hidden map[string]bool) error {
	if s.source != "" {
		if hidden[s.source] {
			return nil
		}
		return p.place(set, index, s, Action{Source: s.source, Target: path.Clean(s.target)})
	}
	matches, err := expandAll(set.Tree, s.globs, s.dirs)
	if err != nil {
		return err
	}
	for _, source := range matches {
		if hidden[source] {
			continue
		}
		rest, ok := strings.CutPrefix(source, s.prefix)
		switch {
		case !ok:
			return &RuleError{index, "prefix", fmt.Sprintf("%q does not begin with the prefix %q", source, s.prefix), nil}
		case !filepath.IsLocal(rest):
			return &RuleError{index, "outside-target", fmt.Sprintf("%q would not be placed below %q", rest, s.target), nil}
		}
		if err := p.place(set, index, s, Action{Source: source, Target: path.Join(s.target, rest)}); err != nil {
			return err
		}
	}
	return nil
}

// place lists the steps that put a's source at its target, and finds out whether something is in the way.
func (p *planner) place(set Set, index int, s step, a Action) error {
	a.Verb, a.tree = s.verb, set.Tree
	a.path, a.source = absolute(p.in.Dir, a.Target), absolute(set.Dir, a.Source)
	a.from = Origin{Owner: set.Owner, Rule: index, Source: a.Source, rule: set.Rules[index]}
	switch s.verb {
	case AbsoluteSymlink:
		a.Text = a.source
	case RelativeSymlink:
		text, err := filepath.Rel(path.Dir(a.path), a.source)
		if err != nil {
			return fmt.Errorf("link %q: %w", a.Target, err)
		}
		a.Text = text
	case Copy:
		directory, err := copyable(a)
		if err != nil {
			return err
		}
		a.directory = directory
	}
	met, err := p.meets(a)
	if err != nil {
		return err
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

// copyable checks that the source of a copy can be copied, and says whether it is a directory.
func copyable(a Action) (directory bool, err error) {
	tree, ok := a.tree.(copyTree)
	if !ok {
		return false, fmt.Errorf("copy %q: its tree gives no contents", a.Source)
	}
	info, err := tree.Stat(a.Source)
	if err != nil {
		return false, fmt.Errorf("copy %q: %w", a.Source, err)
	}
	if mode := info.Mode(); !mode.IsRegular() && !mode.IsDir() {
		return false, fmt.Errorf("copy %q: it is neither a file nor a directory", a.Source)
	}
	return info.IsDir(), nil
}

// copyTree is what a Tree must be besides for its files to be copied.
type copyTree interface {
	Tree
	Stat(name string) (fs.FileInfo, error)
	Open(name string) (fs.File, error)
}
