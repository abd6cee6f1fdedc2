package main

import (
	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/build/lens"
)

func lensCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "lens", Usage: "ask a realization or derivation what a reference of a spec asks", ArgsUsage: "ID|PATH|SPEC EXPR",
		UsageText: "hdjail lens ./result dep.ZLIB.promise:lib/libz.so\nhdjail lens hello.yaml dep.ZLIB.spec.version\nhdjail lens mf2x self.json.share/scores.json:best.value",
		Description: "A realization answers with paths on this host. A derivation, or a spec, answers only what needs no files. dep.NAME\n" +
			"alone is the ID of that dependency. docs/spec.md lists the expressions.",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("hdjail lens wants an ID, path or spec, and an expression", "hdjail lens ./result self.out")
			}
			s, err := a.storeToRead()
			if err != nil {
				return err
			}
			ref, p, err := a.resolve(c.Context, s, c.Args().First())
			if err != nil {
				return err
			}
			q := lens.Question{Store: s, Derivation: ref.Derivation, Realization: ref.Realization}
			if p != nil {
				q.Planned = map[artifact.DerivationID]*artifact.Derivation{}
				for _, step := range p.Steps {
					q.Planned[step.ID] = &step.Derivation
				}
			}
			answer, err := q.Ask(c.Args().Get(1))
			if err != nil {
				return err
			}
			return a.out.show(c.Bool("json"), answer, func() { a.out.line("%s", answer.Value) })
		},
	}
}
