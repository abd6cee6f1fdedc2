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
	// Only restricts the rule to asking for the path itself, or for the names in it, not for what lies below it.
	Only bool
}

// IsLookUp reports whether an operation only asks for what is at a path.
func (o Operation) IsLookUp() bool { return o == OpProbe || o == OpReadlink || o == OpChdir }

// Check reports a rule that cannot be obeyed.
func (r PathRule) Check() bool {
	return strings.HasPrefix(r.Pattern, "/") && doublestar.ValidatePattern(r.Pattern)
}

// MatchPath returns what the rules say of an operation on a path, absolute and clean; never comes before noise, and empty is
// nothing.
func MatchPath(rules []PathRule, op Operation, path string) (action RuleAction) {
	for _, r := range rules {
		if !r.matches(op, path) {
			continue
		}
		if r.Action == RuleNever {
			return RuleNever
		}
		action = r.Action
	}
	return action
}

func (r PathRule) matches(op Operation, path string) bool {
	if r.Only {
		return path == r.Pattern && (op.IsLookUp() || op == OpRead || op == OpList)
	}
	below := strings.HasPrefix(path, r.Pattern) && (len(path) == len(r.Pattern) || path[len(r.Pattern)] == '/')
	return below || doublestar.MatchUnvalidated(r.Pattern, path)
}

// ShippedRules are the noise of every machine: what tells of the hardware, as /proc does in every jail; directories that
// systems have whether or not there is anything in them; compiled Python, which a package has beside its sources on the host
// and not in its snapshot, because it depends on times.
func ShippedRules() (rules []PathRule) {
	for _, pattern := range []string{"/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage", "/usr/lib/**/__pycache__/**",
		"/var/cache/ldconfig"} {
		rules = append(rules, PathRule{Pattern: pattern, Action: RuleNoise})
	}
	for _, dir := range []string{"/usr/local", "/usr/local/bin", "/usr/local/include", "/usr/local/lib", "/usr/local/sbin", "/usr/local/share", "/opt",
		"/home", "/root", "/media", "/mnt", "/srv", "/boot", "/run", "/sys"} {
		rules = append(rules, PathRule{Pattern: dir, Action: RuleNoise, Only: true})
	}
	return rules
}
