package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/build/check"
	"hdjail/build/check/differ"
	"hdjail/build/plan"
	"hdjail/build/sources"
)

func checkCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "build again, and compare the results and what the builds did", ArgsUsage: "[SPEC|ID...]",
		UsageText: "hdjail check hello.yaml\nhdjail check -n 3 --json hello.yaml\nhdjail check --scratch /dev/shm hello.yaml",
		Description: "Runs each build again with the same dependencies; what is not built yet is built first. The caller's environment, home, time\n" +
			"zone, locale, working directory, umask and host name differ, which no build sees. In the jail the time of the start, the host\n" +
			"name, the number of processors, process numbers and the order of the source directories differ. What was varied is listed.\n\n" +
			"Prints the paths that differ, one a line: of the trees, of files that only some runs asked for, and of the executables of commands\n" +
			"that only some ran. What differs is said on standard error, or with --json. Each new tree is\n" +
			"registered as another realization, which only the matcher exact selects. The status is 0 if all is equal, 7 if trees or\n" +
			"traces differ, 3 if a run failed, 10 if a record is incomplete. Where diffoscope is installed it adds its report.",
		Flags: append(planFlags(), jsonFlag(),
			&cli.IntFlag{Name: "runs", Aliases: []string{"n"}, Value: 1, Usage: "build `N` times again"},
			&cli.BoolFlag{Name: "keep", Usage: "keep the build directory of a run that failed or left another tree"},
			&cli.StringFlag{Name: "scratch", Usage: "build in `DIR`, on another file system, whose directories have another order"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "run at most `N` builds at once while building what is missing", DefaultText: "as many as processors"},
			&cli.StringFlag{Name: "progress", Value: "auto", Usage: "show progress as `FORM`: auto, tree, plain, quiet or json"},
			&cli.DurationFlag{Name: "lock-timeout", Usage: "give up after `TIME` if another process builds the same", DefaultText: "never"},
		),
		Action: a.check,
	}
}

func (a *app) check(c *cli.Context) error {
	r, err := a.request(c, c.Args().Slice())
	if err != nil {
		return err
	}
	scratch, err := a.checkFlags(c)
	if err != nil {
		return err
	}
	p, err := a.plan(c.Context, r)
	if err != nil {
		return err
	}
	subjects, err := a.checkSubjects(c, p)
	if err != nil {
		return err
	}
	sink, err := a.eventSink(c, p)
	if err != nil {
		return err
	}
	checker := check.Checker{Store: a.openStore, Now: a.now, Start: a.startRun(sink), Machine: check.Machine{CPUs: ownCPUs(), Root: isRoot(), Env: a.environ}}
	var reports []*check.Report
	for _, s := range subjects {
		s.Runs, s.Keep, s.Scratch, s.LockWait = c.Int("runs"), c.Bool("keep"), scratch, c.Duration("lock-timeout")
		report, checked := checker.Check(c.Context, s)
		if err = checked; err != nil {
			break
		}
		reports = append(reports, report)
	}
	sink.view.stop()
	for _, report := range reports {
		if printed := a.printCheckReport(c, report); err == nil {
			err = printed
		}
	}
	return cmp.Or(err, a.concludeCheck(reports))
}

// checkFlags returns the absolute form of --scratch.
func (a *app) checkFlags(c *cli.Context) (scratch string, err error) {
	if c.Int("runs") < 1 {
		return "", usagef(fmt.Sprintf("--runs is %d", c.Int("runs")), "write 1 or more")
	}
	if scratch = c.String("scratch"); scratch == "" {
		return "", nil
	}
	if c.Bool("keep") {
		return "", usagef("--keep keeps directories in the store, and --scratch is outside it", "leave out one of them")
	}
	scratch = a.absolute(scratch)
	if !isDirectory(scratch) {
		return "", usagef("--scratch "+quote(scratch)+" is no directory", "for example --scratch /dev/shm")
	}
	return scratch, nil
}

// checkSubjects are the targets, built if they were not, and with their sources in the store.
func (a *app) checkSubjects(c *cli.Context, p *plan.Plan) ([]check.Subject, error) {
	if _, err := a.realize(c, p, true); err != nil {
		return nil, err
	}
	results, err := a.look(c.Context, p)
	if err != nil {
		return nil, err
	}
	b, err := a.builder()
	if err != nil {
		return nil, err
	}
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, r := range results {
		for _, realization := range r.Realizations {
			chosen[r.Step.ID] = append(chosen[r.Step.ID], realization.ID)
		}
	}
	var list []check.Subject
	for _, t := range p.Targets {
		for _, s := range t.Derivation.Sources {
			if err := b.Sources.Fetch(c.Context, sources.Request{Digest: s.Digest, URLs: t.URLs[s.Digest]}, func(int64, int64) {}); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(list, func(s check.Subject) bool { return s.Step == t }) {
			continue
		}
		list = append(list, check.Subject{Step: t, First: results[t.Index].Realizations[0], Chosen: chosen})
	}
	return list, nil
}

// ownCPUs are the processors that this process may use.
func ownCPUs() (list []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil // a machine with more than the set has room for
	}
	for cpu := 0; len(list) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

// maxShown is how many differences of a run are said in words.
const maxShown = 25

func (a *app) printCheckReport(c *cli.Context, r *check.Report) error {
	if c.Bool("json") {
		return a.out.jsonLine(struct {
			*check.Report
			Verdict string `json:"verdict"`
		}{r, r.Verdict()})
	}
	for _, path := range r.Paths() {
		a.out.line("%s", escape(path))
	}
	a.out.say("%s: compared with realization %s", escape(nameOf(r)), r.Realization)
	for i, run := range r.Runs {
		if i == 0 || !slices.Equal(variedText(run), variedText(r.Runs[0])) {
			for _, line := range variedText(run) {
				a.out.say("  %s", escape(line))
			}
		}
		a.printRun(r, run)
	}
	a.tellDiffoscope(c.Context, r)
	return nil
}

func nameOf(r *check.Report) string {
	if r.Version == "" {
		return r.Name
	}
	return r.Name + "-" + r.Version
}

// variedText says in three lines what a run had different, and what it had not.
func variedText(run check.Run) []string {
	lines := map[string][]string{}
	for _, v := range run.Varied {
		key, text := "varied for the caller: ", v.What
		switch {
		case !v.Varied:
			key = "not varied: "
		case v.Where == "jail":
			key = "varied in the jail: "
		}
		if v.Detail != "" {
			text += " (" + v.Detail + ")"
		}
		lines[key] = append(lines[key], text)
	}
	var list []string
	for _, key := range []string{"varied for the caller: ", "varied in the jail: ", "not varied: "} {
		if len(lines[key]) > 0 {
			list = append(list, key+strings.Join(lines[key], ", "))
		}
	}
	return list
}

func (a *app) printRun(r *check.Report, run check.Run) {
	switch {
	case run.Failure != "":
		a.out.say("  run %d failed: %s", run.Record, escape(run.Failure))
	case run.Tree == r.Tree:
		a.out.say("  run %d: the same tree, in %.1f s", run.Record, run.Seconds)
	default:
		a.out.say("  run %d: another tree, in %.1f s: realization %s", run.Record, run.Seconds, run.Realization)
	}
	for i, d := range run.Differences {
		if i == maxShown {
			a.out.say("    and more: --json lists all")
			break
		}
		a.printCheck(d)
	}
	if run.Trace != nil {
		lines := run.Trace.Lines()
		a.out.say("  run %d did something else (- only the first run, + only this one):", run.Record)
		for _, line := range lines[:min(len(lines), maxShown)] {
			a.out.say("    %s", escape(line))
		}
		if n := len(lines) - maxShown; n > 0 {
			a.out.say("    and %d more: --json lists all", n)
		}
	}
	if run.Kept != "" {
		a.out.say("  kept: %s", run.Kept)
	}
}

func (a *app) printCheck(d differ.Difference) {
	text := map[string]string{differ.OnlyFirst: "is only in the first tree", differ.OnlySecond: "is only in this tree", differ.Type: "is of another type",
		differ.Executable: "has another executable bit", differ.LinkText: "leads elsewhere"}[d.Kind]
	if d.Kind == differ.Content {
		text = fmt.Sprintf("differs from byte %d on", d.Offset)
		if d.Sizes[0] != d.Sizes[1] {
			text += fmt.Sprintf(" (%d bytes, now %d)", d.Sizes[0], d.Sizes[1])
		}
		if len(d.Place) > 0 {
			text += ": " + strings.Join(d.Place, ", ")
		}
		if len(d.Sections) > 0 {
			text += "; of its sections " + strings.Join(d.Sections, ", ") + " differ"
		}
	}
	a.out.say("    %s %s", escape(d.Path), escape(text))
	if d.First != "" || d.Second != "" {
		a.out.say("      - %s", escape(d.First))
		a.out.say("      + %s", escape(d.Second))
	}
}

// concludeCheck says last what came out, and with which status the program ends.
func (a *app) concludeCheck(reports []*check.Report) error {
	verdicts, status := map[string]int{}, 0
	var incomplete error
	for _, r := range reports {
		name := escape(nameOf(r))
		for _, text := range append(slices.Clone(r.Untraced), r.Incomplete...) {
			a.out.warn("%s: %s", name, text)
		}
		verdict := r.Verdict()
		verdicts[verdict]++
		runs := fmt.Sprintf("%d distinct %s in %d runs, the first one included", r.Trees, plural(r.Trees, "tree", "trees"), len(r.Runs)+1)
		switch verdict {
		case "equal":
			if r.OrderKept {
				verdict = "equal, but the order of directories was not varied here"
			}
			a.out.say("%s: %s: %s", name, verdict, runs)
			if len(r.Incomplete) > 0 && incomplete == nil {
				incomplete = &incompleteError{Name: nameOf(r), Reasons: r.Incomplete}
			}
		case "failed":
			status = exitBuild
			a.out.say("%s: %d of %d %s failed: hdjail log --failed", name, r.Failed, len(r.Runs), plural(len(r.Runs), "run", "runs"))
		default:
			status = cmp.Or(status, exitDiffer)
			a.out.say("%s: %s: %s", name, verdict, runs)
		}
	}
	if len(reports) > 1 {
		var parts []string
		for _, verdict := range []string{"equal", "traces differ", "trees differ", "failed"} {
			if verdicts[verdict] > 0 {
				parts = append(parts, fmt.Sprintf("%s: %d", verdict, verdicts[verdict]))
			}
		}
		a.out.say("%s", strings.Join(parts, ", "))
	}
	if status != 0 {
		return exitStatus(status)
	}
	return incomplete
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
