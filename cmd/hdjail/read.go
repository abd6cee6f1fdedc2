package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/plan"
)

// listed is a line of `hdjail list`.
type listed struct {
	Realization artifact.RealizationID `json:"realization"`
	Derivation  artifact.DerivationID  `json:"derivation"`
	Name        string                 `json:"name"`
	Version     string                 `json:"version,omitempty"`
	Path        string                 `json:"path"`
	Built       time.Time              `json:"built"`
}

func listCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the realizations in the store", UsageText: "hdjail list\nhdjail list --json | jq -r '.[].path'\nhdjail list --roots",
		Flags: []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "roots", Usage: "list why hdjail gc keeps something: profiles, pins, links, running builds"}},
		Action: func(c *cli.Context) error {
			if c.Bool("roots") {
				return a.listRoots(c)
			}
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			list, damaged := realizations(s)
			shown := a.out.show(c.Bool("json"), list, func() {
				for _, l := range list {
					a.out.line("%s  %s  %s %s", l.Realization, moment(l.Built), l.Name, l.Version)
				}
			})
			return errors.Join(shown, damaged)
		},
	}
}

// moment is a point in time, for people; the zone is always the same.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// realizations lists what the store has, by name and then by time. What is damaged is in the error, beside the others.
func realizations(s *store.Store) ([]listed, error) {
	entries, err := os.ReadDir(filepath.Join(s.Root(), "realizations"))
	if err != nil {
		return nil, err
	}
	list := []listed{}
	var failed []error
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		if err != nil {
			continue
		}
		r, err := s.Realization(id)
		if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
			continue // removed meanwhile
		}
		var d *artifact.Derivation
		if err == nil {
			d, err = s.Derivation(r.Derivation)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("list realization %s: %w", id, err))
			continue
		}
		list = append(list, listed{id, r.Derivation, d.Name, d.Version, s.OutPath(id), r.Records[0].End.UTC()})
	}
	slices.SortFunc(list, func(x, y listed) int { return cmp.Or(cmp.Compare(x.Name, y.Name), x.Built.Compare(y.Built)) })
	return list, errors.Join(failed...)
}

// shown is what `hdjail show` knows of a derivation.
type shown struct {
	ID           artifact.DerivationID  `json:"id"`
	Path         string                 `json:"path"`
	Derivation   *artifact.Derivation   `json:"derivation"`
	Realizations []artifact.Realization `json:"realizations"`
	Records      []artifact.BuildRecord `json:"records"`
}

func showCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a derivation with its realizations and runs", ArgsUsage: "ID|PATH|SPEC", UsageText: "hdjail show mf2x\nhdjail show --json ./result",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail show wants one ID, path or spec", "hdjail list shows what the store has")
			}
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			ref, err := a.resolveID(c.Context, s, c.Args().First())
			if err != nil {
				return err
			}
			found := shown{ID: ref.Derivation, Realizations: []artifact.Realization{}}
			if found.Derivation, err = s.Derivation(ref.Derivation); err != nil {
				return err
			}
			found.Path = s.PublicPath(found.Derivation)
			all, err := s.Realizations(ref.Derivation)
			for _, r := range all {
				if ref.Realization.IsZero() || ref.Realization == r.ID {
					found.Realizations = append(found.Realizations, r)
				}
			}
			if err == nil {
				found.Records, err = s.Records(ref.Derivation)
			}
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), found, func() { a.printShown(s, found) })
		},
	}
}

func (a *app) printShown(s *store.Store, f shown) {
	d := f.Derivation
	a.out.line("derivation  %s\nname        %s %s\nsystem      %s\npath        %s", f.ID, d.Name, d.Version, d.System, f.Path)
	for _, dep := range d.Dependencies {
		a.out.line("dependency  %s %s", dep.ID, cmp.Or(dep.As, "(by a reference)"))
	}
	for _, source := range d.Sources {
		a.out.line("source      %s %s", source.Digest, source.Target)
	}
	for _, p := range d.HostPaths {
		a.out.line("host path   %s %s", p.Path, p.Identity)
	}
	a.out.line("host        %d packages", len(d.HostPackages))
	for _, r := range f.Realizations {
		a.out.line("realization %s\n  tree      %s\n  out       %s", r.ID, r.Tree, s.OutPath(r.ID))
	}
	for _, r := range f.Records {
		outcome := "built " + r.Realization.String()
		if r.Failure != "" {
			outcome = r.Failure + ": " + escape(r.Message)
		}
		a.out.line("run %-7d %s  %s  %s", r.Number, moment(r.Start),
			r.End.Sub(r.Start).Round(time.Millisecond), outcome)
	}
}

// resolveID finds what a spec, an ID, the beginning of one, or a path means. A link to the store counts as where it leads.
func (a *app) resolveID(ctx context.Context, s *store.Store, text string) (store.Ref, error) {
	ref, _, err := a.resolve(ctx, s, text)
	return ref, err
}

// resolve is resolveID, and the plan if the text is a spec, else nil.
func (a *app) resolve(ctx context.Context, s *store.Store, text string) (store.Ref, *plan.Plan, error) {
	path := a.absolute(text)
	name := storeName(s, path, "")
	if target, err := filepath.EvalSymlinks(path); err == nil && name == "" {
		name = storeName(s, target, "")
	}
	if _, err := os.Stat(path); err != nil || name != "" {
		ref, err := s.ResolveID(cmp.Or(name, text))
		return ref, nil, err
	}
	p, err := a.plan(ctx, request{targets: []string{text}})
	if err != nil {
		return store.Ref{}, nil, err
	}
	return store.Ref{Derivation: p.Targets[0].ID}, p, nil
}
