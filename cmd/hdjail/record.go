package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/build/jailplan"
	"hdjail/build/recording"
	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/policies/audit/report"
)

// recorder makes the records of this host.
func (a *app) recorder() (*recording.Recorder, error) {
	rules, err := a.siteRules()
	if err != nil {
		return nil, err
	}
	var name unix.Utsname
	_ = unix.Uname(&name) // it has no way to fail here
	return &recording.Recorder{Host: &observe.Lookups{}, Owners: a.owners, Rules: rules, Degraded: a.degraded, System: system(),
		Kernel: unix.ByteSliceToString(name.Release[:])}, nil
}

// owners opens the index of the host's packages. A host without a package database has no owners.
func (a *app) owners(ctx context.Context) (observe.Owners, error) {
	host, err := a.hostPackages()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := host.Index(ctx)
	if err != nil {
		return nil, err
	}
	return func(path string) (list []audit.Owner) {
		for _, o := range index.Owners(path) {
			name := strings.TrimSuffix(o.Package, ":"+runtime.GOARCH) // dpkg's names of architectures are Go's
			list = append(list, audit.Owner{Package: name, Version: o.Version, Architecture: o.Architecture})
		}
		return list
	}, nil
}

// siteFile is where an administrator says what holds for all records of a machine.
const siteFile = "/etc/hdjail/policy.yaml"

// siteRules are the rules that come with hdjail and those of the site; HDJAIL_SITE_POLICY names another file than the usual one, whose rules then come on
// top, so that nobody can shorten the list of what is never allowed.
func (a *app) siteRules() (rules []policies.PathRule, err error) {
	rules = policies.ShippedRules()
	files := []string{siteFile}
	if other := os.Getenv("HDJAIL_SITE_POLICY"); other != "" {
		files = append(files, a.absolute(other))
	}
	for i, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the policy of the site: %w", err)
		}
		site, err := policies.ParseSite(text)
		if err != nil {
			return nil, fmt.Errorf("read the policy of the site %q: %w", name, err)
		}
		rules = append(rules, site.Rules(a.home)...)
	}
	return rules, nil
}

// recordRun has the command of `hdjail run` recorded.
func (a *app) recordRun(ctx context.Context, c *jail.Config, v jailplan.View, o runOptions, args []string) (*recording.Record, error) {
	recorder, err := a.recorder()
	if err != nil {
		return nil, err
	}
	record, err := recorder.Start(ctx, c, recording.Subject{View: v, Command: args, Whitelist: recording.Whitelist(v, splitCommas(o.host), nil),
		Unowned: o.audit == "" && o.keep == nil && c.Mode != policies.ModeFail && !a.summarizes(o)})
	if err != nil || record == nil {
		return nil, err
	}
	// What is there if hdjail is killed. A pipe has one reader, who wants one document.
	if info, err := os.Stat(a.absolute(o.audit)); o.audit != "-" && (err != nil || info.Mode().IsRegular()) {
		err = a.writeAudit(o.audit, func(w io.Writer) error { return record.WriteUnfinished(w, "run", c.Mode) })
		if err != nil {
			return nil, errors.Join(err, record.Release())
		}
	}
	return record, nil
}

// finishRun completes the record and returns the exit status of `hdjail run`.
func (a *app) finishRun(o runOptions, record *recording.Record, mode policies.Mode, result jail.Result) (int, error) {
	if record == nil {
		return result.Exit, nil
	}
	if err := record.Finish("run", mode, result); err != nil {
		return exitRunFailed, err
	}
	if err := a.writeAudit(o.audit, record.WriteDocument); err != nil {
		return exitRunFailed, err
	}
	if o.keep != nil {
		if err := o.keep(record.WriteDocument); err != nil {
			return exitRunFailed, err
		}
	}
	h := record.Header
	if mode == policies.ModeFail && (record.OutsidePaths > 0 || !h.Complete) {
		return exitIllegal, &illegalRun{record: record}
	}
	a.tellOfRun(o, record.Digest())
	a.helpWriting(o, record.Notable)
	switch {
	case !h.Complete && o.strict:
		return exitRunFailed, &incompleteError{Name: "run", Reasons: h.IncompleteReasons}
	case !h.Complete:
		a.out.warn("the record is incomplete: %s", strings.Join(h.IncompleteReasons, "; "))
	}
	return result.Exit, nil
}

// summarizes reports whether `hdjail run` ends with a summary: for a person who watches, or who wants the record.
func (a *app) summarizes(o runOptions) bool {
	return !o.quiet && (o.audit != "" || isTerminal(a.out.people))
}

// tellOfRun ends `hdjail run`: with a summary, else with a line in mode log, which is there to tell, and with nothing in the
// modes that hide.
func (a *app) tellOfRun(o runOptions, x *audit.Audit) {
	switch {
	case a.summarizes(o):
		if remarkable(x) {
			a.summarize([]*audit.Audit{x}, 0, o.audit)
		}
	case !o.quiet && x.Header.Mode == string(policies.ModeLog):
		a.out.say("hdjail: the command used %d files of the host; --audit FILE tells which, and of which packages", leakedPaths(x))
	}
}

// helpWriting tells how to allow a write that was refused because the host is shown read-only.
func (a *app) helpWriting(o runOptions, accesses []audit.Access) {
	for _, x := range accesses {
		if x.Op.Changes() && x.Errno == int(unix.EROFS) && !strings.HasPrefix(x.Path, "/dev/") && !o.quiet {
			a.out.say("%s %s is read-only here; --rw DIR makes a directory writable, like --rw %s", a.out.paint(cyan, "help:"), escape(x.Path),
				escape(filepath.Dir(x.Path)))
			return
		}
	}
}

func leakedPaths(x *audit.Audit) int {
	paths := map[string]bool{}
	for _, access := range x.Accesses {
		if access.Verdict == policies.Leaked {
			paths[access.Path] = true
		}
	}
	return len(paths)
}

// maxSummary is how many lines are said of what was built.
const maxSummary = 25

// remarkable reports whether there is anything to say of an audit, which has what is notable of its accesses.
func remarkable(x *audit.Audit) bool {
	return !x.Header.Complete || slices.ContainsFunc(x.Accesses, func(access audit.Access) bool { return access.Outside() })
}

// summarize says what is notable in audits, in at most maxSummary lines: much of one, a line each of several, of which more
// were left out. name is how `hdjail audit` is told which a single one is; empty for by its ID.
func (a *app) summarize(audits []*audit.Audit, more int, name string) {
	if len(audits) == 1 {
		for _, line := range report.Summary(audits[0], report.SummaryOptions{Lines: maxSummary, Width: 160, Name: auditName(audits[0], name)}) {
			a.out.say("%s", line)
		}
		return
	}
	slices.SortFunc(audits, func(x, y *audit.Audit) int { return strings.Compare(x.Header.Name, y.Header.Name) })
	for i, x := range audits {
		if left := len(audits) + more - i; i == maxSummary-1 && left > 1 {
			a.out.say("and %d more", left)
			return
		}
		v := x.Header.Counters.Verdicts
		a.out.say("%s: %d accesses hidden, %d leaked, %d unknown, %d denied: hdjail audit %s", escape(x.Header.Name), v[policies.Hidden],
			v[policies.Leaked], v[policies.Unknown], v[policies.Denied], auditName(x, ""))
	}
}

// auditName is how `hdjail audit` is told which audit this is.
func auditName(x *audit.Audit, given string) string {
	switch {
	case given == "-":
		return ""
	case given != "":
		return given
	case x.Header.Realization != "":
		return x.Header.Realization
	case x.Header.Derivation != "":
		return "--failed"
	}
	return ""
}

// incompleteError is a record from which something may be missing.
type incompleteError struct {
	Name    string
	Reasons []string
}

func (e *incompleteError) Error() string {
	return fmt.Sprintf("the record of %s is incomplete: %s", e.Name, strings.Join(e.Reasons, "; "))
}

// illegalRun is a command of `hdjail run` that wanted something outside its whitelist in mode fail.
type illegalRun struct{ record *recording.Record }

func (e *illegalRun) Error() string {
	if e.record.OutsidePaths == 0 {
		return "the record of the command is incomplete (mode fail): " + strings.Join(e.record.Header.IncompleteReasons, "; ")
	}
	if e.record.OutsidePaths == 1 {
		return "the command asked for 1 file outside its whitelist (mode fail)"
	}
	return fmt.Sprintf("the command asked for %d files outside its whitelist (mode fail)", e.record.OutsidePaths)
}

// maxIllegal is how many accesses an error lists.
const maxIllegal = 12

// illegalDetails lists accesses outside a whitelist, a line a path, and names the packages that own them.
func illegalDetails(outside []audit.Access, processes []audit.Process) (lines, packages []string) {
	byID := map[int]audit.Process{}
	for _, p := range processes {
		byID[p.ID] = p
	}
	seen := map[string]bool{}
	for _, x := range outside {
		for _, o := range x.Owners {
			if !slices.Contains(packages, o.Package) {
				packages = append(packages, o.Package)
			}
		}
		if seen[x.Path] {
			continue
		}
		if seen[x.Path] = true; len(seen) > maxIllegal {
			continue
		}
		line := fmt.Sprintf("  %-7s %-5s %s  by %s (pid %d) at %.1f s", x.Verdict, x.Op, x.Path, filepath.Base(byID[x.Process].Exe),
			byID[x.Process].PID, x.First.Seconds())
		if len(x.Owners) > 0 {
			line += "   owned by " + x.Owners[0].Package + " " + x.Owners[0].Version
		}
		if x.Reason != "" {
			line += "   (" + x.Reason + ")"
		}
		lines = append(lines, line)
	}
	if n := len(seen) - maxIllegal; n > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", n))
	}
	return lines, packages
}

// writeAudit writes the record to a file; no name is no file.
func (a *app) writeAudit(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	if err := a.writeFile(name, write); err != nil {
		return fmt.Errorf("write audit %q: %w", name, err)
	}
	return nil
}
