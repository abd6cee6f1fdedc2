package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"hdjail/build"
	"hdjail/build/daemon/client"
	"hdjail/build/daemon/sitelog"
	"hdjail/build/daemon/wire"
)

func jobsCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "jobs", Usage: "list the jobs of the daemon", UsageText: "hdjail jobs\nhdjail jobs --json",
		Description: "They are your own; for root, all. Jobs that have ended are listed for a while.",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			d, err := a.demandDaemon(c)
			if err != nil {
				return err
			}
			list, err := d.Jobs(c.Context)
			if err != nil {
				return err
			}
			if list == nil {
				list = []wire.JobInfo{}
			}
			return a.out.show(c.Bool("json"), list, func() {
				for _, j := range list {
					a.out.line("%s  %-8s %6d  %s  %8s  %s", j.ID, j.State, j.UID, moment(j.Queued), a.jobTime(j), escape(j.Name))
				}
			})
		},
	}
}

// jobTime is how long a job has run.
func (a *app) jobTime(j wire.JobInfo) string {
	switch {
	case j.Started.IsZero():
		return "-"
	case j.Ended.IsZero():
		return seconds(a.now().Sub(j.Started))
	}
	return seconds(j.Ended.Sub(j.Started).Round(time.Millisecond))
}

func attachCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "attach", Usage: "follow a job of the daemon until it ends", ArgsUsage: "JOB", UsageText: "hdjail attach $(hdjail build --detach hello.yaml)",
		Description: "The beginning of a job's name is enough. ^C ends the following, not the job. Paths of results are printed as by `hdjail build`,\n" +
			"but in the daemon's store.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "events", Usage: "write what happens to `FILE|fd:N`, as NDJSON"},
			&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress as `FORM`: auto, tree, plain, quiet or json"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("hdjail attach wants one job", "hdjail jobs lists them")
			}
			d, err := a.demandDaemon(c)
			if err != nil {
				return err
			}
			sink, err := a.eventSink(c, nil)
			if err != nil {
				return err
			}
			paths := map[string]string{}
			done, err := d.Attach(c.Context, c.Args().First(), client.Follower{Job: func(wire.JobInfo) {}, Event: func(e build.Event) {
				if e.Path != "" {
					paths[e.Drv] = e.Path
				}
				sink.Send(e)
			}})
			if err == nil && done.Problem != nil {
				err = &client.Error{Problem: *done.Problem}
			}
			if finished := sink.finish(diagnoseExit(err)); err == nil {
				err = finished
			}
			if done != nil {
				for _, r := range done.Results {
					if path := paths[r.ID.String()]; path != "" {
						a.out.line("%s", path)
					}
				}
			}
			return err
		},
	}
}

// demandDaemon connects to the daemon that there has to be.
func (a *app) demandDaemon(c *cli.Context) (*client.Client, error) {
	d, err := a.dial(c.Context)
	if err == nil && d == nil {
		path, _ := socketPath()
		return nil, usagef("there is no daemon at "+path, "HDJAIL_SOCKET names another place")
	}
	return d, err
}

func siteLogCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "site-log", Usage: "look after the log of who had what built", UsageText: "hdjail site-log verify",
		Subcommands: []*cli.Command{{
			Name: "verify", Usage: "check that no line of the log was changed, removed, moved or cut off", UsageText: "hdjail site-log verify\nhdjail site-log verify --json /var/log/hdjail/site.log",
			ArgsUsage:   "[FILE]",
			Description: "Prints how many lines there are, and the hash of the last one. Who notes that elsewhere can tell later that what it covers is\nstill there: --contains HASH.",
			Flags:       []cli.Flag{jsonFlag(), &cli.StringFlag{Name: "contains", Usage: "demand that a line has the `HASH`"}},
			Action: func(c *cli.Context) error {
				name := c.Args().First()
				if c.NArg() > 1 {
					return usagef("hdjail site-log verify wants one file", "")
				}
				if name == "" {
					name = defaultSiteLog
				}
				found, err := sitelog.Verify(a.absolute(name), c.String("contains"))
				if err != nil {
					return err
				}
				return a.out.show(c.Bool("json"), found, func() { a.out.line("%d %s", found.Entries, found.Last) })
			},
		}},
	}
}
