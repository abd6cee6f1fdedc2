// Package match has the matchers: pure functions that pick which realizations of a derivation are used, or ask for more
// builds. Candidates come in, an Answer goes out; nothing is opened here.
package match

import (
	"fmt"
	"slices"
	"strings"

	"hdjail/artifact"
)

// Matcher picks realizations.
type Matcher interface {
	// Match answers for the candidates, realizations of one derivation in one context. Their order does not matter.
	Match(candidates []artifact.Realization) (Answer, error)
	// String is the text that Parse makes the matcher from.
	String() string
}

// Answer is what a matcher says: the selection, or how many builds it needs first. One of the two is not empty.
type Answer struct {
	// Select is sorted.
	Select []artifact.RealizationID
	Need   int
}

// ManyError reports several candidates where a matcher accepts one. Candidates is sorted.
type ManyError struct{ Candidates []artifact.RealizationID }

// Error implements error.
func (e *ManyError) Error() string {
	ids := make([]string, len(e.Candidates))
	for i, id := range e.Candidates {
		ids[i] = id.String()
	}
	return fmt.Sprintf("match only: there are %d realizations: %s", len(ids), strings.Join(ids, ", "))
}

// ParseError reports text that is no matcher.
type ParseError struct{ Text, Reason string }

// Error implements error.
func (e *ParseError) Error() string { return fmt.Sprintf("parse matcher %q: %s", e.Text, e.Reason) }

// Parse reads the text form of a matcher. The empty text is "only". Any other gives *ParseError.
func Parse(text string) (Matcher, error) {
	switch strings.TrimSpace(text) {
	case "", "only":
		return only{}, nil
	}
	return nil, &ParseError{text, `it is none of "only"`}
}

// only accepts the one candidate there is, and asks for a build when there is none.
type only struct{}

func (only) String() string { return "only" }

func (only) Match(candidates []artifact.Realization) (Answer, error) {
	ids := ordinary(candidates)
	switch len(ids) {
	case 0:
		return Answer{Need: 1}, nil
	case 1:
		return Answer{Select: ids}, nil
	}
	return Answer{}, &ManyError{ids}
}

// ordinary lists the candidates that a matcher may take without being told to, sorted: all but those that only checks made.
func ordinary(candidates []artifact.Realization) []artifact.RealizationID {
	var ids []artifact.RealizationID
	for _, c := range candidates {
		notCheck := func(r artifact.BuildRecord) bool { return r.Purpose != "check" }
		if slices.ContainsFunc(c.Records, notCheck) {
			ids = append(ids, c.ID)
		}
	}
	slices.SortFunc(ids, func(a, b artifact.RealizationID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
