package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/artifact/store"
	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/policies/audit/page"
	"hdjail/policies/audit/report"
)

func auditCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "show which files a run touched, and what that means", ArgsUsage: "[ID|PATH|FILE]",
		UsageText: "hdjail audit --last\nhdjail audit zlib.yaml --html zlib.html\nhdjail audit a.json --verdict hidden --by package\n" +
			"hdjail audit mf2x --explain /usr/include/zlib.h\nhdjail audit mf2x --output\nhdjail audit diff a.json b.json",
		Description: "FILE is an audit in any of its forms, - is standard input; without an argument it is the audit of the last run. " +
			"Verdicts are leaked, hidden, unknown, denied, absent and allowed; --by shows the first four unless --verdict says otherwise. " +
			"A record that is not complete is a warning, a file that ends early ends with 10. In CSV an apostrophe stands before what a " +
			"spreadsheet would take for a formula.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "last", Usage: "the last run of all, the default"},
			&cli.BoolFlag{Name: "failed", Usage: "the last run that failed"},
			jsonFlag(),
			&cli.StringSliceFlag{Name: "verdict", Usage: "only accesses of the verdicts `V`, separated by commas, one access a line (repeatable)"},
			&cli.StringFlag{Name: "by", Usage: "group accesses by `WHAT`: package, process or directory"},
			&cli.StringFlag{Name: "explain", Usage: "tell all that is known of `PATH`, and what would allow it"},
			&cli.BoolFlag{Name: "output", Usage: "tell which libraries, interpreters and absolute paths the output of a build needs or names"},
			&cli.StringFlag{Name: "html", Usage: "write a report that browsers show, without a network, to `FILE`"},
			&cli.StringFlag{Name: "sarif", Usage: "write what is to be looked at as SARIF 2.1.0 to `FILE`"},
			&cli.StringFlag{Name: "csv", Usage: "write the accesses as CSV to `FILE`"},
		},
		Action: a.showAudit,
		Subcommands: []*cli.Command{{
			Name: "diff", Usage: "show what differs between two audits", ArgsUsage: "A B",
			UsageText:   "hdjail audit diff a.json b.json\nhdjail audit diff --json mf2x qojq",
			Description: "A and B are like the argument of hdjail audit. Counts, times and processes are not compared. Ends with 0 if nothing differs, with 7 otherwise.",
			Flags:       []cli.Flag{jsonFlag()}, Action: a.diffAudits,
		}},
	}
}

func (a *app) showAudit(c *cli.Context) error {
	if c.NArg() > 1 || c.NArg() == 1 && (c.Bool("last") || c.Bool("failed")) {
		return usagef("hdjail audit wants one ID, path or file, or --last or --failed", "hdjail audit diff A B compares two")
	}
	view, err := newAuditView(c)
	if err != nil {
		return err
	}
	found, err := a.findAudit(c)
	if found == nil {
		return err
	}
	a.warnOf(found, err)
	if c.Bool("output") {
		return errors.Join(a.printOutput(found, c.Bool("json")), truncated(err))
	}
	found = report.Select(found, view.verdicts)
	if err := errors.Join(a.writeReports(c, found), a.printAudit(c, found, view)); err != nil {
		return err
	}
	return truncated(err)
}

// auditView says what is printed of an audit.
type auditView struct {
	verdicts []policies.Verdict
	by       report.By
	explain  string
	// summary tells that none of the other views was asked for, files that a file was.
	summary, files bool
}

func newAuditView(c *cli.Context) (auditView, error) {
	v := auditView{by: report.By(c.String("by")), explain: c.String("explain")}
	for _, name := range splitCommas(c.StringSlice("verdict")) {
		verdict := policies.Verdict(name)
		if !verdict.Known() {
			return v, usagef("--verdict is "+quote(name), "there are "+joined(policies.Verdicts()))
		}
		v.verdicts = append(v.verdicts, verdict)
	}
	switch kinds := []report.By{report.ByPackage, report.ByProcess, report.ByDirectory}; {
	case v.by != "" && !slices.Contains(kinds, v.by):
		return v, usagef("--by is "+quote(string(v.by)), "there are "+joined(kinds))
	case v.by != "" && v.explain != "":
		return v, usagef("--by groups accesses, and --explain shows those of one path", "leave out one of them")
	}
	v.files = c.String("html")+c.String("sarif")+c.String("csv") != ""
	v.summary = v.by == "" && v.explain == "" && len(v.verdicts) == 0
	if v.by != "" && len(v.verdicts) == 0 {
		v.verdicts = report.Reported()
	}
	return v, nil
}

func joined[S ~string](list []S) string {
	var words []string
	for _, s := range list {
		words = append(words, string(s))
	}
	return strings.Join(words, ", ")
}

// printAudit prints what was asked for; nothing if that is only files.
func (a *app) printAudit(c *cli.Context, found *audit.Audit, v auditView) error {
	asJSON := c.Bool("json")
	switch {
	case v.explain != "":
		e := report.Explain(found, v.explain)
		return a.out.show(asJSON, e, func() { a.out.lines(slices.Values(e.Lines())) })
	case v.by != "":
		groups := report.Groups(found, v.by)
		return a.out.show(asJSON, groups, func() {
			for _, g := range groups {
				a.out.lines(g.Lines())
			}
		})
	case asJSON:
		return found.WriteDocument(a.out.data)
	case v.files:
		return nil
	case v.summary:
		name := cmp.Or(c.Args().First(), "--last")
		switch {
		case name == "-":
			name = "" // it cannot be read twice
		case c.Bool("failed"):
			name = "--failed"
		}
		a.out.lines(slices.Values(report.Summary(found, report.SummaryOptions{Name: name})))
		return nil
	}
	a.out.lines(report.Lines(found))
	return nil
}

// writeReports writes the files that were asked for.
func (a *app) writeReports(c *cli.Context, found *audit.Audit) error {
	for _, r := range []struct {
		flag  string
		write func(io.Writer) error
	}{
		{"html", func(w io.Writer) error { return page.Write(w, found, version) }},
		{"sarif", func(w io.Writer) error { return report.WriteSARIF(w, found, version) }},
		{"csv", func(w io.Writer) error { return report.WriteCSV(w, found) }},
	} {
		file := c.String(r.flag)
		if file == "" {
			continue
		}
		if err := a.writeFile(file, r.write); err != nil {
			return err
		}
		if file != "-" {
			a.out.say("wrote %s", escape(file))
		}
	}
	return nil
}

func (a *app) diffAudits(c *cli.Context) error {
	if c.NArg() != 2 {
		return usagef("hdjail audit diff wants two audits", "each is an ID, a path or a file")
	}
	var sides [2]*audit.Audit
	var early error
	for i, name := range c.Args().Slice() {
		found, err := a.openAudit(c, name)
		if found == nil {
			return err
		}
		a.warnOf(found, err)
		sides[i], early = found, cmp.Or(err, early)
	}
	d := report.Compare(sides[0], sides[1])
	if err := a.out.show(c.Bool("json"), d, func() { a.out.lines(slices.Values(d.Lines())) }); err != nil {
		return err
	}
	if !d.Equal() {
		return exitStatus(exitDiffer)
	}
	return truncated(early)
}

// truncated is the end of a verb that has shown what there is of an audit.
func truncated(err error) error {
	if err != nil {
		return exitStatus(exitIncomplete)
	}
	return nil
}

// warnOf warns of a record that is not complete, and of a file that ends early.
func (a *app) warnOf(found *audit.Audit, err error) {
	switch {
	case err != nil:
		a.out.warn("%v (HJ0072)", err)
	case !found.Header.Complete:
		a.out.warn("the record is not complete: %s", strings.Join(found.Header.IncompleteReasons, "; "))
	}
}

// findAudit is the audit that the command line names.
func (a *app) findAudit(c *cli.Context) (*audit.Audit, error) {
	if c.NArg() == 1 {
		return a.openAudit(c, c.Args().First())
	}
	s, err := a.storeToRead()
	if err != nil {
		return nil, err
	}
	return a.auditOf(s, store.Ref{}, c.Bool("failed"))
}

// openAudit reads the audit that a text names: of a run in the store, in a file, or on standard input. With an audit there
// may be *audit.TruncatedError, and no other error.
func (a *app) openAudit(c *cli.Context, text string) (*audit.Audit, error) {
	if text == "-" {
		return readAudit(a.stdin, "standard input")
	}
	if a.isAuditFile(text) {
		f, err := os.Open(a.absolute(text))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAudit(f, text)
	}
	s, err := a.storeToRead()
	if err != nil {
		return nil, err
	}
	ref, err := a.resolveID(c.Context, s, text)
	if err != nil {
		return nil, err
	}
	return a.auditOf(s, ref, false)
}

func (a *app) auditOf(s *store.Store, ref store.Ref, failed bool) (*audit.Audit, error) {
	record, err := findRecord(s, ref, failed)
	if err != nil {
		return nil, err
	}
	in, err := s.OpenAudit(record)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readAudit(in, record.Derivation.String())
}

// isAuditFile reports whether a text names a file, and neither a spec nor part of an artifact: so does one of a file that is
// not there, if it cannot be an ID.
func (a *app) isAuditFile(text string) bool {
	path := a.absolute(text)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir(), slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)), slices.Contains(specNames, filepath.Base(path)):
		return false
	case err != nil && strings.Trim(text, idLetters) == "":
		return false
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	s, err := a.storeToRead()
	return err != nil || strings.HasPrefix(filepath.Base(real), "audit.json") || storeName(s, real, "") == ""
}

// readAudit reads an audit, and drops one that is not whole for another reason than that its end is missing.
func readAudit(r io.Reader, name string) (*audit.Audit, error) {
	found, err := audit.Read(r)
	if err == nil {
		return found, nil
	}
	err = fmt.Errorf("show %q: %w", name, err)
	if errors.As(err, new(*audit.TruncatedError)) {
		return found, err
	}
	return nil, err
}
