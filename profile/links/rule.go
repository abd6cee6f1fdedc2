package links

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Verb is what an Action does, and what a Rule asks for. "symlink" in a rule is AbsoluteSymlink.
type Verb string

const (
	// AbsoluteSymlink makes a link to the absolute path of the source, which need not exist.
	AbsoluteSymlink Verb = "absolute_symlink"
	// RelativeSymlink makes a link with the lexical way from the link's directory to the source, which need not exist.
	RelativeSymlink Verb = "relative_symlink"
	// exclude hides what it matches from the rules after it. It is never an Action.
	exclude Verb = "exclude"
	// Makedirs says that a directory and its parents will exist. It is never asked for by a rule.
	Makedirs Verb = "makedirs"
	// Unlink says that a file or link at the target gives way. It is never asked for by a rule.
	Unlink Verb = "unlink"
)

// Globs is a list of patterns; in JSON a single string stands for a list of one.
type Globs []string

// UnmarshalJSON implements json.Unmarshaler; null changes nothing, as everywhere in encoding/json.
func (g *Globs) UnmarshalJSON(data []byte) error {
	var one *string
	if json.Unmarshal(data, &one) != nil {
		return json.Unmarshal(data, (*[]string)(g))
	}
	if one != nil {
		*g = Globs{*one}
	}
	return nil
}

// Rule is one step of a list. It has either Select (globs, with Prefix, which every match must begin with and which is cut
// off; the rest is placed below the directory Target) or Source (one exact path, placed at exactly Target).
type Rule struct {
	// Action is the verb; empty is AbsoluteSymlink in a native list.
	Action string `json:"action,omitempty"`
	Select Globs  `json:"select,omitempty" jsonschema:"oneof_type=string;array"`
	Source string `json:"source,omitempty"`
	// Prefix and Target may be missing in a native list only; they are empty then.
	Prefix *string `json:"prefix,omitempty"`
	Target *string `json:"target,omitempty"`
	// Dirs lets Select match directories too, which are then linked or copied as one.
	Dirs bool `json:"dirs,omitempty"`
	// Overwrite replaces a file or link at the target, never a directory.
	Overwrite bool `json:"overwrite,omitempty"`
	// Exclude is an exclude rule before this one. Native lists only.
	Exclude Globs `json:"exclude,omitempty" jsonschema:"oneof_type=string;array"`
}

// RuleError reports a rule that cannot be obeyed, and why. Rule counts from 0.
type RuleError struct {
	Rule int
	Err  error
}

// Error implements error, in one line.
func (e *RuleError) Error() string { return fmt.Sprintf("apply link rule %d: %v", e.Rule+1, e.Err) }

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// UnsupportedError reports an action of Hashdist that is not supported.
type UnsupportedError struct{ Action string }

// Error implements error, in one line.
func (e *UnsupportedError) Error() string { return fmt.Sprintf("action %s is not supported", e.Action) }

// Everything is what a native list stands for when there is none: all files and links, but for Hashdist's own records.
func Everything() []Rule {
	return []Rule{{Select: Globs{"**/*"}, Exclude: Globs{"build.json", "id", "artifact.json"}}}
}

// Check reports the first mistake that a native list shows without its tree, as *RuleError.
func Check(rules []Rule) error {
	for i, r := range rules {
		if _, err := r.resolve(true, nil); err != nil {
			return &RuleError{i, err}
		}
	}
	return nil
}

// step is a rule with its defaults filled in, its strings expanded and its globs parsed.
type step struct {
	verb              Verb
	globs, without    []Glob
	source            string
	prefix, target    string
	dirs, overwriting bool
}

// resolve checks a rule and makes a step of it. A nil expand leaves all strings as they are.
func (r Rule) resolve(native bool, expand func(string) (string, error)) (step, error) {
	s := step{verb: Verb(r.Action), dirs: r.Dirs, overwriting: r.Overwrite}
	if r.Action == "symlink" || r.Action == "" && native {
		s.verb = AbsoluteSymlink
	}
	placing := s.verb != exclude
	switch {
	case r.Action == "copy" || r.Action == "launcher":
		return s, &UnsupportedError{r.Action}
	case placing && s.verb != AbsoluteSymlink && s.verb != RelativeSymlink:
		return s, fmt.Errorf("unknown action %q", r.Action)
	case (r.Source == "") == (len(r.Select) == 0):
		return s, errors.New("exactly one of select and source is needed")
	case placing && !native && r.Source == "" && r.Prefix == nil:
		return s, errors.New("select without prefix")
	case placing && r.Target == nil && (!native || r.Source != ""):
		return s, errors.New("no target")
	}
	return s, s.read(r, native, expand)
}

// read expands the strings of r, parses its globs, and keeps those of a native rule inside artifact and profile.
func (s *step) read(r Rule, native bool, expand func(string) (string, error)) error {
	var failed error
	fail := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	text := func(v *string) (got string) {
		if v == nil {
			return ""
		}
		if expand == nil {
			return *v
		}
		got, err := expand(*v)
		fail(err)
		return got
	}
	globs := func(patterns []string) (parsed []Glob) {
		for _, pattern := range patterns {
			g, err := ParseGlob(text(&pattern))
			if err == nil && native && g.absolute {
				err = &GlobError{pattern, "it is not relative to the artifact"}
			}
			fail(err)
			parsed = append(parsed, g)
		}
		return parsed
	}
	s.globs, s.without = globs(r.Select), globs(r.Exclude)
	s.source, s.prefix, s.target = text(&r.Source), text(r.Prefix), text(r.Target)
	if s.prefix != "" && !strings.HasSuffix(s.prefix, "/") {
		s.prefix += "/"
	}
	if native {
		for _, name := range []string{s.source, s.target} {
			if name != "" && !filepath.IsLocal(name) {
				fail(fmt.Errorf("%q leads out of its directory", name))
			}
		}
	}
	return failed
}
