package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/learn"
	"hdjail/build/spec"
	"hdjail/policies"
	"hdjail/policies/audit"
)

func learnCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "learn", Usage: "write the spec that a recorded run would have needed", ArgsUsage: "AUDIT|ID|- | -- COMMAND [ARG...]", Category: "jails",
		UsageText: "hdjail learn --rw . -o ../hello.yaml -- ./build.sh    # run it in mode log, and learn\n" +
			"hdjail run --audit a.json --rw . -- make && hdjail learn a.json\nhdjail learn mf2x                  # what a build of the store really used",
		Description: `The spec names packages rather than paths, as few as there can be: not what another one brings along. Each entry has its reason as a
comment, and so has what is left to be edited. Secrets are never proposed. Entries of the run's whitelist that were never used
are reported. The directory that the command ran in becomes the source.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, which may not exist yet"},
			&cli.BoolFlag{Name: "force", Usage: "replace FILE"},
			&cli.BoolFlag{Name: "command", Hidden: true},
			&cli.StringSliceFlag{Name: "rw", KeepSpace: true, Usage: "show a `DIR` of the host to the command, writable (repeatable)"},
			&cli.StringSliceFlag{Name: "ro", KeepSpace: true, Usage: "show a `DIR` of the host to the command, read-only (repeatable)"},
			&cli.StringSliceFlag{Name: "env", KeepSpace: true, Usage: "pass `NAME` on to the command, or set NAME=VALUE (repeatable)"},
			&cli.StringFlag{Name: "home", Usage: "`WHETHER` the command sees the home directory: show or hide", Value: "show"},
			jsonFlag(),
		},
		Action: a.learn,
	}
}

func (a *app) learn(c *cli.Context) error {
	args, target := c.Args().Slice(), c.String("output")
	if target != "" && !c.Bool("force") {
		if _, err := os.Lstat(a.absolute(target)); !errors.Is(err, fs.ErrNotExist) {
			return usagef("there is a file "+quote(target)+" already", "name another one, or --force")
		}
	}
	if target != "" { // before a run that may take long
		if err := unix.Access(filepath.Dir(a.absolute(target)), unix.W_OK); err != nil {
			return usagef("--output "+quote(target)+": its directory cannot be written: "+err.Error(), "name a file in another one")
		}
	}
	input, err := a.learnFrom(c, args)
	if err != nil {
		return err
	}
	input.Dir = a.dir
	if target != "" {
		input.Dir = filepath.Dir(a.absolute(target))
	}
	if err := a.describeHost(c.Context, &input); err != nil {
		return err
	}
	draft, err := learn.Learn(c.Context, input)
	if err != nil {
		return err
	}
	text := draft.YAML()
	if _, err := spec.Parse("the learnt spec", text); err != nil {
		return fmt.Errorf("write a spec: %w", err)
	}
	a.tellLearnt(draft)
	switch {
	case target != "":
		return a.writeLearnt(a.absolute(target), text, c.Bool("force"))
	case c.Bool("json"):
		return a.out.json(draft)
	}
	a.out.line("%s", strings.TrimSuffix(string(text), "\n"))
	return nil
}

// learnFrom reads an audit or makes one.
func (a *app) learnFrom(c *cli.Context, args []string) (input learn.Input, err error) {
	switch {
	case len(args) == 0:
		return input, usagef("hdjail learn wants an audit, or -- and a command", "hdjail learn --rw . -- ./build.sh")
	case c.Bool("command"):
		o := runOptions{writable: c.StringSlice("rw"), readable: c.StringSlice("ro"), env: c.StringSlice("env"),
			mode: string(policies.ModeLog), quiet: true, hideHome: c.String("home") == "hide"}
		if home := c.String("home"); home != "hide" && home != "show" {
			return input, usagef(fmt.Sprintf("--home is %q", home), "write --home=hide or --home=show")
		}
		input.Environment = a.learntVariables(o.env)
		var status int
		if input.Audit, status, err = a.runAndRecord(c.Context, o, args); err == nil && status != 0 {
			a.out.warn("the command ended with exit status %d: what it would have done next is not learnt", status)
		}
		return input, err
	case len(args) > 1:
		return input, usagef("superfluous argument "+quote(args[1]), "a command comes after --: hdjail learn -- COMMAND")
	}
	input.Audit, input.Derivation, err = a.recordedRun(c, args[0])
	return input, err
}

// errNotRecorded is for a run of which there is no audit.
var errNotRecorded = errors.New("learn: the run was not recorded: no observer works here (hdjail doctor)")

// runAndRecord runs a command as `hdjail run` does, and returns what was recorded beside its exit status.
func (a *app) runAndRecord(ctx context.Context, o runOptions, args []string) (recorded *audit.Audit, status int, err error) {
	o.keep = func(write func(io.Writer) error) error {
		var document bytes.Buffer
		if err := write(&document); err != nil {
			return err
		}
		recorded, err = audit.Read(&document)
		return err
	}
	if status, err = a.runInJail(ctx, o, args); err != nil {
		return nil, status, err
	}
	if recorded == nil {
		return nil, status, errNotRecorded
	}
	return recorded, status, nil
}

// learntVariables are those that the run was given, less what a spec cannot set.
func (a *app) learntVariables(env []string) map[string]string {
	set := a.setVariables(env, policies.ModeLog, false)
	for _, name := range spec.Reserved() {
		delete(set, name)
	}
	return set
}

// recordedRun reads the audit that a text means, with the derivation that it is of if the store has that. One that ends early
// is read with a warning.
func (a *app) recordedRun(c *cli.Context, text string) (*audit.Audit, *artifact.Derivation, error) {
	found, err := a.openAudit(c, text)
	if err != nil && !errors.As(err, new(*audit.TruncatedError)) {
		return nil, nil, err
	}
	a.warnOf(found, err)
	id, err := artifact.ParseDerivationID(found.Header.Derivation)
	if err != nil { // of no build
		return found, nil, nil
	}
	s, err := a.storeToRead()
	if err != nil {
		return found, nil, nil // another machine's
	}
	d, err := s.Derivation(id)
	if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
		return found, nil, nil
	}
	return found, d, err
}

// tellLearnt repeats for a person what the comments of the spec say first.
func (a *app) tellLearnt(d *learn.Draft) {
	for _, s := range d.Secrets {
		a.out.warn("the run used %s (%s), which is never proposed", s.Name, s.Reason)
	}
	for _, u := range d.Unused {
		a.out.say("never used: %s", escape(u.String()))
	}
	for _, line := range d.Edit {
		a.out.say("%s %s", a.out.paint(cyan, "edit:"), escape(line))
	}
	a.out.say("learnt %d packages and %d paths", len(d.Packages), len(d.Paths))
}

// writeLearnt makes the file appear whole.
func (a *app) writeLearnt(target string, text []byte, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(target), ".learn-*")
	if err != nil {
		return fmt.Errorf("write %q: %w", target, err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, bytes.NewReader(text))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		if force {
			err = os.Rename(f.Name(), target)
		} else {
			err = os.Link(f.Name(), target) // never over another file
		}
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", target, err)
	}
	a.out.say("next: hdjail build --mode fail %s", escape(target))
	return nil
}
