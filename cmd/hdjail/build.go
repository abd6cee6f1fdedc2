package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
		&cli.StringSliceFlag{Name: "match", Usage: "choose among the realizations of NAME: `NAME=MATCHER`"},
		&cli.BoolFlag{Name: "offline", Usage: "use no network"},
		&cli.StringSliceFlag{Name: "mirror", Usage: "ask `DIR|URL` for sources first"},
	}
}

// request reads the plan's flags.
func (a *app) request(c *cli.Context, targets []string) (r request, err error) {
	r.targets = targets
	if c.IsSet("jobs") && c.Int("jobs") < 1 {
		return r, usagef(fmt.Sprintf("--jobs is %d", c.Int("jobs")), "write 1 or more, or leave it out for as many as processors")
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
	r.matches, err = parseMatches(c.StringSlice("match"))
	return r, err
}

// buildFlags say how a plan is realized.
func buildFlags() []cli.Flag {
	return append(planFlags(),
		&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "run at most `N` builds at once", DefaultText: "as many as processors"},
		&cli.BoolFlag{Name: "keep-going", Aliases: []string{"k"}, Usage: "go on with what depends on no failed build"},
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
		UsageText: "hdjail build hello.yaml\nhdjail build -j4 --profile tools zlib.yaml libpng.yaml\nhdjail build --dry-run hello.yaml\nhdjail build --json --events fd:3 . 3>events",
		Description: "Prints the path of each result, one a line, in the order of the arguments. A directory stands for the hdjail.yaml in\n" +
			"it, and no argument for the working directory.",
		Flags: append(append(buildFlags(), daemonFlags()...), jsonFlag(),
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "build nothing; print what would be built, and what each jail would show"},
			&cli.StringFlag{Name: "profile", Usage: "link the results into `PROFILE`"},
			&cli.StringFlag{Name: "out-link", Aliases: []string{"o"}, Usage: "make a symbolic `LINK` to the result"},
		),
		Action: func(c *cli.Context) error {
			r, err := a.request(c, c.Args().Slice())
			if err != nil {
				return err
			}
			if c.String("out-link") != "" && len(r.targets) > 1 {
				return usagef("--out-link is for one target", "leave it out, or link several into a profile")
			}
			results, done, err := a.build(c, r)
			if done {
				return err
			}
			if printed := a.printResults(results, c.Bool("json")); err == nil {
				err = printed
			}
			if err == nil && c.String("profile") != "" {
				err = a.linkResults(c, c.String("profile"), results)
			}
			if err == nil && c.String("out-link") != "" && !c.Bool("detach") {
				err = a.outLink(c.String("out-link"), results[0])
			}
			return err
		},
	}
}

// build has the targets built, by the daemon if there is one; done tells that there is nothing to print.
func (a *app) build(c *cli.Context, r request) (results []build.Result, done bool, err error) {
	d, err := a.daemon(c)
	if err != nil {
		return nil, true, err
	}
	if d != nil {
		results, err = a.buildRemotely(c, d, r)
		return results, false, err
	}
	if c.Bool("detach") {
		return nil, true, usagef("there is no daemon to leave the build to", "leave out --detach")
	}
	p, err := a.plan(c.Context, r)
	if err != nil {
		return nil, true, err
	}
	if c.Bool("dry-run") {
		return nil, true, a.dryRun(c.Context, p, c.Bool("json"))
	}
	results, err = a.realize(c, p)
	return results, false, err
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
// something has to be built, this process may be replaced by a copy that starts over, before anything is printed.
func (a *app) realize(c *cli.Context, p *plan.Plan) ([]build.Result, error) {
	b, err := a.builder()
	if err != nil {
		return nil, err
	}
	b.KeepFailed, b.LockWait, b.Strict = c.Bool("keep-failed"), c.Duration("lock-timeout"), c.Bool("strict")
	if b.Recorder, err = a.recorder(); err != nil {
		return nil, err
	}
	options := build.Options{Jobs: c.Int("jobs"), KeepGoing: c.Bool("keep-going")}
	results, err := b.Realize(c.Context, p, build.Options{DryRun: true})
	if err != nil {
		return nil, err
	}
	if missing(results) {
		if b.Runner, err = a.runner(policies.ModeHide); err != nil {
			return nil, err
		}
	} else if c.String("events") == "" && c.String("progress") == "auto" {
		return targets(p, results), nil
	}
	sink, err := a.eventSink(c, p)
	if err != nil {
		return nil, err
	}
	b.Events = sink
	var audits auditList
	b.Audited = audits.add
	results, err = b.Realize(c.Context, p, options)
	if err == nil {
		err = audits.incomplete
	}
	err = errors.Join(err, sink.finish(diagnoseExit(err)))
	if c.String("progress") != "quiet" {
		a.summarize(audits.list, audits.more, "")
	}
	return targets(p, results), err
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

// missing reports whether a dry run left something to build.
func missing(results []build.Result) bool {
	for _, r := range results {
		if len(r.Realizations) == 0 {
			return true
		}
	}
	return false
}

// targets are the results of the plan's targets that have one.
func targets(p *plan.Plan, results []build.Result) []build.Result {
	var list []build.Result
	for _, t := range p.Targets {
		if r := results[t.Index]; r.Err == nil && len(r.Realizations) > 0 {
			list = append(list, r)
		}
	}
	return list
}

func (a *app) printResults(results []build.Result, asJSON bool) error {
	b := build.Builder{Store: a.openStore}
	for _, r := range results {
		for i, path := range b.Paths(r) {
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

// outLink makes or replaces a symbolic link, in one step.
func (a *app) outLink(link string, r build.Result) error {
	link = a.absolute(link)
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return usagef("--out-link "+quote(link)+" exists and is no symbolic link", "")
	}
	b := build.Builder{Store: a.openStore}
	temporary := filepath.Join(filepath.Dir(link), "."+filepath.Base(link)+"-"+strconv.Itoa(os.Getpid()))
	if err := os.Symlink(b.Paths(r)[0], temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, link); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
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
