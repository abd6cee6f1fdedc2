package page

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path"
	"slices"
	"strings"

	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/policies/audit/report"
)

//go:embed page.html
var pageTemplate string

//go:embed page.css
var style string

//go:embed page.js
var script string

// Bounds of what is in the markup, so that it stays readable without the script, which has everything.
const (
	maxGroups = 40
	maxFiles  = 12
	// maxOpen is how many files are shown without a click.
	maxOpen = 16
)

// content is what the template shows.
type content struct {
	Policy   template.HTMLAttr
	Style    template.CSS
	Script   template.JS
	Version  string
	Name     string
	Header   audit.Header
	Start    string
	Duration string
	Findings []finding
	// More counts the groups that are left out of Findings.
	More     int
	Verdicts []verdictCount
	Observed []string
	Events   []string
	Data     *data
}

// verdictCount is a tile.
type verdictCount struct {
	Verdict policies.Verdict
	Unique  int64
	Means   string
}

// finding is what was wanted of one package, or what else has to be looked at.
type finding struct {
	Title, Detail string
	Paths         int
	Accesses      int64
	Counts        []verdictCount
	Files         []file
	More          int
	Open          bool
}

// file is a line of a finding.
type file struct {
	Verdict  policies.Verdict
	Op, Path string
	// Story says who was first, and when.
	Story string
}

var means = map[policies.Verdict]string{
	policies.Leaked:  "outside the whitelist, and visible",
	policies.Hidden:  "outside the whitelist; the host has it",
	policies.Unknown: "which file cannot be told",
	policies.Denied:  "refused write, permission or call",
	policies.Absent:  "exists nowhere",
	policies.Allowed: "inside the whitelist",
}

// Write writes the report of an audit as HTML. Version is that of hdjail.
func Write(w io.Writer, a *audit.Audit, version string) error {
	t, err := template.New("page").Funcs(template.FuncMap{"escape": report.Escape, "package": packageName}).Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := t.Execute(out, newContent(a, version)); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	return out.Flush()
}

func newContent(a *audit.Audit, version string) *content {
	h := a.Header
	c := &content{Policy: template.HTMLAttr(`content="` + policy() + `"`), Style: template.CSS(style), Script: template.JS(script),
		Version: version, Header: h, Start: h.Start.UTC().Format("2006-01-02 15:04:05 UTC"), Duration: report.Seconds(h.Duration),
		Name: report.Escape(cmp.Or(strings.Join(h.Command, " "), h.Name, "a run")), Data: newData(a)}
	for _, v := range policies.Verdicts() {
		c.Verdicts = append(c.Verdicts, verdictCount{v, h.Counters.Verdicts[v], means[v]})
	}
	for _, o := range h.Observers {
		c.Observed = append(c.Observed, strings.TrimSpace(report.Escape(o.Name+" "+o.Version+" "+strings.Join(o.Guarantees, ", "))))
	}
	for _, e := range a.Events {
		c.Events = append(c.Events, report.Escape(strings.TrimSpace(report.Seconds(e.Time)+"  "+e.Name+"  "+e.Path+"  "+e.Detail)))
	}
	c.Findings, c.More = findings(a)
	return c
}

// policy is the content security policy: nothing is loaded, and only what is in this package is style or script.
func policy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + hash(style) + "; script-src " + hash(script)
}

func packageName(o audit.Owner) string { return report.Escape(report.PackageName(o)) }

// findings are the packages that files outside the whitelist belong to, then what is unknown and what was denied.
func findings(a *audit.Audit) (list []finding, more int) {
	describe, reasons := describer(a), report.Reasons(a)
	outside := report.Groups(report.Select(a, []policies.Verdict{policies.Leaked, policies.Hidden}), report.ByPackage)
	if more = len(outside) - maxGroups; more > 0 {
		outside = outside[:maxGroups]
	}
	for _, g := range outside {
		f := newFinding(g, describe)
		f.Title, f.Detail = report.Escape(g.Name), "host.paths: [...]"
		if f.Title == "" {
			f.Title = "of no package"
		} else {
			_, allow := reasons(g.Entries[0])
			f.Detail = report.Escape(allow)
		}
		list = append(list, f)
	}
	for _, v := range []policies.Verdict{policies.Unknown, policies.Denied} {
		for _, g := range report.Groups(report.Select(a, []policies.Verdict{v}), "") {
			f := newFinding(g, describe)
			f.Title = string(v)
			list = append(list, f)
		}
	}
	room := maxOpen
	for i := range list {
		room -= len(list[i].Files)
		list[i].Open = room >= 0
	}
	return list, max(more, 0)
}

// describer returns a function that tells who made an access first, when, and what is remarkable about it.
func describer(a *audit.Audit) func(audit.Access) string {
	programs := make(map[int]string, len(a.Processes))
	for _, p := range a.Processes {
		programs[p.ID] = fmt.Sprintf("by %s (pid %d) ", path.Base(p.Exe), p.PID)
	}
	return func(access audit.Access) string {
		text := programs[access.Process] + "at " + report.Seconds(access.First)
		if access.Reason != "" {
			text += ": " + access.Reason
		}
		return report.Escape(text)
	}
}

func newFinding(g report.Group, describe func(audit.Access) string) finding {
	f := finding{Paths: g.Paths, Accesses: g.Accesses}
	for _, v := range report.Reported() {
		if g.Counts[v] > 0 {
			f.Counts = append(f.Counts, verdictCount{Verdict: v, Unique: g.Counts[v]})
		}
	}
	slices.SortStableFunc(g.Entries, func(x, y audit.Access) int { return cmp.Compare(x.First, y.First) })
	for _, a := range g.Entries[:min(maxFiles, len(g.Entries))] {
		f.Files = append(f.Files, file{a.Verdict, string(a.Op), report.Escape(cmp.Or(a.Path, "(no path)")), describe(a)})
	}
	f.More = len(g.Entries) - len(f.Files)
	return f
}
