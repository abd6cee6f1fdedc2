package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

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
		Name: "schema", Usage: "print a JSON Schema, for editors", ArgsUsage: "spec", UsageText: "hdjail schema spec > spec.schema.json",
		Action: func(c *cli.Context) error {
			if c.Args().First() != "spec" || c.NArg() > 1 {
				return usagef("hdjail schema wants the name of a schema", "there is spec")
			}
			_, err := a.out.data.Write(spec.Schema())
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

func manCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print a manual page", ArgsUsage: "[VERB]", UsageText: "hdjail man build | man -l -\nhdjail man --dir share/man/man1",
		Flags: []cli.Flag{&cli.StringFlag{Name: "dir", Usage: "write the pages of all verbs into `DIR`"}},
		Action: func(c *cli.Context) error {
			if dir := c.String("dir"); dir != "" {
				return a.manPages(dir)
			}
			page, err := a.manPage(c.Args().First())
			if err != nil {
				return err
			}
			a.out.line("%s", page)
			return nil
		},
	}
}

// manPage is the manual page of a verb in roff, or of the program.
func (a *app) manPage(verb string) (string, error) {
	program := a.cli()
	if verb != "" {
		command := program.Command(verb)
		if command == nil {
			return "", usagef("unknown verb "+quote(verb), meant(verb, names(program.Commands), "hdjail --help lists the verbs"))
		}
		program.Name, program.Usage, program.UsageText = "hdjail-"+verb, command.Usage, command.UsageText
		program.Description, program.Flags, program.Commands = command.Description, command.Flags, command.Subcommands
	}
	program.Description = strings.TrimSpace(program.Description + "\n\nExamples:\n\n    " + strings.ReplaceAll(program.UsageText, "\n", "\n    "))
	program.UsageText = ""
	return program.ToManWithSection(1)
}

func (a *app) manPages(dir string) error {
	dir = a.absolute(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, verb := range append(names(a.cli().Commands), "") {
		page, err := a.manPage(verb)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix("hdjail-"+verb, "-") + ".1"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644); err != nil {
			return fmt.Errorf("write manual: %w", err)
		}
	}
	return nil
}

// jsonFlag is the flag of every verb that reads.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}
