package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hdjail/build"
	"hdjail/build/plan"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// planFlags say how targets are resolved; verbs that build have them.
func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Usage: "build in `MODE`: hide or fail for all builds, log or off for the named ones only"},
		matchFlag(),
		&cli.BoolFlag{Name: "offline", Usage: "use no network"},
		allowDegradedFlag(),
		&cli.StringSliceFlag{Name: "mirror", KeepSpace: true, Usage: "ask `DIR|URL` for sources first"},
	}
}

func matchFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "match", Usage: "choose among the realizations of NAME: `NAME=MATCHER`; the last one counts"}
}

// request reads the plan's flags.
func (a *app) request(c *cli.Context, targets []string) (r request, err error) {
	r.targets = targets
	if c.IsSet("jobs") && c.Int("jobs") < 1 {
		return r, usagef(fmt.Sprintf("--jobs is %d", c.Int("jobs")), "write 1 or more, or leave it out for as many as processors")
	}
	if err := a.allowDegraded(c.StringSlice("allow-degraded")); err != nil {
		return r, err
	}
	a.offline, a.mirrors = c.Bool("offline"), c.StringSlice("mirror")
	for i, m := range a.mirrors {
		if !strings.Contains(m, "://") {
			a.mirrors[i] = a.absolute(m)
		}
	}
	if text := c.String("mode"); text != "" {
		if r.mode, err = policies.ParseMode(text); err != nil {
			return r, usagef(err.Error(), "there are hide, fail, log and off")
		}
	}
	r.matches, err = a.parseMatches(c.StringSlice("match"))
	return r, err
}

// buildFlags say how a plan is realized.
func buildFlags() []cli.Flag {
	return append(planFlags(),
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "run at most `N` builds at once", DefaultText: "as many as processors; at most 4 on a login node"},
		&cli.BoolFlag{Name: "keep-going", Aliases: []string{"k"}, Usage: "go on with what depends on no failed build"},
		optionalFlag{&cli.GenericFlag{Name: "rebuild", Value: &rebuildFlag{}, Usage: "build the targets again, or with --rebuild=NAME that dependency"}},
		&cli.BoolFlag{Name: "realized-only", Usage: "build nothing; fail if something is missing"},
		&cli.DurationFlag{Name: "failure-ttl", Usage: "report a failure of the last `TIME` again, and do not run the build", DefaultText: "never"},
		&cli.BoolFlag{Name: "keep-failed", Usage: "keep what a failed build left"},
		&cli.StringFlag{Name: "events", Usage: "write what happens to `FILE|fd:N`, as NDJSON"},
		&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress as `FORM`: auto, tree, plain, quiet or json"},
		&cli.BoolFlag{Name: "strict", Usage: "fail a build whose record of accesses is incomplete"},
		&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process builds the same", DefaultText: "never"},
	)
}

func buildCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "build", Usage: "build specs, and what they depend on", ArgsUsage: "[SPEC|ID...]",
		UsageText: "hdjail build hello.yaml\nhdjail build -j4 --profile tools zlib.yaml libpng.yaml\nhdjail build --dry-run hello.yaml\n" +
			"hdjail build --match 'train=best(score.txt)' plot.yaml\nhdjail build --json --events fd:3 . 3>events\nhdjail build --locked",
		Description: "Prints the path of each result, one a line, in the order of the arguments. A directory stands for the hdjail.yaml in\n" +
			"it, and no argument for the working directory. --json prints an object for each, and one with an \"error\" for each build\n" +
			"that failed or was skipped. Every failure is told; the exit status is that of the first.\n" +
			"--dry-run builds and registers nothing, but identities are of contents: as \"hdjail hash\" does, it takes snapshots of the\n" +
			"host packages and copies sources that are local paths into the store.",
		Flags: append(append(buildFlags(), daemonFlags()...), jsonFlag(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "build nothing; print what would be built, and what each jail would show (the store still gets the host packages and local sources)"},
			&cli.StringFlag{Name: "profile", Usage: "link the results into `PROFILE`"},
			&cli.BoolFlag{Name: "locked", Usage: "hold all to the lock file: its derivations, host packages and results; without an argument, its roots"},
			lockFileFlag(),
			&cli.StringFlag{Name: "out-link", Aliases: []string{"o"}, Usage: "make a symbolic `LINK` to the result"},
		),
		Action: func(c *cli.Context) error {
			r, err := a.request(c, c.Args().Slice())
			if err != nil {
				return err
			}
			if err := a.checkOutLink(c, r); err != nil {
				return err
			}
			results, done, err := a.build(c, r)
			if done {
				return err
			}
			printed := a.printResults(results, c.Bool("json"))
			if printed == nil && c.Bool("json") {
				printed = a.printFailures(err)
			}
			err = cmp.Or(err, printed)
			if err == nil && c.IsSet("out-link") && len(results) > 0 {
				err = oneToLink(results)
			}
			if err == nil && c.String("profile") != "" {
				err = a.linkResults(c, c.String("profile"), results)
			}
			if err == nil && c.String("out-link") != "" && len(results) > 0 {
				err = a.outLink(c, results[0])
			}
			return err
		},
	}
}

// result is one target that was realized, as it is printed.
type result struct {
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	Derivation  string  `json:"derivation"`
	Realization string  `json:"realization"`
	Path        string  `json:"path"`
	Cached      bool    `json:"cached"`
	Seconds     float64 `json:"seconds"`
}

// realize gives every step of the plan a realization, and returns those of the targets that have one, in their order. If
// something has to be built, this process may be replaced by a copy that starts over, before anything is printed. With keep,
// no collection removes them before this process ends.
func (a *app) realize(c *cli.Context, p *plan.Plan, keep bool) ([]build.Result, error) {
	options, err := buildOptions(c, p)
	if err != nil {
		return nil, err
	}
	return a.realizeWith(c, survey{plan: p, options: options, keep: keep})
}

// realizeWith is realize with options that do not come from flags.
func (a *app) realizeWith(c *cli.Context, with survey) ([]build.Result, error) {
	p := with.plan
	b, err := a.builder()
	if err != nil {
		return nil, err
	}
	b.KeepFailed, b.LockWait, b.Strict, b.FailureTTL = c.Bool("keep-failed"), c.Duration("lock-timeout"), c.Bool("strict"), c.Duration("failure-ttl")
	if b.Recorder, err = a.recorder(); err != nil {
		return nil, err
	}
	results, done, err := a.survey(c, b, with)
	if err != nil {
		return nil, err
	}
	if done {
		return a.wanted(p, results), nil
	}
	a.warnPlan(p)
	sink, err := a.eventSink(c, p)
	if err != nil {
		return nil, err
	}
	b.Events = sink
	var audits auditList
	b.Audited = audits.add
	results, err = b.Realize(c.Context, p, with.options)
	err = a.conclude(c, sink, &audits, failures(err, results))
	a.noteUnselected(results)
	return a.wanted(p, results), err
}

// conclude ends the events of a build that ended with err, and tells of its audits. A build with an incomplete one has that error
// if it has no other.
func (a *app) conclude(c *cli.Context, sink *events, audits *auditList, err error) error {
	if err == nil {
		err = audits.incomplete
	}
	err = errors.Join(err, sink.finish(diagnoseExit(err)))
	if c.String("progress") != "quiet" {
		a.summarize(audits.list, audits.more, "")
	}
	return err
}

// noteUnselected tells of what was built in vain.
func (a *app) noteUnselected(results []build.Result) {
	for _, r := range results {
		if r.Unselected() {
			a.out.say("note: %s was built, and the matcher %s prefers what was there before", r.Step.Name(), r.Step.Matcher)
		}
	}
}

// buildOptions reads the flags that say how the plan is realized.
func buildOptions(c *cli.Context, p *plan.Plan) (o build.Options, err error) {
	o = build.Options{Jobs: c.Int("jobs"), KeepGoing: c.Bool("keep-going"), RealizedOnly: c.Bool("realized-only")}
	if rebuild, ok := c.Generic("rebuild").(*rebuildFlag); ok {
		o.Rebuild, err = rebuild.steps(p)
	}
	if err == nil && o.RealizedOnly && len(o.Rebuild) > 0 {
		err = usagef("--rebuild builds, and --realized-only forbids it", "leave out one of them")
	}
	return o, err
}

// auditList collects what is to be said of the audits of builds that run at the same time: of one everything, of several the
// headers, of many the first ones.
type auditList struct {
	mu         sync.Mutex
	list       []*audit.Audit
	more       int
	incomplete error
}

func (l *auditList) add(a *audit.Audit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.Header.Complete && l.incomplete == nil {
		l.incomplete = &incompleteError{Name: a.Header.Name, Reasons: a.Header.IncompleteReasons}
	}
	switch {
	case !remarkable(a):
		return
	case len(l.list) == maxSummary:
		l.more++
		return
	case len(l.list) > 0:
		l.list[0].Accesses, l.list[0].Processes = nil, nil
		a.Accesses, a.Processes = nil, nil
	}
	l.list = append(l.list, a)
}

func diagnoseExit(err error) int {
	if err == nil {
		return exitDone
	}
	return diagnose(err).Exit
}

// targets are the results of the plan's targets that have one. There is none at all if the plan was not even begun.
func targets(p *plan.Plan, results []build.Result) []build.Result {
	if len(results) == 0 {
		return nil
	}
	var list []build.Result
	for _, t := range p.Targets {
		if r := results[t.Index]; r.Err == nil && len(r.Realizations) > 0 {
			list = append(list, r)
		}
	}
	return list
}

// wanted are the results of the targets, of which it is noted that somebody has asked for them.
func (a *app) wanted(p *plan.Plan, results []build.Result) []build.Result {
	list := targets(p, results)
	for _, r := range list {
		for _, realization := range r.Realizations {
			a.openStore.Touch(realization.ID)
		}
	}
	return list
}

func (a *app) printResults(results []build.Result, asJSON bool) error {
	b := build.Builder{Store: a.openStore}
	for _, r := range results {
		paths := b.Paths(r)
		if text := a.elsewhere(r); text != "" {
			note := "hdjail use ID moves it"
			if a.served {
				note = "the owner of the daemon's store can move it"
			}
			a.out.say("note: %s; %s", text, note)
		}
		for i, path := range paths {
			if !asJSON {
				a.out.line("%s", path)
				continue
			}
			d := r.Step.Derivation
			err := a.out.jsonLine(result{d.Name, d.Version, r.Step.ID.String(), r.Realizations[i].ID.String(), path, r.Cached, r.Duration.Seconds()})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// elsewhere says that the public path does not lead to what is printed, if that is so. With a prefix that is not the store's
// directory it may lead there in jails only, and what is printed is a path of the host.
func (a *app) elsewhere(r build.Result) string {
	if n := len(r.Realizations); n > 1 {
		return fmt.Sprintf("%d realizations of %s are selected, and its public path leads to one", n, r.Step.Name())
	}
	if id, err := a.openStore.Public(r.Step.ID); err == nil && id == r.Realizations[0].ID {
		return ""
	}
	return "the public path of " + r.Step.Name() + " leads to another realization"
}

// openEvents opens what --events names: a new or emptied file, or a descriptor that the caller has opened.
func (a *app) openEvents(text string) (*os.File, error) {
	number, isFD := strings.CutPrefix(text, "fd:")
	if !isFD {
		return os.OpenFile(a.absolute(text), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	}
	fd, err := strconv.Atoi(number)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC) // builds do not get it
	}
	if err != nil {
		return nil, usagef(fmt.Sprintf("--events %s: %v", quote(text), err), "open it: hdjail build --events fd:3 SPEC 3>FILE")
	}
	return os.NewFile(uintptr(fd), text), nil
}

// events passes what happens on to the file of --events and to the view.
type events struct {
	file   *os.File
	writer *build.EventWriter
	view   view
	now    func() time.Time
}

// view shows a person what happens. stop ends it; nothing is sent afterwards.
type view interface {
	build.EventSink
	stop()
}

func (a *app) eventSink(c *cli.Context, p *plan.Plan) (*events, error) {
	e := &events{now: a.now}
	var err error
	if e.view, err = a.out.progress(c.String("progress"), a.now); err != nil {
		return nil, err
	}
	if text := c.String("events"); text != "" {
		if e.file, err = a.openEvents(text); err != nil {
			return nil, err
		}
		e.writer = build.NewEventWriter(e.file)
	}
	return e, nil
}

// Send implements build.EventSink.
func (e *events) Send(event build.Event) {
	if e.writer != nil {
		e.writer.Send(event)
	}
	e.view.Send(event)
}

// finish sends the last event and closes everything.
func (e *events) finish(exit int) error {
	e.Send(build.Event{Version: build.EventVersion, Time: e.now(), Event: "done", Exit: &exit})
	e.view.stop()
	if e.writer == nil {
		return nil
	}
	if err := errors.Join(e.writer.Err(), e.file.Close()); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
