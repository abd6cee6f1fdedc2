package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

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

// manPage is the manual page of a verb in roff, or of the program. cli has a writer of its own, which is left out by a
// build tag: it brings a Markdown parser along that takes 0.5 ms of every start, also of that in each jail.
func (a *app) manPage(verb string) (string, error) {
	program := a.cli()
	page := &roff{}
	if verb == "" {
		page.title("hdjail", program.Usage)
		page.section("SYNOPSIS", "hdjail [options] VERB [options] [arguments]")
		page.section("EXAMPLES", indented(program.UsageText))
		page.flags("OPTIONS", program.Flags)
		page.macro(".SH VERBS")
		for _, c := range program.Commands {
			page.item("hdjail-"+c.Name+"(1)", c.Usage)
		}
		return page.text.String(), nil
	}
	command := program.Command(verb)
	if command == nil {
		return "", usagef("unknown verb "+quote(verb), meant(verb, names(program.Commands), "hdjail --help lists the verbs"))
	}
	page.title("hdjail-"+verb, command.Usage)
	page.section("SYNOPSIS", strings.TrimSpace("hdjail "+verb+" [options] "+command.ArgsUsage))
	page.section("DESCRIPTION", command.Description)
	page.section("EXAMPLES", indented(command.UsageText))
	page.flags("OPTIONS", command.Flags)
	for _, c := range command.Subcommands {
		page.section("hdjail "+verb+" "+c.Name+" "+c.ArgsUsage, c.Usage+"\n\n"+c.Description+"\n\n"+indented(c.UsageText))
		page.flags("", c.Flags)
	}
	return page.text.String(), nil
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

// indented marks every line of an example as one.
func indented(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// roff writes a manual page with the macros of man(7).
type roff struct{ text strings.Builder }

func (r *roff) macro(line string) { r.text.WriteString(line + "\n") }

// line writes text that roff shall not take for anything else.
func (r *roff) line(text string) {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	r.macro(text)
}

func (r *roff) title(name, usage string) {
	r.macro(".TH " + name + " 1")
	r.macro(".SH NAME")
	r.line(name + " - " + usage)
}

// section writes a heading and paragraphs below it, nothing without a text. Indented lines are examples, shown as they are.
func (r *roff) section(heading, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	r.macro(`.SH "` + strings.TrimSpace(heading) + `"`)
	example := false
	for _, line := range strings.Split(strings.Trim(text, "\n"), "\n") {
		if now := strings.HasPrefix(line, "  "); now != example {
			example = now
			r.macro(map[bool]string{true: ".EX", false: ".EE"}[now])
		}
		if strings.TrimSpace(line) == "" {
			r.macro(".PP")
			continue
		}
		r.line(line)
	}
	if example {
		r.macro(".EE")
	}
}

func (r *roff) flags(heading string, flags []cli.Flag) {
	if len(flags) > 0 && heading != "" {
		r.macro(".SH " + heading)
	}
	for _, f := range flags {
		name, usage, _ := strings.Cut(f.String(), "\t")
		r.item(name, usage)
	}
}

func (r *roff) item(name, text string) {
	r.macro(".TP")
	r.line(name)
	r.line(strings.TrimSpace(text))
}
