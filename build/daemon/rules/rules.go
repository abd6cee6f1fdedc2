package rules

import (
	"fmt"
	"slices"
	"strconv"

	"hdjail/build/daemon/wire"
	"hdjail/policies"
)

// Kind says why a request is refused.
type Kind string

// The kinds.
const (
	// Caller is for who may not use the daemon, or wants what is another's.
	Caller Kind = "caller"
	// Malformed is for a request that is none.
	Malformed Kind = "malformed"
	// Policy is for what the site's policy does not allow.
	Policy Kind = "policy"
	// Quota is for who has used up what the site allows.
	Quota Kind = "quota"
	// Busy is for what may be asked for again later.
	Busy Kind = "busy"
)

// Refused is a request that was not obeyed. Error is one line.
type Refused struct {
	Kind   Kind
	Reason string
}

// Error implements error.
func (e *Refused) Error() string { return "the daemon refused: " + e.Reason }

func refuse(kind Kind, format string, args ...any) error {
	return &Refused{kind, fmt.Sprintf(format, args...)}
}

// Options are what rules depend on besides the site's file.
type Options struct {
	// UID is the daemon's own, which may do what root may.
	UID int
	// Prefix and System are those that derivations must have.
	Prefix, System string
	// User and Group find the id of a name; an error for one that there is not.
	User, Group func(name string) (int, error)
	// HostIdentity tells what is at a whitelisted path now, as in artifact.HostPath; the content of one with a declared
	// identity need not be read. It refuses a path that a user could replace.
	HostIdentity func(path string, declared bool) (identity string, err error)
}

// Rules are those of a site. They do not change, and are safe for concurrent use.
type Rules struct {
	o     Options
	site  policies.Site
	never []policies.PathRule
	list  []rule
	// contained are the shipped policies by their digest in the modes that hide.
	contained map[string]policies.Policy
}

// rule is a policies.DaemonRule with ids in place of names.
type rule struct {
	everybody     bool
	users, groups []int
	deny          bool
	quota         policies.Quota
}

// DefaultGroup may use a daemon whose site has no rules.
const DefaultGroup = "hdjail-users"

// New resolves the names in a site's rules. A name that the host does not know is an error, but for DefaultGroup in a site
// without rules, where then only root is let in.
func New(site policies.Site, o Options) (*Rules, error) {
	r := &Rules{o: o, site: site, never: slices.DeleteFunc(site.Rules(""), func(p policies.PathRule) bool { return p.Action != policies.RuleNever })}
	r.contained = map[string]policies.Policy{}
	for _, name := range policies.ShippedNames() {
		p, err := policies.Shipped(name)
		if err != nil {
			return nil, err
		}
		r.contained[p.Digest(policies.ModeHide, nil)] = p
	}
	if len(site.Daemon.Rules) == 0 {
		if gid, err := o.Group(DefaultGroup); err == nil {
			r.list = []rule{{groups: []int{gid}}}
		}
	}
	for i, d := range site.Daemon.Rules {
		n := rule{deny: d.Deny, quota: d.Quota}
		var err error
		if n.users, n.everybody, err = ids(d.Users, o.User); err == nil {
			var all bool
			n.groups, all, err = ids(d.Groups, o.Group)
			n.everybody = n.everybody || all
		}
		if err != nil {
			return nil, fmt.Errorf("read rule %d of the daemon: %w", i+1, err)
		}
		r.list = append(r.list, n)
	}
	return r, nil
}

// ids turns names and numbers into ids; "*" is everybody.
func ids(names []string, lookup func(string) (int, error)) (list []int, everybody bool, err error) {
	for _, name := range names {
		if name == "*" {
			everybody = true
			continue
		}
		id, err := strconv.Atoi(name)
		if err != nil {
			if id, err = lookup(name); err != nil {
				return nil, false, fmt.Errorf("find %q (write its number if a name service has it): %w", name, err)
			}
		}
		list = append(list, id)
	}
	return list, everybody, nil
}

// Quota is what the caller may have, by the first rule that names him; *Refused when none does.
func (r *Rules) Quota(c wire.Caller) (policies.Quota, error) {
	for _, n := range r.list {
		if !n.everybody && !slices.Contains(n.users, c.UID) && !slices.Contains(n.groups, c.GID) &&
			!slices.ContainsFunc(c.Groups, func(gid int) bool { return slices.Contains(n.groups, gid) }) {
			continue
		}
		if n.deny && !r.privileged(c) {
			return policies.Quota{}, refuse(Caller, "user %d may not use it", c.UID)
		}
		return n.quota, nil
	}
	if r.privileged(c) {
		return policies.Quota{}, nil
	}
	return policies.Quota{}, refuse(Caller, "no rule of the site names user %d", c.UID)
}

// privileged callers are root and who runs the daemon: they could do without it.
func (r *Rules) privileged(c wire.Caller) bool { return c.UID == 0 || c.UID == r.o.UID }
