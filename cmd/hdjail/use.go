package main

import (
	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/profile/public"
)

func useCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "use", Usage: "make a realization the one that its public path leads to", ArgsUsage: "ID|PATH",
		UsageText: "hdjail show train.yaml\nhdjail use k3vq",
		Description: "A derivation that has several realizations has one public path, which is what programs that were built with it look up.\n" +
			"At first it leads to the one that was registered first. It is not moved while the current generation of a profile was\n" +
			"built with the one that it leads to. Prints the public path.",
		Flags: []cli.Flag{jsonFlag(), &cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process changes a profile", DefaultText: "never"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail use wants the ID of one realization", "hdjail show SPEC lists those of a build")
			}
			s, err := a.store()
			if err != nil {
				return err
			}
			text := c.Args().First()
			ref, err := s.ResolveID(storeName(s, a.absolute(text), text))
			if err != nil {
				return err
			}
			if ref.Realization.IsZero() {
				return usagef(quote(text)+" is a derivation, and hdjail use wants a realization", "hdjail show "+text+" lists its realizations")
			}
			profiles, err := a.profiles(c)
			if err != nil {
				return err
			}
			if err := (public.Paths{Store: s, Profiles: profiles}).Use(c.Context, ref.Realization); err != nil {
				return err
			}
			d, err := s.Derivation(ref.Derivation)
			if err != nil {
				return err
			}
			type used struct {
				Derivation  artifact.DerivationID  `json:"derivation"`
				Realization artifact.RealizationID `json:"realization"`
				Path        string                 `json:"path"`
			}
			u := used{ref.Derivation, ref.Realization, s.PublicPath(d)}
			return a.out.show(c.Bool("json"), u, func() { a.out.line("%s", u.Path) })
		},
	}
}
