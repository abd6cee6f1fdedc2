package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/verify"
	"hdjail/build"
	"hdjail/build/sources"
	"hdjail/policies"
	"hdjail/profile"
)

func verifyCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "compare everything in the store with its digest, and repair it",
		UsageText: "hdjail verify\nhdjail verify --repair\nhdjail verify --repair --mirror /mnt/sources",
		Description: `Trees, derivations, manifests, records, logs, sources and snapshots of host packages are read, several at once. Without --repair
nothing is changed. With it, what is damaged is moved into quarantine/ in the store, and made anew as far as the store knows how:
realizations are built again from their derivations, sources fetched from --mirror. Nothing is deleted; empty quarantine/ when
you have seen enough. The exit status is 8 if something damaged is left.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "repair", Usage: "move what is damaged away, and build or fetch it again"},
			&cli.BoolFlag{Name: "offline", Usage: "use no network"},
			&cli.StringSliceFlag{Name: "mirror", KeepSpace: true, Usage: "ask `DIR|URL` for sources"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "run at most `N` builds at once", DefaultText: "as many as processors"},
			&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress of builds as `FORM`: auto, tree, plain, quiet or json"},
			&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process collects", DefaultText: "never"},
			jsonFlag(),
		},
		Action: a.verify,
	}
}

func (a *app) verify(c *cli.Context) error {
	open := a.storeToRead
	if c.Bool("repair") {
		if _, err := a.runner(policies.ModeHide); err != nil { // this may start the program over
			return err
		}
		open = a.store
	}
	s, err := open()
	if err != nil {
		return err
	}
	report, err := verify.Check(c.Context, s, verify.Options{Roots: a.profileRoots, Profiles: a.profileDamage})
	if err != nil {
		return err
	}
	if c.Bool("repair") && len(report.Problems) > 0 {
		if err := a.repair(c, report); err != nil {
			return err
		}
	}
	err = a.out.show(c.Bool("json"), report, func() { a.printReport(report) })
	if err != nil {
		return err
	}
	return report.Err()
}

// profileDamage is what is damaged in the profiles of the open store.
func (a *app) profileDamage(ctx context.Context) ([]verify.Problem, error) {
	profiles := profile.Profiles{Dir: a.openStore.ProfilesDir()}
	found, err := profiles.Check(ctx)
	list := make([]verify.Problem, len(found))
	for i, d := range found {
		list[i] = verify.Problem{Kind: verify.Root, ID: "profile " + d.Profile, Path: "profiles/" + d.Path, Reason: d.Path + ": " + d.Reason,
			Needs: "link its artifacts again (hdjail profile link), or choose another generation (hdjail profile switch)"}
	}
	return list, err
}

func (a *app) printReport(r *verify.Report) {
	for _, p := range r.Problems {
		a.out.line("%-12s  %s  %s", p.Kind, escape(p.ID), escape(p.Reason))
		for _, more := range [][2]string{{"moved to", p.Quarantine}, {"repaired:", p.Repaired}, {"needs", p.Needs}} {
			if more[1] != "" {
				a.out.line("    %s %s", more[0], escape(more[1]))
			}
		}
	}
	a.out.say("%d objects, %s, %d problems", r.Objects, size(r.Bytes), len(r.Problems))
}

// repair moves what is damaged away, and makes anew what can be.
func (a *app) repair(c *cli.Context, r *verify.Report) error {
	todo, err := r.Quarantine(c.Context, a.openStore, a.rootsWait(c))
	if err != nil {
		return err
	}
	request, err := a.request(c, nil)
	if err != nil {
		return err
	}
	if len(todo.Fetch) > 0 {
		src, err := a.sources()
		if err != nil {
			return err
		}
		for _, digest := range todo.Fetch {
			if err := src.Fetch(c.Context, sources.Request{Digest: digest}, func(int64, int64) {}); err == nil {
				r.Fetched(digest)
			} else if c.Context.Err() != nil {
				return context.Cause(c.Context)
			}
		}
	}
	for _, id := range todo.Build {
		if !r.Lacks(a.openStore, id) {
			continue // a build that needed it was faster
		}
		if err := a.rebuild(c, request, id); err != nil {
			if c.Context.Err() != nil {
				return context.Cause(c.Context)
			}
			a.out.warn("%v", err)
		}
	}
	r.Built(a.openStore)
	return nil
}

// rebuild builds a derivation of the store again, even if there is another result of it.
func (a *app) rebuild(c *cli.Context, r request, id artifact.DerivationID) error {
	r.targets = []string{id.String()}
	p, err := a.plan(c.Context, r)
	if err != nil {
		return err
	}
	_, err = a.realizeWith(c, survey{plan: p, options: build.Options{Jobs: c.Int("jobs"), Rebuild: map[artifact.DerivationID]bool{id: true}}})
	return err
}
