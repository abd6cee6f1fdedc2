package main

import "github.com/urfave/cli/v2"

func doctorCommand(*app) *cli.Command { return &cli.Command{Name: "doctor"} }
