package links

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Origin is who wants a target: the set, its rule (from 0), and the source as written. Rule is -1 for what was there before.
type Origin struct {
	Owner  string `json:"owner"`
	Rule   int    `json:"rule"`
	Source string `json:"source"`

	rules []Rule
}

// Conflict is a target that two sources want.
type Conflict struct {
	Target string `json:"target"`
	First  Origin `json:"first"`
	Second Origin `json:"second"`
}

// ConflictError lists every conflict of a plan, in the order found. Nothing was written.
type ConflictError struct{ Conflicts []Conflict }

// Error implements error, in one line.
func (e *ConflictError) Error() string {
	c := e.Conflicts[0]
	text := fmt.Sprintf("link %q: wanted by %s and by %s", c.Target, c.First, c.Second)
	if n := len(e.Conflicts) - 1; n > 0 {
		text += fmt.Sprintf(", and %d other targets likewise", n)
	}
	return text
}

// String names who it is, for messages.
func (o Origin) String() string {
	switch {
	case o.Rule < 0:
		return "what is there already"
	case o.Owner == "":
		return fmt.Sprintf("%q (rule %d)", o.Source, o.Rule+1)
	}
	return fmt.Sprintf("%s (%q)", o.Owner, o.Source)
}

// Resolution is the second source's list, changed so that the first source keeps the target.
func (c Conflict) Resolution() []Rule {
	list := slices.Clone(c.Second.rules)
	rule := &list[c.Second.Rule]
	rule.Exclude = append(slices.Clone(rule.Exclude), c.Second.Source)
	return list
}

// Help says in one line what to write where.
func (c Conflict) Help() string {
	list, _ := json.Marshal(c.Resolution()) // strings and booleans always have a form
	return fmt.Sprintf("to keep the first, let the links of %s be: %s", c.Second.Owner, list)
}

// meeting is what a target would find in its place, or in the place of one of its parents.
type meeting struct {
	found, same, replaceable, onDisk bool
	who                              Origin
}

// meets finds what is in the way of a: at its target or above it, planned or on disk.
func (p *planner) meets(a Action) (meeting, error) {
	if who, ok := p.dirs[a.path]; ok {
		return meeting{found: true, who: who}, nil
	}
	if i, ok := p.placed[a.path]; ok {
		old := p.steps[i]
		return meeting{found: true, same: old.source == a.source, replaceable: true, who: old.from}, nil
	}
	for dir := path.Dir(a.path); dir != "/" && dir != p.in.Dir; dir = path.Dir(dir) {
		if _, ok := p.dirs[dir]; ok {
			break
		}
		rest := a.path[len(dir):]
		if i, ok := p.placed[dir]; ok {
			old := p.steps[i]
			return meeting{found: true, same: old.source+rest == a.source, who: old.from}, nil
		}
		met, directory, err := p.onDisk(dir, rest, a.source)
		if err != nil || met.found && !directory {
			return met, err
		}
	}
	met, _, err := p.onDisk(a.path, "", a.source)
	return met, err
}

// onDisk looks at what exists, and says whether that is a directory. A link is the same if rest below it is source.
func (p *planner) onDisk(name, rest, source string) (met meeting, directory bool, err error) {
	if p.in.Existing == nil {
		return meeting{}, false, nil
	}
	info, err := p.in.Existing.Lstat(name)
	if err != nil {
		return meeting{}, false, unlessAbsent(err)
	}
	met = meeting{found: true, onDisk: true, replaceable: !info.IsDir() && rest == "", who: Origin{Rule: -1, Source: name}}
	if info.Mode()&fs.ModeSymlink != 0 {
		text, err := p.in.Existing.Readlink(name)
		if err != nil {
			return meeting{}, false, err
		}
		met.same = absolute(path.Dir(name), text)+rest == source
	}
	return met, info.IsDir(), nil
}
