package build

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"hdjail/artifact"
	"hdjail/build/spec"
	"hdjail/policies/audit"
)

// Failure is a build that ran and gave no realization. Error is one line; Details is what a person wants to see next.
type Failure struct {
	ID   artifact.DerivationID
	Name string
	// Spec is where the build comes from, nil where that is not known.
	Spec *spec.Spec
	// Kind is that of the build record: "exit", "illegal-access", "incomplete", "promise", "output", "timeout" or "limits".
	Kind string
	// Reason ends the sentence "build NAME …".
	Reason string
	// Exit is the exit status of the script, 128+n when signal n ended it.
	Exit int
	// Promises are those that were not kept.
	Promises []string
	// LogTail are the last lines of the log, without control characters.
	LogTail []string
	// Record is the number of the build record, Kept the directory of what the build left, empty when it was removed.
	Record int
	Kept   string
	// Outside are accesses outside the whitelist, with the Processes that they name, for "illegal-access".
	Outside   []audit.Access
	Processes []audit.Process
	// Remembered is when the run ended, if it was one of an earlier plan that was not repeated; else zero.
	Remembered time.Time
	// Cached tells that nothing was run: the failure is that of a realization that is there.
	Cached bool
	// Err is the cause, where there is one.
	Err error
}

// Error implements error: one line, without the log.
func (e *Failure) Error() string { return fmt.Sprintf("build %s %s", e.Name, e.Reason) }

// Unwrap returns the cause, or nil.
func (e *Failure) Unwrap() error { return e.Err }

// Details returns the last lines of the log, and where to look next.
func (e *Failure) Details() string {
	var b strings.Builder
	for _, line := range e.LogTail {
		fmt.Fprintf(&b, "  | %s\n", line)
	}
	if e.Kept != "" {
		fmt.Fprintf(&b, "kept: %s\n", e.Kept)
	}
	fmt.Fprintf(&b, "log: hdjail log %s\n", e.ID)
	if e.Kept == "" {
		b.WriteString("help: --keep-failed keeps what the build left; ")
	} else {
		b.WriteString("help: ")
	}
	b.WriteString("hdjail shell --failed enters the jail of the failed build\n")
	return b.String()
}

// Skipped is a step that was not started, because one that it depends on failed, or because another build did and the
// caller wants to stop then. Err is that failure.
type Skipped struct {
	Name string
	Err  error
}

// Error implements error: one line.
func (e *Skipped) Error() string { return fmt.Sprintf("skip %s: %v", e.Name, e.Err) }

// Unwrap returns the failure.
func (e *Skipped) Unwrap() error { return e.Err }

// Unrealized is a step without a realization, where none may be built.
type Unrealized struct {
	ID   artifact.DerivationID
	Name string
}

// Error implements error: one line.
func (e *Unrealized) Error() string {
	return fmt.Sprintf("realize %s: no realization of %s is there, and none may be built", e.Name, e.ID)
}

// printable makes a line of a log fit for a terminal: what could move the cursor or hide text is shown as an escape.
func printable(line string) string {
	line = strings.TrimSuffix(line, "\r")
	clean := func(r rune) bool { return (r == '\t' || unicode.IsPrint(r)) && r != unicode.ReplacementChar }
	if strings.IndexFunc(line, func(r rune) bool { return !clean(r) }) < 0 {
		return line
	}
	var b strings.Builder
	for i, r := range line {
		switch {
		case clean(r):
			b.WriteRune(r)
		case r == unicode.ReplacementChar:
			fmt.Fprintf(&b, "\\x%02x", line[i])
		case r < 0x100:
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
