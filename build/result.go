package build

import (
	"errors"
	"os"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/plan"
)

// Result is what became of one step.
type Result struct {
	Step *plan.Step
	// Realizations are those selected; none when Err is set, or in a dry run when the step would be built.
	Realizations []artifact.Realization
	// Cached tells that no build was run for it; Built is what the runs gave, one a run.
	Cached bool
	Built  []artifact.RealizationID
	// Duration is how long its realization took.
	Duration time.Duration
	// Err is a *Failure, *Skipped, *Unrealized, *MatchError, *UnsatisfiedError, *SeveralError or what kept the build from running.
	Err error

	rejected []match.Rejection
}

// Unselected reports whether builds were run and the matcher took none of what they gave.
func (r Result) Unselected() bool {
	return len(r.Built) > 0 && len(r.Realizations) > 0 &&
		!slices.ContainsFunc(r.Realizations, func(c artifact.Realization) bool { return slices.Contains(r.Built, c.ID) })
}

// report sends the event of a result.
func (b *Builder) report(r *Result) {
	if b.Events == nil {
		return
	}
	e := Event{Event: "build.done", Status: "built", Seconds: r.Duration.Seconds()}
	var failure *Failure
	var skipped *Skipped
	switch {
	case errors.As(r.Err, &skipped):
		e.Status, e.Error = "skipped", r.Err.Error()
	case errors.As(r.Err, &failure):
		e.Status, e.Error, e.Kind = "failed", r.Err.Error(), failure.Kind
	case r.Err != nil:
		e.Status, e.Error = "failed", r.Err.Error()
	case r.Cached:
		e.Status = "cached"
	}
	if len(r.Built) > 0 && (errors.As(r.Err, new(*MatchError)) || errors.As(r.Err, new(*UnsatisfiedError))) {
		e.Realization = r.Built[len(r.Built)-1].String()
	}
	if len(r.Realizations) > 0 {
		e.Realization = r.Realizations[0].ID.String()
		e.Path = b.Store.OutPath(r.Realizations[0].ID)
	}
	b.send(r.Step, e)
}

// Paths returns where a person finds the selected realizations: the public path where that leads to the only one, else
// the places in the store.
func (b *Builder) Paths(r Result) []string {
	var paths []string
	for _, realization := range r.Realizations {
		paths = append(paths, b.Store.OutPath(realization.ID))
	}
	if len(paths) == 1 {
		public := b.Store.PublicPath(&r.Step.Derivation)
		there, err1 := os.Stat(public)
		chosen, err2 := os.Stat(paths[0])
		if err1 == nil && err2 == nil && os.SameFile(there, chosen) {
			return []string{public}
		}
	}
	return paths
}
