package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/build/plan"
	"hdjail/jail"
	"hdjail/mounts"
)

// planned is one build of a dry run.
type planned struct {
	Name        string                `json:"name"`
	ID          artifact.DerivationID `json:"derivation"`
	Path        string                `json:"path"`
	Built       bool                  `json:"built"`
	HostPackage []string              `json:"host_packages"`
	Jail        jail.Config           `json:"jail"`
}

// dryRun prints what would be built, and what its jails would show; of the targets also what is built already.
func (a *app) dryRun(c *cli.Context, p *plan.Plan) error {
	b, err := a.builder()
	if err != nil {
		return err
	}
	options, err := buildOptions(c, p)
	if err != nil {
		return err
	}
	if err := a.letChoose(b, p); err != nil {
		return err
	}
	a.warnPlan(p)
	options.DryRun = true
	results, err := b.Realize(c.Context, p, options)
	if err != nil {
		return err
	}
	preview := b.Previews(p, results)
	list, missing := []planned{}, 0
	for _, r := range results {
		if len(r.Realizations) == 0 {
			missing++
		} else if !slices.Contains(p.Targets, r.Step) {
			continue
		}
		config, err := preview(c.Context, r.Step)
		if err != nil {
			return err
		}
		d := &r.Step.Derivation
		entry := planned{Name: r.Step.Name(), ID: r.Step.ID, Path: b.Store.PublicPath(d), Built: len(r.Realizations) > 0,
			HostPackage: []string{}, Jail: config}
		for _, pkg := range d.HostPackages {
			entry.HostPackage = append(entry.HostPackage, pkg.Name)
		}
		list = append(list, entry)
	}
	return a.out.show(c.Bool("json"), list, func() {
		for _, entry := range list {
			a.printPlanned(entry)
		}
		a.out.say("%d to build, %d built already", missing, len(results)-missing)
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
