package match

import (
	"fmt"
	"strings"

	"hdjail/artifact"
)

// ParseError reports text that is no matcher.
type ParseError struct{ Text, Reason string }

// Error implements error.
func (e *ParseError) Error() string { return fmt.Sprintf("parse matcher %q: %s", e.Text, e.Reason) }

// ManyError reports several candidates where a matcher accepts one. Candidates is sorted.
type ManyError struct{ Candidates []artifact.RealizationID }

// Error implements error.
func (e *ManyError) Error() string {
	return fmt.Sprintf("match only: there are %d realizations: %s", len(e.Candidates), join(e.Candidates))
}

// AbsentError reports an ID that is that of no candidate.
type AbsentError struct{ ID, Reason string }

// Error implements error.
func (e *AbsentError) Error() string { return fmt.Sprintf("match exact %s: %s", e.ID, e.Reason) }

// AnswerError reports a script whose answer makes no sense.
type AnswerError struct{ File, Reason string }

// Error implements error.
func (e *AnswerError) Error() string { return fmt.Sprintf("match script(%s): %s", e.File, e.Reason) }

// Attested is a tree digest with the builders that had it.
type Attested struct {
	Tree     artifact.TreeDigest
	Builders []artifact.Builder
}

// QuorumError reports that no tree, or more than one, was had by enough builders.
type QuorumError struct {
	Wanted int
	// Trees are all of them, most builders first.
	Trees []Attested
}

// Error implements error.
func (e *QuorumError) Error() string {
	reached := 0
	for _, t := range e.Trees {
		if len(t.Builders) >= e.Wanted {
			reached++
		}
	}
	if reached > 1 {
		return fmt.Sprintf("match quorum(%d): %d different trees have as many builders", e.Wanted, reached)
	}
	return fmt.Sprintf("match quorum(%d): no tree has as many builders, and this builder has built already", e.Wanted)
}

// Details are lines, one a tree.
func (e *QuorumError) Details() []string {
	var lines []string
	for _, t := range e.Trees {
		lines = append(lines, fmt.Sprintf("  %s  %s", t.Tree, builders(t.Builders)))
	}
	return lines
}

func join(ids []artifact.RealizationID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ", ")
}

func builders(list []artifact.Builder) string {
	texts := make([]string, len(list))
	for i, b := range list {
		texts[i] = fmt.Sprintf("%s (uid %d)", b.Host, b.UID)
	}
	return strings.Join(texts, ", ")
}
