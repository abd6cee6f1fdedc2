package policies

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// RuleAction is what a site says of paths.
type RuleAction string

const (
	// RuleNoise marks paths that everything looks at and nothing depends on.
	RuleNoise RuleAction = "noise"
	// RuleNever marks paths that no whitelist can allow.
	RuleNever RuleAction = "never"
)

// PathRule is a rule of a site. Pattern is absolute; "*" stands for a part of a name, "**" for any names, and a pattern
// without them covers what lies below it, too.
type PathRule struct {
	Pattern string
	Action  RuleAction
}

// Check reports a rule that cannot be obeyed.
func (r PathRule) Check() bool {
	return strings.HasPrefix(r.Pattern, "/") && doublestar.ValidatePattern(r.Pattern)
}

// MatchPath returns what the rules say of a path, absolute and clean; never comes before noise, and empty is nothing.
func MatchPath(rules []PathRule, path string) (action RuleAction) {
	for _, r := range rules {
		below := strings.HasPrefix(path, r.Pattern) && (len(path) == len(r.Pattern) || path[len(r.Pattern)] == '/')
		if matched := below || doublestar.MatchUnvalidated(r.Pattern, path); !matched {
			continue
		}
		if r.Action == RuleNever {
			return RuleNever
		}
		action = r.Action
	}
	return action
}
