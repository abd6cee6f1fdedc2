package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// measure is one row of the table.
type measure struct {
	name      string
	got, of   int
	gate      float64 // the least share; for none, -1
	reported  string  // instead of a share
	forbidden bool    // got has to be 0
}

func (m measure) share() float64 {
	if m.of == 0 {
		return 1
	}
	return float64(m.got) / float64(m.of)
}

func (m measure) met() bool {
	if m.forbidden {
		return m.got == 0
	}
	return m.share() >= m.gate
}

// measures are the gates of docs/design.md for a result. outcome is the least share of equal outcomes, which depends on the
// observer: what it infers may be wrong now and then.
func (r result) measures(d *document) []measure {
	outcome := 1.0
	if slices.ContainsFunc(d.Observers, func(o struct{ Name string }) bool { return o.Name == "notification" }) {
		outcome = 0.999
	}
	incomplete := 0
	if !*d.Complete {
		incomplete = 1
	}
	return []measure{
		{name: "event recall", got: r.matched, of: r.events, gate: 0.999},
		{name: "unique-path recall", got: r.uniqueMatched, of: r.unique, gate: 1},
		{name: "recall outside the whitelist", got: r.outsideMatched, of: r.outside, gate: 1},
		{name: "agreement of verdicts", got: r.sameVerdict, of: r.judged, gate: 1},
		{name: "agreement of outcomes", got: r.agreed, of: r.compared, gate: outcome},
		{name: "agreement of processes", got: r.rightly, of: r.attributed, gate: 1},
		{name: "unexplained entries", got: r.unexplained, forbidden: true},
		{name: "explained entries", got: r.explained, gate: -1},
		{name: "unreadable paths", got: r.unreadable, gate: -1},
		{name: "paths not in normal form", got: r.odd, forbidden: true},
		{name: "lost", got: int(d.Lost), forbidden: true},
		{name: "incomplete", got: incomplete, forbidden: true, reported: strings.Join(d.IncompleteReasons, "; ")},
		{name: "restarted", got: int(d.Counters.Restarted), gate: -1},
		{name: "aborted", got: int(d.Counters.Aborted), gate: -1},
		{name: "canaries missing", got: int(d.Counters.CanariesSent - d.Counters.CanariesSeen), forbidden: true},
	}
}

// shownDifferences bounds what is printed of each kind.
const shownDifferences = 15

// print writes the table and what differs, and reports whether all gates are met.
func (r result) print(out io.Writer, d *document, list []measure) bool {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	met := r.events > 0
	fmt.Fprintf(w, "mode %s\tgot\tof\tshare\tgate\t\n", d.Mode)
	for _, m := range list {
		met = met && m.met()
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t\n", m.name, m.got, m.columns(), m.reported)
	}
	w.Flush()
	shown := map[string]int{}
	for _, difference := range r.differences {
		shown[difference.what]++
		switch n := shown[difference.what]; {
		case n <= shownDifferences:
			fmt.Fprintf(out, "%s: %d x %s\n", difference.what, difference.count, difference.text)
		case n == shownDifferences+1:
			fmt.Fprintf(out, "%s: and more\n", difference.what)
		}
	}
	return met
}

func (m measure) columns() string {
	verdict := func() string {
		if m.met() {
			return "met"
		}
		return "MISSED"
	}
	switch {
	case m.forbidden:
		return "\t\t0: " + verdict()
	case m.gate < 0:
		return "\t\t"
	}
	return fmt.Sprintf("%d\t%.5f\t%g: %s", m.of, m.share(), m.gate, verdict())
}

func describe(k key, outcomes counts) string {
	var parts []string
	for errno, count := range outcomes {
		if errno == "" {
			errno = "ok"
		}
		parts = append(parts, fmt.Sprintf("%s*%d", errno, count))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	return k.op + " " + quote(k.path) + " " + strings.Join(parts, " ")
}

// quote shows a path on one line.
func quote(path string) string {
	quoted := strconv.Quote(path)
	return quoted[1 : len(quoted)-1]
}
