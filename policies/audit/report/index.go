package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// index is an audit with what is looked up in it again and again.
type index struct {
	*audit.Audit
	processes map[int]*audit.Process
	// whitelisted are the names of the whitelisted packages.
	whitelisted map[string]bool
}

func newIndex(a *audit.Audit) *index {
	x := &index{a, make(map[int]*audit.Process, len(a.Processes)), map[string]bool{}}
	for i := range a.Processes {
		x.processes[a.Processes[i].ID] = &a.Processes[i]
	}
	for _, p := range a.Header.Whitelist.Packages {
		x.whitelisted[p.Package] = true
	}
	return x
}

// severity orders verdicts, the ones that matter most first.
func severity(v policies.Verdict) int { return slices.Index(policies.Verdicts(), v) }

// Reported are the verdicts that people look at: all but those of what was allowed and of what exists nowhere.
func Reported() []policies.Verdict {
	return slices.DeleteFunc(policies.Verdicts(), func(v policies.Verdict) bool { return v == policies.Allowed || v == policies.Absent })
}

// Select returns the audit with the accesses of the verdicts only; no verdicts stand for all. The header stays whole, and
// what is not changed is shared.
func Select(a *audit.Audit, verdicts []policies.Verdict) *audit.Audit {
	if len(verdicts) == 0 {
		return a
	}
	selected := *a
	selected.Accesses = nil
	for _, access := range a.Accesses {
		if slices.Contains(verdicts, access.Verdict) {
			selected.Accesses = append(selected.Accesses, access)
		}
	}
	return &selected
}

// place is the path of an access, or the call that it was where there is no path.
func place(a audit.Access) string {
	if a.Path == "" {
		return "(" + strings.Join(append(slices.Clone(a.Calls), "no path"), ", ") + ")"
	}
	return a.Path
}

// outcome is "ok" or the name of the errno.
func outcome(a audit.Access) string {
	if a.Errno == 0 {
		return "ok"
	}
	return audit.ErrnoName(a.Errno)
}

// by names the process of an access, and when it was; empty when that is unknown.
func (x *index) by(a audit.Access) string {
	at := " at " + Seconds(a.First)
	if p := x.processes[a.Process]; p != nil {
		return fmt.Sprintf("by %s (pid %d)%s", program(p), p.PID, at)
	}
	return strings.TrimSpace(at)
}

func program(p *audit.Process) string {
	if p.Exe == "" {
		return "?"
	}
	return path.Base(p.Exe)
}

// ownedBy is ` owned by PACKAGE VERSION`, or empty.
func ownedBy(a audit.Access) string {
	if len(a.Owners) == 0 {
		return ""
	}
	return "  owned by " + PackageName(a.Owners[0])
}

// PackageName is a package with its version.
func PackageName(o audit.Owner) string { return strings.TrimSpace(o.Package + " " + o.Version) }

// Seconds is a time since the beginning of a run, for people.
func Seconds(d time.Duration) string {
	if d < time.Second && d > 0 {
		return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) + " s"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

// plural is a number with its noun.
func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") {
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// commandLine is an argument list as one would type it in a shell: pasting it runs nothing else.
func commandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		if words[i] = word; word == "" || strings.ContainsFunc(word, meansMore) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// meansMore reports whether a shell may take a character for something else than itself.
func meansMore(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,@%", r)
	return !plain
}
