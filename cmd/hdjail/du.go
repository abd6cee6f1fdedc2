package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/du"
	"hdjail/artifact/gc"
	"hdjail/artifact/store"
	"hdjail/profile"
)

func duCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "du", Usage: "tell what artifacts take of the store, alone and together", ArgsUsage: "[ID|PATH|SPEC|PROFILE...]",
		UsageText: "hdjail du\nhdjail du tools hello.yaml mf2x\nhdjail du --all --json | jq '.rows[0]'",
		Description: `One line each, the largest first: closure (with all that it was built with), the part of that which no other line has, the part
that another line has, too, and its own size. Without arguments there is a line for each realization that no other was built
with. Sizes are those of the content of files.`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "a line for every realization"}, jsonFlag()},
		Action: a.du,
	}
}

// occupied is what `hdjail du --json` prints.
type occupied struct {
	Rows  []du.Row  `json:"rows"`
	Total du.Totals `json:"total"`
}

func (a *app) du(c *cli.Context) error {
	if c.Bool("all") && c.NArg() > 0 {
		return usagef("--all is for the whole store", "leave out the arguments")
	}
	s, err := a.storeToRead()
	if err != nil {
		return err
	}
	snap, err := gc.Contents(c.Context, s)
	if err != nil {
		return err
	}
	if err := snap.Measure(c.Context, s); err != nil {
		return err
	}
	targets := du.Every(snap, !c.Bool("all"))
	if c.NArg() > 0 {
		targets = nil
		for _, text := range c.Args().Slice() {
			t, err := a.occupant(c.Context, s, text)
			if err != nil {
				return err
			}
			targets = append(targets, t)
		}
	}
	found := occupied{du.Rows(snap, targets), du.Total(snap)}
	return a.out.show(c.Bool("json"), found, func() {
		for _, r := range found.Rows {
			only := ""
			if len(r.Realizations) == 1 {
				only = r.Realizations[0].String()
			}
			a.out.line("%9s  %9s unique  %9s shared  %9s own  %s  %s", size(r.Closure), size(r.Unique), size(r.Shared), size(r.Own), escape(r.Name), only)
		}
		a.out.say("realizations %s, sources %s, host packages %s", size(found.Total.Realizations), size(found.Total.Sources), size(found.Total.HostPackages))
	})
}

// occupant is what an argument names: all that the current generation of a profile links, or the realizations of a
// derivation.
func (a *app) occupant(ctx context.Context, s *store.Store, text string) (du.Target, error) {
	profiles := profile.Profiles{Dir: s.ProfilesDir()}
	if g, err := profiles.Generation(text, 0); err == nil {
		return du.Target{Name: text, Realizations: g.Realizations()}, nil
	}
	ref, err := a.resolveID(ctx, s, text)
	if err != nil {
		return du.Target{}, err
	}
	if !ref.Realization.IsZero() {
		return du.Target{Name: text, Realizations: []artifact.RealizationID{ref.Realization}}, nil
	}
	t := du.Target{Name: text, Realizations: []artifact.RealizationID{}}
	all, err := s.Realizations(ref.Derivation)
	for _, r := range all {
		t.Realizations = append(t.Realizations, r.ID)
	}
	return t, err
}
