package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/build/lockfile"
	"hdjail/build/spec"
)

func versionCommand(a *app) *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version", UsageText: "hdjail version", Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			return a.out.show(c.Bool("json"), map[string]string{"version": version}, func() { a.out.line("hdjail %s", version) })
		}}
}

func schemaCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "schema", Usage: "print a JSON Schema, for editors", ArgsUsage: "spec|lock", UsageText: "hdjail schema spec > spec.schema.json\nhdjail schema lock",
		Action: func(c *cli.Context) error {
			text, known := map[string][]byte{"spec": spec.Schema(), "lock": lockfile.Schema()}[c.Args().First()]
			if !known || c.NArg() > 1 {
				return usagef("hdjail schema wants the name of a schema", "there are spec and lock")
			}
			_, err := a.out.data.Write(text)
			return err
		},
	}
}

func codeNames() []string { return slices.Sorted(maps.Keys(codes)) }

func explainCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "tell more of an error code", ArgsUsage: "[CODE]", UsageText: "hdjail explain HJ0030\nhdjail explain",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return a.explainAll(c.Bool("json"))
			}
			name := strings.ToUpper(c.Args().First())
			found, ok := codes[name]
			if !ok {
				return usagef("there is no code "+quote(c.Args().First()), meant(name, codeNames(), "hdjail explain lists all"))
			}
			return a.out.show(c.Bool("json"), explained(name), func() {
				a.out.line("%s: %s (exit status %d)\n%s", name, found.title, found.exit, found.text)
			})
		},
	}
}

func explained(name string) map[string]any {
	c := codes[name]
	return map[string]any{"code": name, "exit": c.exit, "title": c.title, "text": strings.TrimSpace(c.text)}
}

func (a *app) explainAll(asJSON bool) error {
	var list []map[string]any
	for _, name := range codeNames() {
		list = append(list, explained(name))
	}
	return a.out.show(asJSON, list, func() {
		for _, e := range list {
			a.out.line("%s  %3d  %s", e["code"], e["exit"], e["title"])
		}
	})
}

// jsonFlag is the flag of every verb that reads.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}
