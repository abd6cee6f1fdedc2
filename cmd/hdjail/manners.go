package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"hdjail/build"
	"hdjail/build/manners"
)

// share gives builds their part of the machine, and says what bounds it. --jobs overrides the number, not the priority.
func (a *app) share(c *cli.Context, b *build.Builder) error {
	s := manners.Look(os.DirFS("/"), os.Getenv, a.processors).Share()
	if s.Niced {
		if err := manners.StandBack(); err != nil {
			return fmt.Errorf("lower the priority of builds: %w", err)
		}
	}
	if c.IsSet("jobs") {
		return nil
	}
	b.CPUs = s.Processors
	if s.Why != "" {
		a.out.say("hdjail: builds use %d processors of %d%s, because %s; --jobs N overrides that", s.Processors, a.processors, map[bool]string{true: ", at low priority"}[s.Niced], s.Why)
	}
	return nil
}
