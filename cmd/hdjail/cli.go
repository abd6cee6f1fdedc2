package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"
)

// run obeys the command line args, whose first word is the program's name.
func (a *app) run(ctx context.Context, args []string) error {
	return a.cli().RunContext(ctx, args)
}

func (a *app) cli() *cli.App {
	return &cli.App{
		Name:            "hdjail",
		Usage:           "build hashed specs in jails",
		Version:         version,
		Writer:          a.out.data,
		ErrWriter:       io.Discard,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "store", EnvVars: []string{"HDJAIL_STORE"}, Usage: "keep everything below `DIR`", Destination: &a.storeRoot},
		},
		Commands: []*cli.Command{runCommand(a), shellCommand(a), doctorCommand(a)},
	}
}
