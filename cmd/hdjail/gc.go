package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/gc"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/build/spec"
	"hdjail/profile"
)

func gcCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "gc", Usage: "remove from the store what nothing refers to",
		UsageText: "hdjail gc --dry-run\nhdjail gc --older-than 30d\nhdjail gc --max-size 200GiB",
		Description: `What stays: all generations of profiles, pins (hdjail pin), the results that links made by "hdjail build -o" lead to, what running
builds and shells use, and the exact realizations that all these were built with. A pinned derivation stays with all its
realizations. "hdjail list --roots" shows why.

Sources, snapshots of host packages and records of builds follow the last derivation that names them. Snapshots stay while
anything runs. A source that no derivation in the store names was fetched ahead of a build, or added by hand: it stays, unless
--sources is given. Directories of failed builds that were kept stay.

With --max-size, what was not used for the longest time goes first, until the content of the store is not larger. Sizes are
those of the content of files.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "remove nothing; print what would go"},
			&cli.StringFlag{Name: "max-size", Usage: "stop when the store has no more than `SIZE`, like 200GiB"},
			&cli.StringFlag{Name: "older-than", Usage: "keep what was used since `TIME`: 2026-01-31, 2026-01-31T12:00:00Z, or as long ago as 36h or 7d"},
			&cli.BoolFlag{Name: "sources", Usage: "remove sources, too, that no derivation in the store names"},
			&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process collects", DefaultText: "never"},
			jsonFlag(),
		},
		Action: a.gc,
	}
}

// collected is what `hdjail gc --json` prints.
type collected struct {
	DryRun bool      `json:"dry_run"`
	Bytes  int64     `json:"bytes"`
	Steps  []gc.Step `json:"steps"`
}

func (a *app) gc(c *cli.Context) error {
	o := gc.Options{MaxBytes: -1, Sources: c.Bool("sources")}
	var err error
	if o.Since, err = sinceTime(c, "older-than", a.now()); err != nil {
		return err
	}
	if text := c.String("max-size"); text != "" {
		size, ok := spec.ParseSize(text)
		if !ok {
			return usagef("--max-size is "+quote(text), "write 500MiB or 200GiB")
		}
		o.MaxBytes = int64(size)
	}
	open := a.store
	if c.Bool("dry-run") {
		open = a.storeToRead
	}
	s, err := open()
	if err != nil {
		return err
	}
	var plan *gc.Plan
	if c.Bool("dry-run") {
		plan, err = gc.Preview(c.Context, s, o, a.profileRoots)
	} else {
		if _, err := s.Sweep(c.Context); err != nil {
			a.out.warn("%v", err)
		}
		plan, err = gc.Collect(c.Context, s, o, a.profileRoots, a.rootsWait(c))
	}
	if plan == nil {
		return err
	}
	if o.MaxBytes >= 0 && plan.Left > o.MaxBytes {
		a.out.warn("--max-size %s is not reached: %s are kept; hdjail list --roots shows why", size(o.MaxBytes), size(plan.Left))
	}
	if printed := a.printPlan(c, plan); err == nil {
		err = printed
	}
	return err
}

func (a *app) printPlan(c *cli.Context, plan *gc.Plan) error {
	dry := c.Bool("dry-run")
	if c.Bool("json") {
		return a.out.json(collected{dry, plan.Freed, append([]gc.Step{}, plan.Steps...)})
	}
	a.out.lines(func(yield func(string) bool) {
		for _, s := range plan.Steps {
			if !yield(escape(fmt.Sprintf("%9s  %-12s  %s  %s %s", size(s.Bytes), s.Kind, s.ID, s.Name, s.Version))) {
				return
			}
		}
	})
	done := "freed"
	if dry {
		done = "would free"
	}
	a.out.say("%s %s, %d objects", done, size(plan.Freed), len(plan.Steps))
	return nil
}

// profileRoots are what the profiles of the open store keep.
func (a *app) profileRoots() ([]store.Root, error) {
	profiles := profile.Profiles{Dir: a.openStore.ProfilesDir()}
	return profiles.Roots()
}

// rootsWait is how long to wait for a process that changes what the store keeps.
func (a *app) rootsWait(c *cli.Context) lease.Options {
	return lease.Options{Timeout: c.Duration("lock-timeout"), Waiting: func(i lease.Info) {
		a.out.say("waiting for %s", i.Holder)
	}}
}

// when is a moment, or nothing for none.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return moment(t)
}
