package rules

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/daemon/wire"
	"hdjail/build/lens"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/jail"
	"hdjail/policies"
)

// Subject is what a request is about, as far as the daemon has it already.
type Subject struct {
	// Derivations are all that a build reaches.
	Derivations []*artifact.Derivation
	// Owner is whose job an attach request names.
	Owner int
}

// Authorize decides whether the daemon does what a caller asks for; nil is yes. Any other answer is a *Refused, and is to be
// written to the site's log. Every request passes it, and nothing is done for one that has not.
func (r *Rules) Authorize(c wire.Caller, q *wire.Request, about Subject) error {
	if _, err := r.Quota(c); err != nil {
		return err
	}
	switch q.Kind() {
	case "hello", "have", "jobs":
		return nil
	case "pin":
		if len(q.Pin.Packages) == 0 || slices.ContainsFunc(q.Pin.Packages, func(p string) bool { return !wanted.MatchString(p) }) {
			return refuse(Malformed, "a pin request names packages")
		}
		return nil
	case "owner":
		if p := q.Owner.Path; !path.IsAbs(p) || path.Clean(p) != p || len(p) > 4096 {
			return refuse(Malformed, "an owner request names an absolute, clean path")
		}
		return nil
	case "put":
		return r.put(q.Put)
	case "derive":
		return r.derivation(q.Derive)
	case "build":
		return r.build(q.Build, about.Derivations)
	case "attach":
		if about.Owner != c.UID && !r.privileged(c) {
			return refuse(Caller, "there is no job %q of user %d", q.Attach.Job, c.UID)
		}
		return nil
	}
	return refuse(Malformed, "a request asks for one thing, in version %d of the protocol", wire.Version)
}

// put refuses what the daemon could not compare with its digest: a commit is more than a tree.
func (r *Rules) put(p *wire.Put) error {
	d, err := sources.ParseDigest(p.Digest)
	switch {
	case err != nil:
		return refuse(Malformed, "%v", err)
	case d.Algorithm == "git":
		return refuse(Policy, "a git commit cannot be brought by its user, because its digest is not that of its files")
	}
	return nil
}

func (r *Rules) build(b *wire.Build, reached []*artifact.Derivation) error {
	if len(b.Targets) == 0 || len(b.Targets) > len(b.Steps) || b.Jobs < 0 || b.LockWait < 0 || b.FailureTTL < 0 {
		return refuse(Malformed, "the build has %d steps, %d targets and %d jobs", len(b.Steps), len(b.Targets), b.Jobs)
	}
	seen := make(map[artifact.DerivationID]bool, len(b.Steps))
	for _, s := range b.Steps {
		if seen[s.ID] {
			return refuse(Malformed, "the step %s is there twice", s.ID)
		}
		seen[s.ID] = true
		if s.Mode != "" && !s.Mode.Contains() {
			return refuse(Policy, "mode %q is no containment; there are hide and fail", s.Mode)
		}
		if err := matcher(s); err != nil {
			return err
		}
		if l := s.Limits; l != nil && (l.Memory < 0 || l.Pids < 0 || !(l.CPU >= 0) || l.Wall < 0 || l.Silence < 0 || l.Output < 0 || l.Files < 0 ||
			l.Log < 0) {
			return refuse(Malformed, "a limit is negative")
		}
		for _, url := range s.URLs {
			if !r.site.Daemon.Fetch || !strings.HasPrefix(url, "https://") {
				return refuse(Policy, "it clones git repositories only if the site allows it, by https:// only")
			}
		}
	}
	for _, id := range b.Rebuild {
		if !seen[id] {
			return refuse(Malformed, "%s is to be built again, and is no step", id)
		}
	}
	for _, d := range reached {
		if err := r.derivation(d); err != nil {
			return err
		}
	}
	return nil
}

// matcher lets through what only looks: the script of a matcher is a file of the caller's.
func matcher(s wire.Step) error {
	m, err := match.Parse(s.Match)
	switch {
	case err != nil:
		return refuse(Malformed, "%v", err)
	case s.Match != "" && len(s.Locked) > 0:
		return refuse(Malformed, "the step %s has a matcher and a lock", s.ID)
	case match.Script(m) != "":
		return refuse(Policy, "it runs no script that chooses among realizations")
	}
	return nil
}

var (
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	wanted    = regexp.MustCompile(`^[[:graph:]]{1,256}$`) // what a spec may write: a package, or what one provides
	component = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9@+._:~^%-]*$`)
)

// derivation refuses what a resolver of ours would not have made, and what the site does not allow.
func (r *Rules) derivation(d *artifact.Derivation) error {
	if err := d.Check(); err != nil {
		return refuse(Malformed, "%v", err)
	}
	for _, check := range []func(*artifact.Derivation) error{checkText, checkInputs, r.place, r.policy, r.hostPaths} {
		if err := check(d); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rules) place(d *artifact.Derivation) error {
	switch {
	case d.Prefix != r.o.Prefix:
		return refuse(Policy, "%s is for the store %q, and this one is %q", d.Name, d.Prefix, r.o.Prefix)
	case d.System != r.o.System:
		return refuse(Policy, "%s is for a machine of kind %q, and this one is %q", d.Name, d.System, r.o.System)
	case d.Layout != jail.Layout:
		return refuse(Policy, "%s is for layout %d of jails, and this one has %d", d.Name, d.Layout, jail.Layout)
	}
	return nil
}

// policy lets through only what is contained.
func (r *Rules) policy(d *artifact.Derivation) error {
	if _, contained := r.contained[d.Policy]; !contained {
		return refuse(Policy, "%s has a policy that is none of the shipped ones, or a mode that is no containment", d.Name)
	}
	return nil
}

// hostPaths lets a spec show what the site allows. The daemon could open more than the caller can, so each path is compared
// with what is there now.
func (r *Rules) hostPaths(d *artifact.Derivation) error {
	policy := r.contained[d.Policy]
	for _, p := range d.HostPaths {
		switch {
		case !path.IsAbs(p.Path) || path.Clean(p.Path) != p.Path:
			return refuse(Malformed, "host path %q is not absolute and clean", p.Path)
		case !r.site.Daemon.AllowsHostPath(p.Path):
			return refuse(Policy, "the site does not allow the host path %q", p.Path)
		case r.isNever(policy, p.Path):
			return refuse(Policy, "the host path %q never is shown", p.Path)
		}
		declared := strings.HasPrefix(p.Identity, "id:")
		found, err := r.o.HostIdentity(p.Path, declared)
		if err != nil {
			return refuse(Policy, "host path %q: %v", p.Path, err)
		}
		target, link := strings.CutPrefix(found, plan.LinkIdentity)
		if (!declared || link) && found != p.Identity {
			return refuse(Policy, "the host path %q is not what the derivation says it is", p.Path)
		}
		if link && !slices.ContainsFunc(d.HostPaths, func(o artifact.HostPath) bool { return o.Path != p.Path && below(o.Path, target) }) {
			return refuse(Policy, "the host path %q leads to %q, which is not whitelisted", p.Path, target)
		}
	}
	return nil
}

func (r *Rules) isNever(policy policies.Policy, name string) bool {
	for _, never := range policy.NeverPaths("") {
		if below(never, name) || below(name, never) {
			return true
		}
	}
	return policies.MatchPath(r.never, policies.OpRead, name) == policies.RuleNever
}

func below(dir, name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func checkText(d *artifact.Derivation) error {
	if len(d.Interpreter) == 0 || !path.IsAbs(d.Interpreter[0]) || path.Clean(d.Interpreter[0]) != d.Interpreter[0] {
		return refuse(Malformed, "the interpreter of %s is no absolute, clean path", d.Name)
	}
	for name := range d.Environment {
		if !variable.MatchString(name) {
			return refuse(Malformed, "%q is no name of a variable", name)
		}
	}
	for _, text := range slices.AppendSeq(slices.Clone(d.Interpreter), maps.Values(d.Environment)) {
		if _, err := lens.ParseIn(d, text); err != nil {
			return refuse(Malformed, "%v", err)
		}
	}
	return nil
}

func checkInputs(d *artifact.Derivation) error {
	for _, s := range d.Sources {
		if _, err := sources.ParseDigest(s.Digest); err != nil {
			return refuse(Malformed, "%v", err)
		}
		if s.Target != "" && !relative(s.Target) {
			return refuse(Malformed, "the target %q is no relative, clean path", s.Target)
		}
	}
	seen := map[string]bool{}
	for _, dep := range d.Dependencies {
		if dep.As != "" && (!variable.MatchString(dep.As) || seen[dep.As]) {
			return refuse(Malformed, "a dependency of %s is called %q", d.Name, dep.As)
		}
		seen[dep.As] = true
	}
	for _, p := range d.HostPackages {
		for _, text := range []string{p.Name, p.Version, p.Architecture} {
			if text != "" && !component.MatchString(text) || p.Name == "" {
				return refuse(Malformed, "host package %q %q %q", p.Name, p.Version, p.Architecture)
			}
		}
	}
	return nil
}

func relative(p string) bool {
	return p != "" && !path.IsAbs(p) && path.Clean(p) == p && p != ".." && !strings.HasPrefix(p, "../")
}

// Limits are those that a step may have: what it states or the defaults, within what the site allows and what is left of the
// user's quota, in bytes; a negative one is no quota.
func (r *Rules) Limits(stated jail.Limits, store, logs int64) jail.Limits {
	l, site := stated, r.site.Daemon.Limits
	bound(&l.Memory, int64(site.Memory))
	bound(&l.Pids, site.Pids)
	bound(&l.CPU, site.CPU)
	bound(&l.Wall, site.Wall)
	bound(&l.Silence, site.Silence)
	bound(&l.Output, int64(site.Output))
	bound(&l.Files, site.Files)
	bound(&l.Log, int64(site.Log))
	if store >= 0 {
		bound(&l.Output, max(store, 1))
	}
	if logs >= 0 {
		bound(&l.Log, max(logs, 1))
	}
	return l
}

// bound lowers a limit, of which 0 is none.
func bound[T ~int64 | ~float64](limit *T, most T) {
	if most > 0 && (*limit == 0 || *limit > most) {
		*limit = most
	}
}
