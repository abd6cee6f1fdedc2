package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"hdjail/jail"
	"hdjail/jail/container"
)

func doctorCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "try what this host offers to jails", Category: "jails",
		Description: `   hdjail doctor
   hdjail doctor --json

Each feature is tried, in throw-away processes. What does not work is printed with what is lost and with the exact
change that mends it. The exit status is 5 if jails cannot run here.

File accesses are recorded by system call notification where that works, else by ptrace(2), which is slower and keeps
debuggers and strace from working inside. HDJAIL_OBSERVER=notification or HDJAIL_OBSERVER=ptrace demands one of them.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print one JSON document"}},
		Action: func(c *cli.Context) error {
			observer, err := chosenObserver()
			if err != nil {
				return err
			}
			features := container.Probe(a.scratchCandidate(), observer)
			features = append(features, a.probePackages(), a.probeJail(c, features))
			if c.Bool("json") {
				if err := a.out.json(map[string]any{"features": features, "ok": firstMissing(features) == nil}); err != nil {
					return err
				}
			} else {
				a.printFeatures(features)
			}
			if f := firstMissing(features); f != nil {
				return &jail.Unsupported{Feature: f.Name, Fix: f.Fix, Err: errors.New(f.Detail)}
			}
			return nil
		},
	}
}

// scratchCandidate is where builds would run: the store, or what exists above it.
func (a *app) scratchCandidate() string {
	dir := a.storeRoot
	if dir == "" {
		dir = a.defaultStore()
	}
	dir = a.absolute(dir)
	for dir != "/" {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

func (a *app) probePackages() jail.Feature {
	f := jail.Feature{Name: "package database", Lost: "a whitelist can name paths only, not packages"}
	if _, err := openDatabase(); err != nil {
		f.Detail = err.Error()
		f.Fix = "run on a host with dpkg or rpm, or use host.paths"
		return f
	}
	f.OK = true
	return f
}

// probeJail runs a program in a jail, unless something that it needs is missing already.
func (a *app) probeJail(c *cli.Context, features []jail.Feature) jail.Feature {
	f := jail.Feature{Name: "a jail", Required: true, Lost: "no build runs"}
	if m := firstMissing(features); m != nil {
		f.Detail, f.Fix = "not tried: "+m.Name+" is missing", m.Fix
		return f
	}
	status, err := a.runInJail(c.Context, runOptions{mode: "log", quiet: true}, []string{"/bin/true"})
	switch {
	case err != nil:
		f.Detail, f.Fix = err.Error(), "see the message; hdjail explain tells more"
	case status != 0:
		f.Detail, f.Fix = fmt.Sprintf("/bin/true ended with status %d", status), "report this as a bug"
	default:
		f.OK, f.Detail = true, "/bin/true ran in one"
	}
	return f
}

// firstMissing is the first required feature that does not work.
func firstMissing(features []jail.Feature) *jail.Feature {
	for i := range features {
		if features[i].Required && !features[i].OK {
			return &features[i]
		}
	}
	return nil
}

func (a *app) printFeatures(features []jail.Feature) {
	for _, f := range features {
		state, color := "ok", green
		if !f.OK {
			state, color = "missing", yellow
			if f.Required {
				color = red
			}
		}
		a.out.line("%s  %-26s %s", a.out.paint(color, fmt.Sprintf("%-7s", state)), f.Name, escape(f.Detail))
		if !f.OK {
			a.out.line("         lost: %s", f.Lost)
			a.out.line("         fix:  %s", f.Fix)
		}
	}
}
