package main

import "github.com/urfave/cli/v2"

func shellCommand(*app) *cli.Command { return &cli.Command{Name: "shell"} }
