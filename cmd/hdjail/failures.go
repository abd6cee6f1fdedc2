package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/build"
)

// failuresError is the first failure of a plan, with all results that have an error.
type failuresError struct {
	first   error
	results []build.Result
}

// Error implements error.
func (e *failuresError) Error() string { return e.first.Error() }

// Unwrap returns the first failure.
func (e *failuresError) Unwrap() error { return e.first }

// failures adds to the error of a plan those of its results. A plan that was interrupted has nothing to add.
func failures(err error, results []build.Result) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e := &failuresError{first: err}
	for _, r := range results {
		if r.Step != nil && r.Err != nil {
			e.results = append(e.results, r)
		}
	}
	return e
}

// problems diagnoses an error: the first failure, and then the others; what was skipped is none.
func problems(err error) []problem {
	list := []problem{diagnose(err)}
	var all *failuresError
	if !errors.As(err, &all) {
		return list
	}
	for _, r := range all.results {
		if !errors.As(r.Err, new(*build.Skipped)) && !errors.Is(all.first, r.Err) {
			list = append(list, ownLog(r.Err))
		}
	}
	if len(list) > 1 {
		list[0].Help = ownLog(err).Help
	}
	return list
}

// ownLog diagnoses one failure of several: --failed is about the last one only.
func ownLog(err error) problem {
	p := diagnose(err)
	if f := (*build.Failure)(nil); errors.As(err, &f) {
		p.Help = slices.DeleteFunc(p.Help, func(line string) bool { return strings.Contains(line, " --failed") })
		p.Help = append(p.Help, "log: hdjail log "+f.ID.String())
	}
	return p
}

// failed is a step without a realization, as it is printed.
type failed struct {
	Name       string                `json:"name"`
	Version    string                `json:"version"`
	Derivation artifact.DerivationID `json:"derivation"`
	// Skipped tells that the error is that of another step.
	Skipped bool   `json:"skipped"`
	Code    string `json:"code"`
	Error   string `json:"error"`
}

// printFailures prints what failed and what was skipped as data.
func (a *app) printFailures(err error) error {
	var all *failuresError
	if !errors.As(err, &all) {
		return nil
	}
	for _, r := range all.results {
		cause, skipped := r.Err, (*build.Skipped)(nil)
		if errors.As(r.Err, &skipped) {
			cause = skipped.Err
		}
		p, d := diagnose(cause), r.Step.Derivation
		if err := a.out.jsonLine(failed{d.Name, d.Version, r.Step.ID, skipped != nil, p.Code, p.Text}); err != nil {
			return err
		}
	}
	return nil
}
