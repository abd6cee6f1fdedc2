package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/build/jailplan"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

// Exit statuses of `run` that are not the command's own, as of env(1).
const (
	exitRunFailed     = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// runOptions are the flags of `hdjail run`.
type runOptions struct {
	host, writable, readable, env []string
	mode                          string
	hideHome                      bool
	// audit is where the record goes; "-" is standard output, empty is nowhere.
	audit  string
	strict bool
	// quiet says nothing of the record at the end.
	quiet bool
	// keep, when not nil, gets what writes the record as a document, when the command has ended.
	keep func(write func(io.Writer) error) error
}

func runCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run any command in a jail", ArgsUsage: "-- COMMAND [ARG...]", Category: "jails",
		Description: `   hdjail run --rw . -- ./build.sh                      # the host is visible, but read-only
   hdjail run --host gcc,libc6-dev,make,dash --rw . -- make   # only these packages exist

With --host the mode is hide: only the packages, with what they depend on, and the --ro and --rw directories exist.
Without it the mode is log: the host is there, read-only. The exit status is the command's own; 125 if the jail could
not be made, 126 if the command is not executable, 127 if it was not found.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "host", Usage: "show only these `PACKAGES`, separated by commas, and what they depend on"},
			&cli.StringFlag{Name: "mode", Usage: "`MODE` off, log, hide or fail"},
			&cli.StringSliceFlag{Name: "rw", KeepSpace: true, Usage: "show a `DIR` of the host, writable (repeatable)"},
			&cli.StringSliceFlag{Name: "ro", KeepSpace: true, Usage: "show a `DIR` of the host, read-only (repeatable)"},
			&cli.StringSliceFlag{Name: "env", KeepSpace: true, Usage: "pass `NAME` on, or set NAME=VALUE (repeatable)"},
			&cli.StringFlag{Name: "audit", Usage: "write the record of all accesses to `FILE`, as JSON"},
			allowDegradedFlag(),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing of the record at the end"},
			&cli.BoolFlag{Name: "strict", Usage: "fail (125) if the record is incomplete"},
			&cli.StringFlag{Name: "home", Usage: "`WHETHER` mode log shows the home directory: show or hide", Value: "show"},
		},
		Action: func(c *cli.Context) error {
			o := runOptions{host: c.StringSlice("host"), writable: c.StringSlice("rw"), readable: c.StringSlice("ro"),
				env: c.StringSlice("env"), mode: c.String("mode"), hideHome: c.String("home") == "hide",
				audit: c.String("audit"), strict: c.Bool("strict"), quiet: c.Bool("quiet")}
			if home := c.String("home"); home != "hide" && home != "show" {
				return usagef(fmt.Sprintf("--home is %q", home), "write --home=hide or --home=show")
			}
			if err := a.allowDegraded(c.StringSlice("allow-degraded")); err != nil {
				return err
			}
			status, err := a.runInJail(c.Context, o, c.Args().Slice())
			if err != nil {
				return &runError{err: err, status: status}
			}
			return exitStatus(status)
		},
	}
}

// runError is what kept `hdjail run` from running its command, or from telling how it ended.
type runError struct {
	err    error
	status int
}

func (e *runError) Error() string { return e.err.Error() }

func (e *runError) Unwrap() error { return e.err }

// runInJail runs the command and returns its exit status, or the one that stands for err.
func (a *app) runInJail(ctx context.Context, o runOptions, args []string) (int, error) {
	mode, err := o.chooseMode(args)
	if err != nil {
		return exitUsage, err
	}
	runner, err := a.runner(mode)
	if err != nil {
		return exitRunFailed, err
	}
	store, err := a.store()
	if err != nil {
		return exitRunFailed, err
	}
	temp, err := store.NewTemp()
	if err != nil {
		return exitRunFailed, err
	}
	scratch, err := runner.Scratch(ctx, temp.Dir)
	if err != nil {
		return exitRunFailed, errors.Join(err, temp.Close())
	}
	a.onClose(scratch.Close)
	a.onClose(temp.Close) // first, as long as nobody else can have the scratch's uid
	view, err := a.runView(ctx, o, mode, scratch)
	if err != nil {
		return exitRunFailed, err
	}
	streams, err := a.streams()
	if err != nil {
		return exitUsage, err
	}
	config, err := jailplan.Run{View: view, Args: args, Environ: a.environ, Set: a.setVariables(o.env, mode, streams.terminal),
		Dir: a.dir, Terminal: streams.terminal}.Config()
	if err == nil {
		err = build.PrepareScratch(config)
	}
	if err != nil {
		return exitRunFailed, err
	}
	config.Stdin, config.Stdout, config.Stderr = streams.in, streams.out, streams.err
	record, err := a.recordRun(ctx, &config, view, o, args)
	if err != nil {
		return exitRunFailed, err
	}
	a.onClose(record.Release)
	result, err := runner.Run(ctx, config)
	if err != nil {
		return startStatus(err), err
	}
	return a.finishRun(o, record, mode, result)
}

// startStatus is the exit status of a command that could not be started.
func startStatus(err error) int {
	var command *jail.CommandError
	switch {
	case !errors.As(err, &command):
		return exitRunFailed
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitNotExecutable
}

func (o runOptions) chooseMode(args []string) (policies.Mode, error) {
	if len(args) == 0 {
		return "", usagef("there is no command to run", "write it last: hdjail run -- COMMAND")
	}
	mode := policies.ModeLog
	if len(o.host) > 0 {
		mode = policies.ModeHide
	}
	if o.mode != "" {
		var err error
		if mode, err = policies.ParseMode(o.mode); err != nil {
			return "", usagef(err.Error(), "see hdjail run --help")
		}
	}
	switch {
	case mode == policies.ModeOff && (o.audit != "" || o.strict):
		return "", usagef("mode off has no record", "leave out --audit and --strict, or --mode")
	case mode.Contains() && len(o.host) == 0:
		return "", usagef(fmt.Sprintf("mode %s needs a whitelist", mode), "name packages: --host PKG,…")
	case !mode.Contains() && len(o.host) > 0:
		return "", usagef(fmt.Sprintf("mode %s shows the whole host, so --host has no effect", mode), "leave out --host or --mode")
	}
	return mode, nil
}

// runView is what the command sees.
func (a *app) runView(ctx context.Context, o runOptions, mode policies.Mode, scratch *jail.Scratch) (v jailplan.View, err error) {
	v = jailplan.View{Name: "run", Mode: mode, Scratch: scratch, Home: a.home, HideHome: o.hideHome}
	if v.Policy, err = policies.Shipped("default"); err != nil {
		return v, err
	}
	if v.Paths, err = a.runPaths(o); err != nil {
		return v, err
	}
	if v.Shown, err = a.shownStore(o, mode, v.Paths); err != nil {
		return v, err
	}
	if !mode.Contains() {
		for _, p := range v.Paths {
			v.HostTmp = v.HostTmp || p.Path == "/tmp"
		}
		v.Secrets = build.Secrets(v.Policy, a.home)
		v.Tree, err = build.HostTree()
		return v, err
	}
	host, err := a.hostPackages()
	if err != nil {
		return v, err
	}
	pins, err := host.Pin(ctx, splitCommas(o.host))
	if err != nil {
		return v, err
	}
	held, err := a.openStore.Lease(ctx, store.Use{Purpose: "run"}, lease.Options{})
	if err != nil {
		return v, err
	}
	a.onClose(held.Release)
	var prefixes []string
	if v.Shown != nil {
		prefixes = append(prefixes, v.Shown.Prefix+"/store", v.Shown.Prefix+"/realizations")
	}
	v.Tree, err = host.Compose(ctx, pins, jailplan.Mountpoints(prefixes, v.Paths))
	return v, err
}

// shownStore is the store if its artifacts have to be shown at another place than their own: when --ro names the prefix, and
// in mode log, where they would be visible at their own, if the host has a place for them.
func (a *app) shownStore(o runOptions, mode policies.Mode, paths []jailplan.Path) (*jailplan.Shown, error) {
	s := a.openStore
	wanted := slices.ContainsFunc(o.readable, a.isPrefix)
	place := hasPlace(s.Prefix(), mode, paths)
	switch {
	case s.Prefix() == s.Root() || !wanted && (mode.Contains() || !place):
		return nil, nil
	case !place:
		return nil, usagef("the host has no directory "+quote(s.Prefix()+"/store")+" to show the store at",
			"make it and "+s.Prefix()+"/realizations, or show only what is needed: --host PKG,…")
	}
	return &jailplan.Shown{Root: s.Root(), Prefix: s.Prefix()}, nil
}

// hasPlace reports whether a jail can have a store at the prefix: its directories are on the host, or what is above them is
// the jail's own.
func hasPlace(prefix string, mode policies.Mode, paths []jailplan.Path) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(prefix, "/"), "/")
	_, err := os.Lstat("/" + top)
	own := mode.Contains() || top == "tmp" || errors.Is(err, fs.ErrNotExist)
	hosts := func(p jailplan.Path) bool { return p.Path == prefix || mounts.Below(p.Path, prefix) }
	return own && !slices.ContainsFunc(paths, hosts) || isDirectory(prefix+"/store") && isDirectory(prefix+"/realizations")
}

// isPrefix reports whether a path is the prefix of a store at another place.
func (a *app) isPrefix(name string) bool {
	return a.openStore.Prefix() != a.openStore.Root() && a.absolute(name) == a.openStore.Prefix()
}

// runPaths are the --ro and --rw directories, links on the way to them resolved.
func (a *app) runPaths(o runOptions) (list []jailplan.Path, err error) {
	for i, names := range [][]string{o.readable, o.writable} {
		for _, name := range names {
			if i == 0 && a.isPrefix(name) {
				continue // see shownStore
			}
			path, err := filepath.EvalSymlinks(a.absolute(name))
			if err != nil {
				return nil, fmt.Errorf("show %q: %w", name, err)
			}
			info, err := os.Stat(path)
			if err != nil {
				return nil, fmt.Errorf("show %q: %w", name, err)
			}
			if path == "/" {
				return nil, usagef("the whole host cannot be shown as one directory", "use --mode log, or name directories below /")
			}
			list = append(list, jailplan.Path{Path: path, Directory: info.IsDir(), Writable: i == 1})
		}
	}
	return list, nil
}

// setVariables are those that --env names, on top of the mode's environment.
func (a *app) setVariables(env []string, mode policies.Mode, terminal bool) map[string]string {
	own := map[string]string{}
	for _, variable := range a.environ {
		name, value, _ := strings.Cut(variable, "=")
		own[name] = value
	}
	set := map[string]string{}
	if mode.Contains() && terminal && own["TERM"] != "" {
		set["TERM"] = own["TERM"]
	}
	for _, variable := range env {
		name, value, given := strings.Cut(variable, "=")
		if name == "" {
			a.out.warn("--env %s: a variable has a name", variable)
			continue
		}
		if !given {
			if value, given = own[name]; !given {
				a.out.warn("--env %s: there is no such variable", name)
				continue
			}
		}
		set[name] = value
	}
	return set
}

// splitCommas is for flags that take a list: each may be given several times, and name several.
func splitCommas(list []string) []string {
	var all []string
	for _, item := range list {
		for _, name := range strings.Split(item, ",") {
			if name = strings.TrimSpace(name); name != "" {
				all = append(all, name)
			}
		}
	}
	return all
}
