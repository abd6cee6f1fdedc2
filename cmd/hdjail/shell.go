package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"hdjail/build"
	"hdjail/build/plan"
	"hdjail/policies"
)

func shellCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "shell", Usage: "enter the jail of a build", ArgsUsage: "SPEC|ID [-- COMMAND [ARG...]]", Category: "jails",
		Description: `   hdjail shell hello.yaml       # its sources are unpacked, its dependencies built
   hdjail shell --failed         # the build that failed last
   hdjail shell hello.yaml -- make check

The jail is that of the build: the same files, environment and limits of memory and processes. The script is
/.hdjail/script. --failed shows what the build left if it was kept (build --keep-failed); else sources are unpacked anew,
and what is made there is removed in the end. Nothing is registered.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "failed", Usage: "enter the jail of the build that failed last"},
			matchFlag(),
			&cli.BoolFlag{Name: "offline", Usage: "fetch nothing", Destination: &a.offline},
		},
		Action: func(c *cli.Context) error {
			args, kept := c.Args().Slice(), ""
			if c.Bool("failed") {
				s, err := a.store()
				if err != nil {
					return err
				}
				record, err := s.LastRecord(true)
				if err != nil {
					return err
				}
				args, kept = append([]string{record.Derivation.String()}, args...), record.Kept
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			return a.shell(c, args[0], args[1:], kept)
		},
	}
}

func (a *app) shell(c *cli.Context, target string, command []string, kept string) error {
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	runner, err := a.runner(policies.ModeHide) // may start this program over
	if err != nil {
		return err
	}
	b, err := a.builder()
	if err != nil {
		return err
	}
	b.Runner = runner
	matches, err := a.parseMatches(c.StringSlice("match"))
	if err != nil {
		return err
	}
	p, err := a.plan(c.Context, request{targets: []string{target}, matches: matches})
	if err != nil {
		return err
	}
	a.warnPlan(p)
	visit := build.Shell{Term: os.Getenv("TERM"), Kept: kept}
	if len(command) > 0 {
		visit.Command = command
	}
	s, err := a.streams()
	if err != nil {
		return err
	}
	visit.Stdin, visit.Stdout, visit.Stderr, visit.Terminal = s.in, s.out, s.err, s.terminal
	if len(command) == 0 {
		a.describe(p.Targets[0])
	}
	result, err := b.Shell(c.Context, p, p.Targets[0], visit)
	if err != nil {
		return err
	}
	return exitStatus(result.Exit)
}

func (a *app) describe(step *plan.Step) {
	a.out.say("shell in the jail of %s (%s)", step.Name(), step.ID)
	a.out.say("the script is /.hdjail/script; leave with exit")
}
