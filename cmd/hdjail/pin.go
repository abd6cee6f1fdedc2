package main

import (
	"cmp"
	"errors"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/gc"
	"hdjail/artifact/store"
)

func pinCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "pin", Usage: "keep a realization, or all of a derivation, from being collected", ArgsUsage: "ID|PATH|SPEC",
		UsageText: "hdjail pin hello.yaml\nhdjail pin --name paper-2026 mf2x\nhdjail unpin paper-2026",
		Description: `The ID of a realization keeps that and the realizations that it was built with. A spec, a path and the ID of a derivation keep all
its realizations, and all of everything below it.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "call the pin `NAME`", DefaultText: "its ID"},
			&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process collects", DefaultText: "never"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail pin wants one ID, path or spec", "hdjail list shows what the store has")
			}
			s, err := a.store()
			if err != nil {
				return err
			}
			ref, err := a.resolveID(c.Context, s, c.Args().First())
			if err != nil {
				return err
			}
			root := store.Root{Kind: store.Pin, Realization: ref.Realization}
			if ref.Realization.IsZero() {
				root.Derivation = ref.Derivation
			}
			if root.Name = cmp.Or(c.String("name"), root.ID()); !store.IsPinName(root.Name) {
				return usagef("--name is "+quote(root.Name), "a name has letters, digits and _ + - . only, and no dot first")
			}
			if err := s.AddRoot(c.Context, root, a.rootsWait(c)); err != nil {
				return err
			}
			a.out.line("%s", root.Name)
			return nil
		},
	}
}

func unpinCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "unpin", Usage: "let go what a pin or a link of \"hdjail build -o\" keeps", ArgsUsage: "NAME|ID|LINK",
		UsageText:   "hdjail unpin paper-2026\nhdjail unpin ./result\nhdjail list --roots",
		Description: "Removes the record in the store. A link itself stays where it is, and may lead nowhere after the next collection.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process collects", DefaultText: "never"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail unpin wants the name of one pin, an ID or the path of a link", "hdjail list --roots shows them")
			}
			s, err := a.store()
			if err != nil {
				return err
			}
			text := c.Args().First()
			named := func(r store.Root) bool { return r.Kind == store.Pin && r.Name == text }
			removed, err := s.RemoveRoots(c.Context, named, a.rootsWait(c))
			if err == nil && len(removed) == 0 {
				removed, err = s.RemoveRoots(c.Context, func(r store.Root) bool {
					return r.At(a.absolute(text)) || r.Kind == store.Pin && r.ID() == text
				}, a.rootsWait(c))
			}
			if err == nil && len(removed) == 0 {
				err = &store.NotFoundError{What: "root", Name: text}
			}
			for _, r := range removed {
				a.out.line("%s", r.Name)
			}
			return err
		},
	}
}

// rooted is a line of `hdjail list --roots`.
type rooted struct {
	store.Root
	// State is "kept", "gone" for a link that is no more, why nobody here can judge it, so that it counts as there, or what
	// is broken about the root.
	State string `json:"state"`
}

// listRoots prints what nothing else has to refer to. Those that cannot be read are an error, after the others.
func (a *app) listRoots(c *cli.Context) error {
	s, err := a.storeToRead()
	if err != nil {
		return err
	}
	roots, err1 := a.profileRoots()
	own, err2 := s.Roots()
	leases, err3 := gc.LeaseRoots(s)
	list := []rooted{}
	for _, r := range append(roots, own...) {
		list = append(list, rooted{r, rootState(s, r)})
	}
	for _, r := range leases { // what they name may come yet
		list = append(list, rooted{r, "kept"})
	}
	shown := a.out.show(c.Bool("json"), list, func() {
		for _, r := range list {
			what := "realization"
			if r.Realization.IsZero() {
				what = "derivation"
			}
			a.out.line("%-7s  %-11s  %s  %s  %s  %s", r.Kind, what, r.ID(), when(r.Time), escape(r.Name), escape(r.State))
		}
	})
	return errors.Join(shown, err1, err2, err3)
}

func rootState(s *store.Store, r store.Root) string {
	state := "kept"
	if r.Kind == store.Link {
		gone, err := s.LinkGone(r)
		switch {
		case err != nil:
			state = "kept, cannot be judged: " + err.Error()
		case gone:
			return "gone"
		}
	}
	if err := s.HasRooted(r); err != nil {
		return "broken: " + err.Error()
	}
	return state
}
