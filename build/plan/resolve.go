package plan

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/sources/unpack"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

// HostPackages pins packages of the host; *hostpkgs.Host is one. Safe for concurrent use.
type HostPackages interface {
	Pin(ctx context.Context, names []string) ([]hostpkgs.Pinned, error)
	Owner(ctx context.Context, path string) (name string, owned bool, err error)
}

// LocalSources keeps files and trees that specs name by path; *sources.Store is one. Safe for concurrent use.
type LocalSources interface {
	// AddLocal makes the file or tree at path a stored source and returns its digest: "blake3:…" or "tree:…".
	AddLocal(ctx context.Context, path string) (digest string, err error)
	// OpenFile opens a stored file.
	OpenFile(digest string) (*os.File, error)
}

// Resolver turns specs into derivations. It is read-only while Resolve runs.
type Resolver struct {
	// System is that of the machine that builds, like "x86_64-linux"; Prefix is the store's.
	System, Prefix string
	Host           HostPackages
	Sources        LocalSources
	// HostDigest returns the digest of a whitelisted file or tree, which is no symbolic link.
	HostDigest func(ctx context.Context, path string) (artifact.TreeDigest, error)
	// Home is the caller's home directory, which cannot be whitelisted as a whole.
	Home string
	// Mode replaces the mode of specs: hide and fail in the whole plan, log and off for targets only. Empty replaces none.
	Mode policies.Mode
	// Degraded are the degradations that the user allowed.
	Degraded []string
	// Matches count more than all other matchers; of two for one derivation the last one.
	Matches []Override
	// Locked are matchers of a lock file, over those that specs state.
	Locked map[artifact.DerivationID]match.Matcher
}

// Resolve makes the plan of a graph. What a spec names wrongly is a *spec.Error at its place.
func (r *Resolver) Resolve(ctx context.Context, g *Graph) (*Plan, error) {
	standard, err := match.Parse("")
	if err != nil {
		return nil, err
	}
	s := &resolution{Resolver: r, ctx: ctx, steps: make([]*Step, len(g.Nodes)), target: map[*Node]bool{}, standard: standard}
	for _, n := range g.Targets {
		s.target[n] = true
	}
	for i, n := range g.Nodes {
		n.index = i
	}
	for _, level := range levels(g.Nodes) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err := parallel(len(level), func(i int) error { return s.node(level[i]) }); err != nil {
			return nil, err
		}
	}
	return s.plan(g)
}

// levels groups nodes, sorted ones, so that each depends on earlier groups only.
func levels(nodes []*Node) [][]*Node {
	depth := make([]int, len(nodes))
	var groups [][]*Node
	for i, n := range nodes {
		for _, dep := range n.Dependencies {
			depth[i] = max(depth[i], depth[dep.index]+1)
		}
		if depth[i] == len(groups) {
			groups = append(groups, nil)
		}
		groups[depth[i]] = append(groups[depth[i]], n)
	}
	return groups
}

// resolution is one run of Resolve. steps is by index of the node; two specs may give one derivation, and are merged last.
type resolution struct {
	*Resolver
	ctx    context.Context
	steps  []*Step
	target map[*Node]bool
	// standard is the matcher where nobody states one.
	standard match.Matcher
	pins     memo[[]artifact.HostPackage]
	owners   memo[string]
	locals   memo[artifact.Source]
	paths    memo[artifact.HostPath]
	policy   memo[policies.Policy]
	digest   memo[string]
	choosers memo[*Step]
}

func (r *resolution) node(n *Node) (err error) {
	step := &Step{Spec: n.Spec, URLs: map[string][]string{}}
	for _, dep := range n.Dependencies {
		step.Dependencies = append(step.Dependencies, r.steps[dep.index])
	}
	if n.Spec == nil {
		step.Derivation = *n.Derivation
		step.Policy, step.Mode = findPolicy(n.Derivation.Policy, r.Degraded)
	} else {
		err = r.spec(n, step)
	}
	step.ID = step.Derivation.ID()
	r.steps[n.index] = step
	return err
}

// findPolicy looks for the shipped policy and mode with this digest; the zero Policy when there is none.
func findPolicy(digest string, degraded []string) (policies.Policy, policies.Mode) {
	for _, name := range policies.ShippedNames() {
		p, err := policies.Shipped(name)
		for _, mode := range []policies.Mode{policies.ModeHide, policies.ModeLog, policies.ModeOff} {
			if err == nil && p.Digest(mode, degraded) == digest {
				return p, mode
			}
		}
	}
	return policies.Policy{}, ""
}

// DescribePolicy names the shipped policy and the mode that a digest of a derivation stands for; empty when it is none of them.
func DescribePolicy(digest string) string {
	p, mode := findPolicy(digest, nil)
	switch mode {
	case "":
		return ""
	case policies.ModeHide:
		return p.Name + ", mode hide or fail"
	}
	return p.Name + ", mode " + string(mode)
}

// spec fills in the step of a node that has one.
func (r *resolution) spec(n *Node, step *Step) error {
	s := n.Spec
	step.Mode, step.Limits = s.Mode, s.Limits
	if r.Mode.Contains() || r.Mode != "" && r.target[n] {
		step.Mode = r.Mode
	}
	var err error
	if step.Policy, err = r.policy.get(s.Policy, policies.Shipped); err != nil {
		return s.ErrorAt("policy", -1, err, "")
	}
	d := &step.Derivation
	*d = artifact.Derivation{Layout: jail.Layout, Name: s.Name, System: r.System, Prefix: r.Prefix, Script: s.Script,
		Policy: r.policyDigest(step.Policy, step.Mode)}
	if d.Dependencies, err = r.dependencies(n, step); err != nil {
		return err
	}
	if s, err = r.expand(s, step); err != nil {
		return err
	}
	d.Version, d.Interpreter, d.Environment = s.Version, s.Interpreter, s.Environment
	d.Promises = slices.Compact(slices.SortedFunc(slices.Values(s.Promises), artifact.ComparePromises))
	if d.Sources, err = r.sources(n, s, step); err != nil {
		return err
	}
	if d.HostPaths, err = r.hostPaths(s); err != nil {
		return err
	}
	if d.HostPackages, err = r.hostPackages(s); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return s.ErrorAt("name", -1, err, "")
	}
	return nil
}

func (r *resolution) policyDigest(p policies.Policy, mode policies.Mode) string {
	digest, _ := r.digest.get(p.Name+"\n"+string(mode), func(string) (string, error) { return p.Digest(mode, r.Degraded), nil })
	return digest
}

func (r *resolution) dependencies(n *Node, step *Step) ([]artifact.Dependency, error) {
	var list []artifact.Dependency
	first := map[string]int{}
	for i, dep := range n.Spec.Dependencies {
		as := dep.As
		if as == "" {
			as = VariableName(step.Dependencies[i].Derivation.Name)
		}
		if _, twice := first[as]; twice {
			return nil, n.Spec.ErrorAt("dependencies", i, fmt.Errorf("a second dependency is called %s", as), "tell them apart by `as: NAME`")
		}
		for _, variable := range []string{as + "_DIR", as + "_ID"} {
			if _, set := n.Spec.Environment[variable]; set {
				return nil, n.Spec.ErrorAt("environment", -1, fmt.Errorf("variable %s is set by the dependency %s", variable, as), "")
			}
		}
		first[as] = i
		list = append(list, artifact.Dependency{ID: step.Dependencies[i].ID, As: as, Many: dep.Many})
	}
	return list, nil
}

// VariableName is the NAME of $NAME_DIR that a dependency gets from its own name: upper case, what no variable may hold
// replaced by an underscore.
func VariableName(name string) string {
	upper := strings.Map(func(c rune) rune {
		if strings.ContainsRune("-.+", c) {
			return '_'
		}
		return c
	}, strings.ToUpper(name))
	if upper[0] >= '0' && upper[0] <= '9' {
		return "_" + upper
	}
	return upper
}

// sources identifies those of a spec whose references are replaced.
func (r *resolution) sources(n *Node, expanded *spec.Spec, step *Step) ([]artifact.Source, error) {
	var list []artifact.Source
	for i, s := range expanded.Sources {
		source := artifact.Source{Digest: s.Digest(), Target: s.Target, Unpack: s.Unpack}
		if s.Path != "" {
			file := s.Path
			if !filepath.IsAbs(file) {
				file = filepath.Join(filepath.Dir(n.Path), file)
			}
			local, err := r.locals.get(file, r.local)
			if err != nil {
				return nil, n.Spec.ErrorAt("sources", i, fmt.Errorf("source %q: %w", s.Path, reason(err)), "")
			}
			if source.Digest = local.Digest; s.Unpack && !local.Unpack { // a file that is no archive goes below its target
				source.Unpack, source.Target = false, path.Join(s.Target, filepath.Base(file))
			}
		}
		if len(s.URLs) > 0 {
			step.URLs[source.Digest] = append(step.URLs[source.Digest], s.URLs...)
		}
		list = append(list, source)
	}
	return list, nil
}

// local identifies a local source; Unpack tells whether there is something to unpack.
func (r *resolution) local(file string) (s artifact.Source, err error) {
	if s.Digest, err = r.Sources.AddLocal(r.ctx, file); err != nil || strings.HasPrefix(s.Digest, "tree:") {
		return artifact.Source{Digest: s.Digest, Unpack: true}, err
	}
	f, err := r.Sources.OpenFile(s.Digest)
	if err != nil {
		return s, err
	}
	defer f.Close()
	s.Unpack = unpack.Detect(f) != ""
	return s, nil
}

// hostPackages pins what the spec lists and, unless a whitelisted path covers it, the owner of the interpreter.
func (r *resolution) hostPackages(s *spec.Spec) ([]artifact.HostPackage, error) {
	names := slices.Clone(s.Host.Packages)
	interpreter := s.Interpreter[0]
	covered := slices.ContainsFunc([]string{jail.BuildDir, r.Prefix}, func(dir string) bool { return mounts.Below(dir, interpreter) }) ||
		slices.ContainsFunc(s.Host.Paths, func(p spec.HostPath) bool { return p.Path == interpreter || mounts.Below(p.Path, interpreter) })
	if !covered {
		owner, err := r.owners.get(interpreter, r.owner)
		if err != nil {
			return nil, s.ErrorAt("interpreter", -1, fmt.Errorf("interpreter %q: %w", interpreter, err), "")
		}
		names = append(names, owner)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, nil
	}
	pinned, err := r.pins.get(strings.Join(names, "\n"), func(string) ([]artifact.HostPackage, error) { return r.pin(names) })
	if err != nil {
		return nil, pinError(s, err)
	}
	return pinned, nil
}

func (r *resolution) owner(interpreter string) (string, error) {
	owner, owned, err := r.Host.Owner(r.ctx, interpreter)
	if err == nil && !owned {
		err = fmt.Errorf("no installed package owns it; list it under host.paths")
	}
	return owner, err
}

func (r *resolution) pin(names []string) ([]artifact.HostPackage, error) {
	pins, err := r.Host.Pin(r.ctx, names)
	if err != nil {
		return nil, err
	}
	list := make([]artifact.HostPackage, len(pins))
	for i, p := range pins {
		digest, err := artifact.ParseTreeDigest(p.Digest)
		if err != nil {
			return nil, fmt.Errorf("pin package %q: %w", p.Name, err)
		}
		list[i] = artifact.HostPackage{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: digest}
	}
	return list, nil
}
