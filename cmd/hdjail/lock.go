package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/build"
	"hdjail/build/lockfile"
	"hdjail/build/plan"
	"hdjail/build/trace"
	"hdjail/policies/audit"
)

// lockFileFlag names the lock file of verbs that obey one.
func lockFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "lock-file", Value: "hdjail.lock", Usage: "the lock file is `FILE`"}
}

func lockCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "lock", Usage: "write down what specs resolve to, so that it can be built again", ArgsUsage: "[SPEC|ID...]",
		UsageText: "hdjail lock hello.yaml\nhdjail lock -o stack.lock zlib.yaml libpng.yaml\nhdjail build --locked\nhdjail lock verify mf2x qojq",
		Description: "The lock file has the derivations, the versions and digests of all host packages, and the results that are built already. Equal\n" +
			"input gives equal bytes: keep it in your version control. With it \"hdjail build --locked\" gives the same derivations, also after an\n" +
			"upgrade of the host, and the same results where the store has them or the builds are deterministic.",
		Flags: append(planFlags(), noDaemonFlag(), &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "hdjail.lock", Usage: "write `FILE`, - for standard output"}),
		Action: func(c *cli.Context) error {
			r, err := a.request(c, c.Args().Slice())
			if err != nil {
				return err
			}
			return a.lock(c, r)
		},
		Subcommands: []*cli.Command{{
			Name: "verify", Usage: "tell whether two builds ran the same commands", ArgsUsage: "A B",
			UsageText: "hdjail lock verify mf2x qojq\nhdjail lock verify --json a.json b.json",
			Description: "A and B are like the argument of hdjail audit. Compared are argument list and working directory of every process; their environment\n" +
				"is in the derivation. Names below /tmp and /var/tmp that are not in the store, and those that only one build made, read *, and process ids <pid>. Ends with 0 if nothing differs, with 7 otherwise, with\n" +
				"10 if nothing differs and a record is incomplete.",
			Flags: []cli.Flag{jsonFlag()}, Action: a.lockVerify,
		}},
	}
}

// lock writes the lock file of a plan.
func (a *app) lock(c *cli.Context, r request) error {
	var recorder lockfile.Recorder
	r.host = func(host plan.HostPackages) plan.HostPackages {
		recorder.HostPackages = host
		return &recorder
	}
	p, b, err := a.planToLock(c, r)
	if err != nil {
		return err
	}
	results, err := b.Realize(c.Context, p, build.Options{DryRun: true})
	if err != nil {
		return err
	}
	chosen, missing := lockfile.Chosen{}, 0
	for _, result := range results {
		chosen[result.Step.ID] = result.Realizations
		if len(result.Realizations) == 0 {
			missing++
		}
	}
	name := c.String("output")
	text, err := lockfile.New(p, a.lockNames(name), recorder.Closures(), chosen).Encode()
	if err != nil {
		return err
	}
	err = a.writeFile(name, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	a.out.say("locked %d derivations, %d with their results", len(p.Steps), len(p.Steps)-missing)
	if missing > 0 {
		a.out.say("next: hdjail build, and hdjail lock again, to lock all results")
	}
	return nil
}

// planToLock makes a plan where "hdjail build" would realize it: in the daemon's store, if there is a daemon.
func (a *app) planToLock(c *cli.Context, r request) (*plan.Plan, *build.Builder, error) {
	d, err := a.daemon(c)
	if err != nil {
		return nil, nil, err
	}
	if d != nil {
		p, err := a.planRemotely(c, d, r)
		if err != nil {
			return nil, nil, err
		}
		b, err := a.onlooker()
		return p, b, err
	}
	if _, err := a.subjects(append(c.Args().Slice(), ".")...); err != nil {
		return nil, nil, err
	}
	p, err := a.plan(c.Context, r)
	if err != nil {
		return nil, nil, err
	}
	b, err := a.builder()
	if err == nil {
		err = a.letChoose(b, p)
	}
	return p, b, err
}

// lockNames names targets relative to the directory of a lock file, which is the working directory for standard output.
func (a *app) lockNames(file string) lockfile.Names {
	dir := filepath.Dir(a.absolute(file))
	return func(t *plan.Step) string {
		if t.Spec == nil {
			return ""
		}
		path := a.absolute(t.Spec.File)
		if relative, err := filepath.Rel(dir, path); err == nil {
			return relative
		}
		return path
	}
}

// planner makes a plan of what was asked for.
type planner func(context.Context, request) (*plan.Plan, error)

// planLocked makes a plan, and holds it to the lock file if the command line says so.
func (a *app) planLocked(c *cli.Context, r request, resolve planner) (*plan.Plan, error) {
	if !c.Bool("locked") {
		if c.IsSet("lock-file") {
			return nil, usagef("--lock-file says nothing without --locked", "")
		}
		return resolve(c.Context, r)
	}
	name := c.String("lock-file")
	f, err := readLock(a.absolute(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, root := range f.Roots {
		switch {
		case c.NArg() > 0:
		case root.Spec == "":
			r.targets = append(r.targets, root.Derivation.String())
		case filepath.IsAbs(root.Spec):
			r.targets = append(r.targets, root.Spec)
		default:
			r.targets = append(r.targets, filepath.Join(filepath.Dir(name), root.Spec))
		}
	}
	r.host, r.locked = f.Host, f.Matchers()
	p, err := resolve(c.Context, r)
	if err != nil {
		return nil, err
	}
	return p, f.Hold(p, a.lockNames(name))
}

// noLockError is a lock file that is not there.
type noLockError struct{}

func (noLockError) Error() string { return "there is no such lock file" }

func readLock(path string) (*lockfile.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not keep us
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noLockError{}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, lockfile.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return lockfile.Parse(data)
}

// lockVerify compares the commands of two builds.
func (a *app) lockVerify(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("hdjail lock verify wants two builds", "each is an ID, a path, or the file of an audit")
	}
	var sides [2]*audit.Audit
	whole := true
	for i, name := range c.Args().Slice() {
		found, err := a.openAudit(c, name)
		if found == nil {
			return err
		}
		a.warnOf(found, err)
		sides[i], whole = found, whole && err == nil && found.Header.Complete
	}
	prefixes := a.prefixes(sides[:])
	first, second := trace.Settle(sides[0], sides[1], prefixes...)
	d := trace.CompareProcesses(first, second, prefixes...)
	err := a.out.show(c.Bool("json"), d, func() {
		for _, line := range d.Lines() {
			a.out.line("%s", escape(line))
		}
	})
	switch {
	case err != nil:
		return err
	case !d.Equal():
		a.out.say("%d commands only in the first, %d only in the second", commands(d.OnlyA), commands(d.OnlyB))
		return exitStatus(exitDiffer)
	case !whole:
		return exitStatus(exitIncomplete)
	}
	a.out.say("the same commands")
	return nil
}

// prefixes are those of the stores that the runs used, as far as the store at hand knows their derivations.
func (a *app) prefixes(runs []*audit.Audit) (list []string) {
	s, err := a.storeToRead()
	if err != nil {
		return nil // files of audits need no store
	}
	for _, run := range runs {
		id, err := artifact.ParseDerivationID(run.Header.Derivation)
		if err != nil {
			continue // a command without a derivation
		}
		if d, err := s.Derivation(id); err == nil {
			list = append(list, d.Prefix)
		}
	}
	return list
}

func commands(s trace.Side) (n int) {
	for _, p := range s.Processes {
		n += p.Count
	}
	return n
}

// lockDiagnoses are those of lock files, and of questions about dependencies.
var lockDiagnoses = []func(error) (problem, bool){
	on(func(e *lockfile.MismatchError) problem {
		p := problem{Code: "HJ0074", Details: e.Why.Lines()}
		p.Help = helps("hdjail lock " + e.Spec + " locks it as it is now")
		return p
	}),
	on(func(*noWayError) problem {
		return problem{Code: "HJ0079", Help: helps("hdjail graph SPEC shows what a spec depends on, hdjail show --json ID its host packages")}
	}),
	on(func(*lockfile.UnlockedError) problem {
		return problem{Code: "HJ0075", Help: helps("hdjail lock SPEC... with all that is to be locked")}
	}),
	on(func(noLockError) problem {
		return problem{Code: "HJ0075", Help: helps("hdjail lock SPEC... makes one")}
	}),
	on(func(*lockfile.MalformedError) problem { return problem{Code: "HJ0076"} }),
	on(func(*lockfile.VersionError) problem { return problem{Code: "HJ0077"} }),
	on(func(e *lockfile.DifferError) problem {
		return problem{Code: "HJ0078", Help: helps("bring the locked one from a store that has it, or lock what there is: hdjail lock SPEC...")}
	}),
}
