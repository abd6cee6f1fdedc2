package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/build"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/mounts"
)

// unbuilt stands for what a dry run cannot know.
const unbuilt = "(to be built)"

// planned is one build of a dry run.
type planned struct {
	Name        string                `json:"name"`
	ID          artifact.DerivationID `json:"derivation"`
	Path        string                `json:"path"`
	HostPackage []string              `json:"host_packages"`
	Jail        jail.Config           `json:"jail"`
}

// dryRun prints what would be built, and what each jail would show.
func (a *app) dryRun(ctx context.Context, p *plan.Plan, asJSON bool) error {
	b, err := a.builder()
	if err != nil {
		return err
	}
	results, err := b.Realize(ctx, p, build.Options{DryRun: true})
	if err != nil {
		return err
	}
	list := []planned{}
	for _, r := range results {
		if len(r.Realizations) > 0 {
			continue
		}
		config, err := a.preview(ctx, b, r.Step, results)
		if err != nil {
			return err
		}
		d := &r.Step.Derivation
		entry := planned{Name: r.Step.Name(), ID: r.Step.ID, Path: b.Store.PublicPath(d), HostPackage: []string{}, Jail: config}
		for _, pkg := range d.HostPackages {
			entry.HostPackage = append(entry.HostPackage, pkg.Name)
		}
		list = append(list, entry)
	}
	return a.out.show(asJSON, list, func() {
		for _, entry := range list {
			a.printPlanned(entry)
		}
		a.out.say("%d to build, %d built already", len(list), len(results)-len(list))
	})
}

func (a *app) printPlanned(p planned) {
	c := p.Jail
	a.out.line("%s %s", p.ID, p.Name)
	a.out.line("  artifact     %s", p.Path)
	a.out.line("  policy       %s, mode %s, network %s", c.Policy.Name, c.Mode, c.Policy.Network)
	a.out.line("  host         %s", strings.Join(p.HostPackage, " "))
	a.out.line("  command      %s", escape(strings.Join(c.Args, " ")))
	for _, e := range c.Mounts.Entries {
		access := "ro"
		if e.Writable {
			access = "rw"
		}
		source := e.Source
		if e.Kind == mounts.File {
			source = ""
		}
		a.out.line("  %-8s %s  %s", e.Kind, access, strings.TrimRight(escape(e.Target+arrow(source)+"  "+e.Why), " "))
	}
	for _, variable := range c.Env {
		a.out.line("  env          %s", escape(variable))
	}
}

func arrow(source string) string {
	if source == "" {
		return ""
	}
	return " <- " + source
}

// preview plans the jail of a step as a build would, with names for what does not exist yet.
func (a *app) preview(ctx context.Context, b *build.Builder, step *plan.Step, results []build.Result) (jail.Config, error) {
	d := &step.Derivation
	v := jailplan.View{Name: step.Name(), Mode: step.Mode, Policy: step.Policy, Scratch: &jail.Scratch{Dir: b.Store.TmpDir() + "/(scratch)"},
		Dependencies: closure(b, step, results), Stores: slices.Compact([]string{b.Store.Root(), d.Prefix}), Home: a.home, HideHome: true}
	for _, p := range d.HostPaths {
		path := jailplan.Path{Path: p.Path}
		if target, isLink := strings.CutPrefix(p.Identity, plan.LinkIdentity); isLink {
			path.Link = target
		}
		path.Directory = isDirectory(cmp.Or(path.Link, p.Path))
		v.Paths = append(v.Paths, path)
	}
	var err error
	if v.Mode.Contains() {
		var pins []hostpkgs.Pinned
		for _, p := range d.HostPackages {
			pins = append(pins, hostpkgs.Pinned{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: p.Digest.String()})
		}
		v.Tree, err = b.Host.Compose(ctx, pins, jailplan.Mountpoints(v.Stores, v.Paths))
	} else {
		v.Secrets = build.Secrets(v.Policy, a.home)
		v.Tree, err = build.HostTree()
	}
	if err != nil {
		return jail.Config{}, err
	}
	return jailplan.Build{View: v, Derivation: d, Artifact: b.Store.PublicPath(d), Limits: step.Limits.Over(b.Limits), Jobs: 1}.Config()
}

// closure lists what a build sees of the store: the dependencies under their names, then deeper ones.
func closure(b *build.Builder, step *plan.Step, results []build.Result) (list []jailplan.Dependency) {
	seen := map[*plan.Step]bool{}
	for queue := []*plan.Step{step}; len(queue) > 0; queue = queue[1:] {
		for i, dep := range queue[0].Dependencies {
			stated := queue[0].Derivation.Dependencies[i]
			direct := queue[0] == step
			if seen[dep] || !direct && stated.Many {
				continue
			}
			seen[dep] = true
			view := jailplan.Dependency{ID: dep.ID, Public: b.Store.PublicPath(&dep.Derivation)}
			if direct {
				view.As, view.Many = stated.As, stated.Many
			}
			for _, r := range results[dep.Index].Realizations {
				view.Outs, view.IDs = append(view.Outs, b.Store.OutPath(r.ID)), append(view.IDs, r.ID)
			}
			if view.Outs == nil {
				view.Outs, view.IDs = []string{b.Store.Root() + "/realizations/" + unbuilt + "/out"}, make([]artifact.RealizationID, 1)
			}
			list = append(list, view)
			queue = append(queue, dep)
		}
	}
	return list
}
