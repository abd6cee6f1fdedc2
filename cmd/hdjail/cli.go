package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/urfave/cli/v2"
)

// run obeys the command line args, whose first word is the program's name.
func (a *app) run(ctx context.Context, args []string) error {
	program := a.cli()
	if len(args) > 1 && args[1] == completeVerb {
		return a.complete(program, args[2:])
	}
	if len(args) > 1 && args[1] == checkVerb {
		return a.checkRun(ctx)
	}
	args, err := arrange(program, args)
	if err != nil {
		return err
	}
	return program.RunContext(ctx, args)
}

// helpTemplate begins with examples, because that is what people look for.
const helpTemplate = `{{.HelpName}}: {{.Usage}}

Examples:
{{if .UsageText}}{{indent 2 .UsageText}}{{else}}{{.Description}}{{end}}

Usage:
  {{.HelpName}}{{if .VisibleFlags}} [options]{{end}}{{if .Subcommands}}{{if .ArgsUsage}} [VERB]{{else}} VERB{{end}}{{end}} {{.ArgsUsage}}
{{if and .UsageText .Description}}
{{.Description}}
{{end}}{{if .Subcommands}}
Verbs:
{{range .Subcommands}}  {{.Name}}	{{.Usage}}
{{end}}{{end}}{{if .VisibleFlags}}
Options:
{{range .VisibleFlags}}  {{.}}
{{end}}{{end}}`

const rootTemplate = `hdjail: {{.Usage}}

Examples:
{{indent 2 .UsageText}}

Verbs:
{{range .VisibleCommands}}  {{.Name}}	{{.Usage}}
{{end}}
Options, before or after the verb:
{{range .VisibleFlags}}  {{.}}
{{end}}
"hdjail VERB --help" tells more of a verb.
`

func (a *app) cli() *cli.App {
	program := &cli.App{
		Name:            "hdjail",
		Usage:           "build hashed specs in jails, on record, and link what comes out into profiles",
		UsageText:       "hdjail build hello.yaml\nhdjail run --host gcc,make --rw . -- make\nhdjail profile link tools hello.yaml\nhdjail doctor",
		Version:         version,
		HideVersion:     true,
		Writer:          a.out.data,
		ErrWriter:       io.Discard,
		HideHelpCommand: true,
		// Matchers, paths and values of variables have commas of their own; flags that take lists split them themselves.
		DisableSliceFlagSeparator: true,
		CustomAppHelpTemplate:     rootTemplate,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              usageFault,
		Before:                    func(c *cli.Context) error { return a.out.setColor(c.String("color")) },
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "store", EnvVars: []string{"HDJAIL_STORE"}, Usage: "keep everything below `DIR`", Destination: &a.storeRoot},
			&cli.StringFlag{Name: "prefix", EnvVars: []string{"HDJAIL_PREFIX"}, Usage: "begin the paths that artifacts know with `DIR`", DefaultText: "the store's directory", Destination: &a.prefix},
			&cli.StringFlag{Name: "color", Value: "auto", Usage: "colour messages; `WHEN` is auto, always or never"},
		},
		Commands: a.commands(),
	}
	eachCommand(program.Commands, func(c *cli.Command) {
		c.OnUsageError, c.CustomHelpTemplate, c.HideHelpCommand = usageFault, helpTemplate, true
		if c.ArgsUsage == "" && len(c.Subcommands) == 0 {
			c.Before = noArguments
		}
		for _, f := range c.Flags {
			if f, ok := f.(*cli.BoolFlag); ok {
				f.DisableDefaultText = true
			}
		}
	})
	return program
}

// commands are the verbs in the order of the help.
func (a *app) commands() []*cli.Command {
	return []*cli.Command{
		buildCommand(a),
		checkCommand(a),
		hashCommand(a),
		fetchCommand(a),
		runCommand(a),
		learnCommand(a),
		shellCommand(a),
		profileCommand(a),
		useCommand(a),
		packCommand(a),
		unpackCommand(a),
		copyCommand(a),
		listCommand(a),
		showCommand(a),
		lensCommand(a),
		diffCommand(a),
		whyCommand(a),
		whyRebuildCommand(a),
		graphCommand(a),
		lockCommand(a),
		logCommand(a),
		auditCommand(a),
		whoReadCommand(a),
		staleCommand(a),
		unusedCommand(a),
		gcCommand(a),
		verifyCommand(a),
		duCommand(a),
		pinCommand(a),
		unpinCommand(a),
		sourceCommand(a),
		hostCommand(a),
		serveCommand(a),
		jobsCommand(a),
		attachCommand(a),
		siteLogCommand(a),
		doctorCommand(a),
		explainCommand(a),
		schemaCommand(a),
		completionCommand(a),
		manCommand(a),
		versionCommand(a),
	}
}

func eachCommand(commands []*cli.Command, visit func(*cli.Command)) {
	for _, c := range commands {
		visit(c)
		eachCommand(c.Subcommands, visit)
	}
}

// noArguments is the check of verbs that take none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("superfluous argument "+quote(c.Args().First()), c.Command.HelpName+" --help")
	}
	return nil
}

func usageFault(_ *cli.Context, err error, _ bool) error {
	return usagef(err.Error(), "")
}

// arrange puts flags before arguments, as urfave/cli wants them, and checks verbs and flags, so that it can say what was
// meant. What follows "--", and the arguments of a verb that passes them on, stay as they are.
func arrange(program *cli.App, args []string) ([]string, error) {
	l := &commandLine{program: program, commands: program.Commands, words: args[:1]}
	for rest := args[1:]; len(rest) > 0; {
		used, err := l.take(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[used:]
	}
	if l.command != nil && len(l.command.Subcommands) > 0 && l.command.Action == nil && !slices.Contains(l.flags, "--help") && !slices.Contains(l.flags, "-h") {
		return nil, usagef("hdjail "+l.command.Name+" wants a verb", "there are "+strings.Join(names(l.commands), ", "))
	}
	words := slices.Concat(l.words[:1], l.globals, l.words[1:], l.flags)
	if len(l.arguments) > 0 {
		words = append(append(words, "--"), l.arguments...)
	}
	return words, nil
}

// commandLine is a command line that is being sorted.
type commandLine struct {
	program  *cli.App
	commands []*cli.Command // the verbs that may come next
	command  *cli.Command   // the last verb, nil before the first
	// words are the program and the verbs.
	words, globals, flags, arguments []string
}

// take sorts the first of the words, and returns how many it has used.
func (l *commandLine) take(words []string) (int, error) {
	word := words[0]
	switch {
	case word == "--":
		if l.command != nil && l.command.Name == "learn" { // what follows is no audit
			l.flags = append(l.flags, "--command")
		}
		l.arguments = append(l.arguments, words[1:]...)
		return len(words), nil
	case len(word) > 1 && word[0] == '-':
		return l.flag(words)
	case len(l.commands) > 0:
		for _, c := range l.commands {
			if c.HasName(word) {
				l.command, l.commands, l.words = c, c.Subcommands, append(slices.Clone(l.words), word)
				return 1, nil
			}
		}
		if l.command != nil && l.command.Action != nil { // it takes arguments as well as verbs
			l.commands = nil
			break
		}
		return 0, usagef("unknown verb "+quote(word), meant(word, names(l.commands), "hdjail --help lists the verbs"))
	case passesOn(l.command):
		l.arguments = append(l.arguments, words...)
		return len(words), nil
	}
	l.arguments = append(l.arguments, word)
	return 1, nil
}

// passesOn reports whether a verb's arguments are another command line.
func passesOn(c *cli.Command) bool { return c != nil && (c.Name == "run" || c.Name == "shell") }

// flag sorts a flag with its value.
func (l *commandLine) flag(words []string) (int, error) {
	name, _, joined := strings.Cut(strings.TrimLeft(words[0], "-"), "=")
	target, known := &l.globals, l.program.Flags
	if l.command != nil {
		target, known = &l.flags, l.command.Flags
	}
	flag := findFlag(known, name)
	if flag == nil && l.command != nil {
		if flag = findFlag(l.program.Flags, name); flag != nil {
			target = &l.globals
		}
	}
	takes, isFlag := flag.(cli.DocGenerationFlag)
	alone := isFlag && !takes.TakesValue()
	switch {
	case name == "help" || name == "h":
		*target = append(*target, "--help")
		return 1, nil
	case name == "version" && l.command == nil:
		return l.take([]string{"version"})
	case flag == nil && len(name) > 1 && words[0][1] != '-' && findFlag(known, name[:1]) != nil: // -j4
		*target = append(*target, "-"+name[:1], words[0][2:])
		return 1, nil
	case flag == nil:
		return 0, usagef("unknown flag "+quote(words[0]), meant("--"+name, flagNames(slices.Concat(known, l.program.Flags)), "--help lists the flags"))
	case alone || joined:
		*target = append(*target, words[0])
		return 1, nil
	case len(words) == 1:
		return 0, usagef("flag "+words[0]+" wants a value", "")
	}
	*target = append(*target, words[0], words[1])
	return 2, nil
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func names(commands []*cli.Command) (list []string) {
	for _, c := range commands {
		list = append(list, c.Name)
	}
	return list
}

func flagNames(flags []cli.Flag) (list []string) {
	for _, f := range flags {
		list = append(list, "--"+f.Names()[0])
	}
	return list
}

// meant is a help line that names the nearest of the candidates, or the alternative when none is near.
func meant(word string, candidates []string, otherwise string) string {
	best, least := "", 1+len(word)/3
	for _, c := range candidates {
		if d := levenshtein.Distance(word, c, nil); d <= least {
			best, least = c, d-1
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + best + "?"
}
