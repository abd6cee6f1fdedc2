package links

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Verb is what an Action does, and what a Rule asks for. "symlink" in a rule is AbsoluteSymlink.
type Verb string

const (
	// AbsoluteSymlink makes a link to the absolute path of the source, which need not exist.
	AbsoluteSymlink Verb = "absolute_symlink"
	// RelativeSymlink makes a link with the lexical way from the link's directory to the source, which need not exist.
	RelativeSymlink Verb = "relative_symlink"
	// Copy makes a copy that follows links; a directory is copied whole. The source must exist.
	Copy Verb = "copy"
	// Exclude hides what it matches from the rules after it. It is never an Action.
	Exclude Verb = "exclude"
	// Launcher is read, and refused as unsupported.
	Launcher Verb = "launcher"
	// Makedirs says that a directory and its parents will exist. It is never asked for by a rule.
	Makedirs Verb = "makedirs"
	// Unlink says that a file or link at the target gives way. It is never asked for by a rule.
	Unlink Verb = "unlink"
)

// Globs is a list of patterns; in JSON and YAML a single string stands for a list of one.
type Globs []string

// UnmarshalJSON implements json.Unmarshaler.
func (g *Globs) UnmarshalJSON(data []byte) error {
	return g.UnmarshalYAML(func(v any) error { return json.Unmarshal(data, v) })
}

// UnmarshalYAML reads a string or a list of strings; the YAML decoder hands in how to read the node.
func (g *Globs) UnmarshalYAML(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*g = Globs{one}
		return nil
	}
	return decode((*[]string)(g))
}

// Rule is one step of a list. It has either Select (globs, with Prefix, which every match must begin with and which is cut
// off; the rest is placed below the directory Target) or Source (one exact path, placed at exactly Target).
type Rule struct {
	// Action is the verb; empty is AbsoluteSymlink in a native list.
	Action string `json:"action,omitempty" yaml:"action,omitempty"`
	Select Globs  `json:"select,omitempty" yaml:"select,omitempty" jsonschema:"oneof_type=string;array"`
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// Prefix and Target may be missing in a native list only; they are empty then.
	Prefix *string `json:"prefix,omitempty" yaml:"prefix,omitempty"`
	Target *string `json:"target,omitempty" yaml:"target,omitempty"`
	// Dirs lets Select match directories too, which are then linked or copied as one.
	Dirs bool `json:"dirs,omitempty" yaml:"dirs,omitempty"`
	// Overwrite replaces a file or link at the target, never a directory.
	Overwrite bool `json:"overwrite,omitempty" yaml:"overwrite,omitempty"`
	// Exclude is an exclude rule before this one. Native lists only.
	Exclude Globs `json:"exclude,omitempty" yaml:"exclude,omitempty" jsonschema:"oneof_type=string;array"`
}

// RuleError reports a rule that cannot be obeyed. Rule counts from 0. Kind is "action", "select", "source", "prefix", "target",
// "template", "glob", "outside-target" or "unsupported"; Err is the cause, if there is one.
type RuleError struct {
	Rule         int
	Kind, Reason string
	Err          error
}

func (e *RuleError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("apply link rule %d: %s: %v", e.Rule+1, e.Reason, e.Err)
	}
	return fmt.Sprintf("apply link rule %d: %s", e.Rule+1, e.Reason)
}

// Unwrap returns the cause, or nil.
func (e *RuleError) Unwrap() error { return e.Err }

// Everything is what a native list stands for when there is none: all files and links, but for Hashdist's own records.
func Everything() []Rule {
	return []Rule{{Select: Globs{"**/*"}, Exclude: Globs{"build.json", "id", "artifact.json"}}}
}

// Check reports the first mistake that a native list shows without its tree, as *RuleError.
func Check(rules []Rule) error {
	for i, r := range rules {
		if _, err := r.resolve(i, true, nil); err != nil {
			return err
		}
	}
	return nil
}

// step is a rule with its defaults filled in, its strings expanded and its globs parsed.
type step struct {
	verb              Verb
	globs, exclude    []Glob
	source            string
	prefix, target    string
	dirs, overwriting bool
}

// resolve checks the rule at index and makes a step of it. A nil expand leaves all strings as they are.
func (r Rule) resolve(index int, native bool, expand func(string) (string, error)) (step, error) {
	s := step{verb: Verb(r.Action), dirs: r.Dirs, overwriting: r.Overwrite}
	fail := func(kind, reason string, err error) (step, error) {
		return step{}, &RuleError{index, kind, reason, err}
	}
	switch {
	case r.Action == "symlink" || r.Action == "" && native:
		s.verb = AbsoluteSymlink
	case s.verb == Launcher:
		return fail("unsupported", "action launcher is not supported", nil)
	case !slices.Contains([]Verb{AbsoluteSymlink, RelativeSymlink, Copy, Exclude}, s.verb):
		return fail("action", fmt.Sprintf("unknown action %q", r.Action), nil)
	}
	switch {
	case (r.Source == "") == (len(r.Select) == 0):
		return fail("source", "exactly one of select and source is needed", nil)
	case len(r.Exclude) > 0 && !native:
		return fail("select", "exclude belongs in a rule of its own here", nil)
	case s.verb == Exclude && native && (r.Prefix != nil || r.Target != nil):
		return fail("target", "an exclude rule has no prefix and no target", nil)
	case s.verb != Exclude && r.Prefix == nil && r.Source == "" && !native:
		return fail("prefix", "select without prefix", nil)
	case s.verb != Exclude && r.Target == nil && (!native || r.Source != ""):
		return fail("target", "no target", nil)
	}
	if err := s.read(r, index, expand); err != nil || !native {
		return s, err
	}
	return s, s.confine(index)
}

// read expands the strings of r and parses its globs.
func (s *step) read(r Rule, index int, expand func(string) (string, error)) error {
	var failed error
	text := func(v string) string {
		if expand == nil || failed != nil {
			return v
		}
		got, err := expand(v)
		if err != nil {
			failed = &RuleError{index, "template", fmt.Sprintf("expand %q", v), err}
		}
		return got
	}
	globs := func(patterns []string) (parsed []Glob) {
		for _, pattern := range patterns {
			g, err := ParseGlob(text(pattern))
			if err != nil && failed == nil {
				failed = &RuleError{index, "glob", "bad pattern", err}
			}
			parsed = append(parsed, g)
		}
		return parsed
	}
	s.globs, s.exclude = globs(r.Select), globs(r.Exclude)
	s.source = text(r.Source)
	if r.Prefix != nil {
		s.prefix = text(*r.Prefix)
	}
	if s.prefix != "" && !strings.HasSuffix(s.prefix, "/") {
		s.prefix += "/"
	}
	if r.Target != nil {
		s.target = text(*r.Target)
	}
	return failed
}

// confine refuses what would lead a native rule out of the artifact or the profile.
func (s *step) confine(index int) error {
	for _, g := range slices.Concat(s.globs, s.exclude) {
		if g.absolute {
			return &RuleError{index, "select", "a pattern is relative to the artifact, not absolute", nil}
		}
	}
	if s.source != "" && !filepath.IsLocal(s.source) {
		return &RuleError{index, "source", fmt.Sprintf("source %q is not inside the artifact", s.source), nil}
	}
	if s.target != "" && !filepath.IsLocal(s.target) {
		return &RuleError{index, "outside-target", fmt.Sprintf("target %q is not inside the profile", s.target), nil}
	}
	return nil
}
