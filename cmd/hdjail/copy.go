package main

import (
	"github.com/urfave/cli/v2"

	"hdjail/artifact/pack"
	"hdjail/artifact/store"
)

func copyCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "copy", Usage: "copy results with all that they were built with to another store", ArgsUsage: "ID|PATH|SPEC...",
		UsageText: "hdjail copy mf2x --to /scratch/store --prefix /var/lib/hdjail\nhdjail copy mf2x --from /scratch/store",
		Description: "Does what pack and unpack do, with the same checks, without an archive. What the other store has is left out. Both stores\n" +
			"are used with the prefix of --prefix, or each with its own directory, and then they cannot exchange anything.",
		Flags: append(selectionFlags(), jsonFlag(),
			&cli.StringFlag{Name: "to", Usage: "copy from --store to the store `DIR`"},
			&cli.StringFlag{Name: "from", Usage: "copy from the store `DIR` to --store"}),
		Action: func(c *cli.Context) error {
			to, from := c.String("to"), c.String("from")
			if (to == "") == (from == "") {
				return usagef("hdjail copy wants either --to or --from", "hdjail copy ID --to STORE")
			}
			target, err := a.copyTarget(to, from)
			if err != nil {
				return err
			}
			selection, err := a.selection(c, target.Has)
			if err != nil {
				return err
			}
			result, err := pack.Copy(c.Context, selection, target)
			if err != nil {
				return err
			}
			return a.arrived(target, result, c.Bool("json"))
		},
	}
}

// copyTarget opens the store that gets something. What the app has open, or will open, is the other one.
func (a *app) copyTarget(to, from string) (*store.Store, error) {
	if to != "" {
		return a.storeAt(to, store.Options{Now: a.now})
	}
	target, err := a.store()
	a.openStore, a.storeRoot = nil, from
	return target, err
}
