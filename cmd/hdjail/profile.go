package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/profile"
	"hdjail/profile/links"
	"hdjail/profile/public"
)

func profileCommand(a *app) *cli.Command {
	timeout := &cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process changes the profile", DefaultText: "never"}
	return &cli.Command{
		Name: "profile", Usage: "link artifacts into profiles",
		UsageText: "hdjail profile link tools hello.yaml\nhdjail profile list tools\nhdjail profile rollback tools",
		Subcommands: []*cli.Command{
			{Name: "link", Usage: "link artifacts into a profile, and build what is missing", ArgsUsage: "PROFILE SPEC|ID|PATH...",
				UsageText: "hdjail profile link tools hello.yaml zlib.yaml\nhdjail profile link --set tools hello.yaml", Action: a.profileLink,
				Flags: append(buildFlags(), jsonFlag(), &cli.BoolFlag{Name: "set", Usage: "drop everything that is linked now"})},
			{Name: "list", Usage: "list profiles, or the generations of one", ArgsUsage: "[PROFILE]",
				UsageText: "hdjail profile list\nhdjail profile list tools", Action: a.profileList, Flags: []cli.Flag{jsonFlag()}},
			{Name: "diff", Usage: "compare the current generation with the one before, or two others", ArgsUsage: "PROFILE [FROM [TO]]",
				UsageText: "hdjail profile diff tools\nhdjail profile diff tools 3 5", Action: a.profileDiff, Flags: []cli.Flag{jsonFlag()}},
			{Name: "rollback", Usage: "go back to the generation before, or to number N", ArgsUsage: "PROFILE [N]",
				UsageText: "hdjail profile rollback tools", Action: a.profileSwitch(0), Flags: []cli.Flag{jsonFlag(), timeout}},
			{Name: "switch", Usage: "make a generation current", ArgsUsage: "PROFILE N",
				UsageText: "hdjail profile switch tools 3", Action: a.profileSwitch(1), Flags: []cli.Flag{jsonFlag(), timeout}},
			{Name: "remove", Usage: "make a generation without some artifacts", ArgsUsage: "PROFILE NAME...",
				UsageText: "hdjail profile remove tools zlib", Action: a.profileRemove, Flags: []cli.Flag{jsonFlag(), timeout}},
		},
	}
}

// profiles are those of the store. Who changes one waits for another process for as long as the flag says.
func (a *app) profiles(c *cli.Context) (*profile.Profiles, error) {
	s, err := a.store()
	if err != nil {
		return nil, err
	}
	self, err := lease.Self()
	if err != nil {
		return nil, err
	}
	lock := lease.Options{Holder: self, Timeout: c.Duration("lock-timeout"), Waiting: func(i lease.Info) { a.out.say("waiting for %s", i.Holder) }}
	profiles := &profile.Profiles{Dir: s.ProfilesDir(), Now: a.now, Lock: lock}
	profiles.Publish = public.Paths{Store: s, Profiles: profiles}.Settle
	return profiles, nil
}

func (a *app) profilesToRead() (*profile.Profiles, error) {
	s, err := a.storeToRead()
	if err != nil {
		return nil, err
	}
	return &profile.Profiles{Dir: s.ProfilesDir()}, nil
}

// linkable is a realization as a profile records it.
func linkable(s *store.Store, d *artifact.Derivation, r artifact.Realization, rules []links.Rule) profile.Artifact {
	return profile.Artifact{Name: d.Name, Version: d.Version, Derivation: r.Derivation, Realization: r.ID, Out: s.OutPath(r.ID),
		Public: s.PublicPath(d), Links: rules}
}

// artifactsOf are the results as a profile records them.
func (a *app) artifactsOf(results []build.Result) ([]profile.Artifact, error) {
	var list []profile.Artifact
	for _, r := range results {
		if len(r.Realizations) != 1 {
			return nil, usagef(fmt.Sprintf("%d realizations of %s are selected, and a profile takes one", len(r.Realizations), r.Step.Name()), "choose with --match")
		}
		var rules []links.Rule
		if r.Step.Spec != nil {
			rules = r.Step.Spec.Links
		}
		list = append(list, linkable(a.openStore, &r.Step.Derivation, r.Realizations[0], rules))
	}
	return list, nil
}

func (a *app) profileLink(c *cli.Context) error {
	name, rest, err := profileArgument(c, 1)
	if err != nil {
		return err
	}
	s, err := a.store()
	if err != nil {
		return err
	}
	var added []profile.Artifact
	var targets []string
	for _, text := range rest {
		found, err := a.realizationNamed(s, text)
		if err != nil {
			return err
		}
		if found == nil {
			targets = append(targets, text)
			continue
		}
		added = append(added, *found)
	}
	if len(targets) > 0 {
		r, err := a.request(c, targets)
		if err != nil {
			return err
		}
		p, err := a.plan(c.Context, r)
		if err != nil {
			return err
		}
		results, err := a.realize(c, p, true)
		if err != nil {
			return err
		}
		built, err := a.artifactsOf(results)
		if err != nil {
			return err
		}
		added = append(added, built...)
	}
	return a.change(c, name, profile.Edit{Set: c.Bool("set"), Add: added})
}

// realizationNamed is the realization that a text names, or nil when it names a derivation or a spec.
func (a *app) realizationNamed(s *store.Store, text string) (*profile.Artifact, error) {
	if _, err := os.Stat(a.absolute(text)); err == nil && !a.isPublic(text) {
		return nil, nil
	}
	ref, err := s.ResolveID(storeName(s, a.absolute(text), text))
	if err != nil || ref.Realization.IsZero() {
		return nil, nil // what is wrong with it is said when it is planned
	}
	r, err := s.Realization(ref.Realization)
	if err != nil {
		return nil, err
	}
	d, err := s.Derivation(ref.Derivation)
	if err != nil {
		return nil, err
	}
	found := linkable(s, d, r, nil)
	return &found, nil
}

// linkResults links what was built, quietly.
func (a *app) linkResults(c *cli.Context, name string, results []build.Result) error {
	added, err := a.artifactsOf(results)
	if err != nil {
		return err
	}
	profiles, err := a.profiles(c)
	if err != nil {
		return err
	}
	g, err := profiles.Link(c.Context, name, profile.Edit{Add: added})
	if err == nil {
		a.out.say("profile %s: generation %d at %s", name, g.Number, profiles.Path(name))
	}
	return err
}

func (a *app) profileRemove(c *cli.Context) error {
	name, rest, err := profileArgument(c, 1)
	if err != nil {
		return err
	}
	return a.change(c, name, profile.Edit{Remove: rest})
}

// change makes a generation and prints where it is.
func (a *app) change(c *cli.Context, name string, edit profile.Edit) error {
	profiles, err := a.profiles(c)
	if err != nil {
		return err
	}
	use := store.Use{Purpose: "profile link"}
	for _, added := range edit.Add {
		use.Realizations = append(use.Realizations, added.Realization)
	}
	held, err := a.openStore.Lease(c.Context, use, a.rootsWait(c))
	if err != nil {
		return err
	}
	a.onClose(held.Release)
	g, err := profiles.Link(c.Context, name, edit)
	return a.printGeneration(c, profiles.Path(name), g, err)
}

func (a *app) printGeneration(c *cli.Context, path string, g profile.Generation, err error) error {
	if err != nil {
		return err
	}
	return a.out.show(c.Bool("json"), g, func() {
		a.out.say("generation %d, %d artifacts", g.Number, len(g.Artifacts))
		a.out.line("%s", path)
	})
}

// profileSwitch is rollback, whose number may be left out, or switch with least 1.
func (a *app) profileSwitch(least int) cli.ActionFunc {
	return func(c *cli.Context) error {
		name, rest, err := profileArgument(c, least)
		if err != nil {
			return err
		}
		n, err := generationNumbers(rest, 1)
		if err != nil {
			return err
		}
		profiles, err := a.profiles(c)
		if err != nil {
			return err
		}
		g, err := profiles.Switch(c.Context, name, n[0])
		return a.printGeneration(c, profiles.Path(name), g, err)
	}
}

func (a *app) profileList(c *cli.Context) error {
	profiles, err := a.profilesToRead()
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		list, err := profiles.List()
		if err != nil {
			return err
		}
		return a.out.show(c.Bool("json"), list, func() {
			for _, p := range list {
				a.out.line("%s\tgeneration %d\t%s", p.Name, p.Current, p.Path)
			}
		})
	}
	p, err := profiles.Get(c.Args().First())
	if err != nil {
		return err
	}
	return a.out.show(c.Bool("json"), p, func() {
		for _, g := range p.Generations {
			mark := " "
			if g.Number == p.Current {
				mark = "*"
			}
			a.out.line("%s %d\t%s", mark, g.Number, moment(g.Time))
			for _, artifact := range g.Artifacts {
				a.out.line("    %s", artifactLine(artifact))
			}
		}
	})
}

func artifactLine(a profile.Artifact) string {
	return fmt.Sprintf("%s %s\t%s", a.Name, a.Version, a.Realization)
}

func (a *app) profileDiff(c *cli.Context) error {
	name, rest, err := profileArgument(c, 0)
	if err != nil {
		return err
	}
	numbers, err := generationNumbers(rest, 2)
	if err != nil {
		return err
	}
	profiles, err := a.profilesToRead()
	if err != nil {
		return err
	}
	to, err := profiles.Generation(name, numbers[1])
	if err != nil {
		return err
	}
	from := profile.Generation{}
	if before := numbers[0]; before != 0 || to.Previous != 0 {
		if before == 0 {
			before = to.Previous
		}
		if from, err = profiles.Generation(name, before); err != nil {
			return err
		}
	}
	changes := profile.Diff(from, to)
	return a.out.show(c.Bool("json"), changes, func() {
		a.out.say("from generation %d to %d", changes.From, changes.To)
		for _, removed := range changes.Removed {
			a.out.line("- %s", artifactLine(removed))
		}
		for _, added := range changes.Added {
			a.out.line("+ %s", artifactLine(added))
		}
		for _, changed := range changes.Changed {
			a.out.line("~ %s -> %s", artifactLine(changed.From), artifactLine(changed.To))
		}
	})
}

// profileArgument is the name of the profile, and the arguments after it, of which there are at least some.
func profileArgument(c *cli.Context, least int) (string, []string, error) {
	if c.NArg() < 1+least {
		return "", nil, usagef(c.Command.HelpName+" wants "+c.Command.ArgsUsage, "hdjail profile list shows the profiles")
	}
	return c.Args().First(), c.Args().Tail(), nil
}

// generationNumbers reads up to n numbers of generations; those that are not given are 0.
func generationNumbers(texts []string, n int) ([]int, error) {
	numbers := make([]int, n)
	for i, text := range texts {
		value, err := strconv.Atoi(text)
		if err != nil || value < 1 || i >= n {
			return nil, usagef(quote(text)+" is not the number of a generation here", "hdjail profile list PROFILE shows them")
		}
		numbers[i] = value
	}
	return numbers, nil
}
