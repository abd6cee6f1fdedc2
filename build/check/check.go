package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/build/check/differ"
	"hdjail/build/plan"
	"hdjail/build/spec"
	"hdjail/build/trace"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// Request is one run, for the process that does it.
type Request struct {
	Derivation artifact.DerivationID `json:"derivation"`
	// Mode and Limits are no part of a derivation that is found by its ID.
	Mode   policies.Mode `json:"mode"`
	Limits spec.Limits   `json:"limits"`
	// Chosen is what the run uses of everything below.
	Chosen map[artifact.DerivationID][]artifact.RealizationID `json:"chosen,omitempty"`
	// Jobs is what $JOBS was in the first run, 0 where that is not known.
	Jobs     int           `json:"jobs,omitempty"`
	LockWait time.Duration `json:"lock_wait,omitempty"`
	// Sources tells that the build has some.
	Sources bool        `json:"sources,omitempty"`
	Caller  Caller      `json:"caller"`
	Rerun   build.Rerun `json:"rerun"`
}

// Outcome is what a run's process says of it. Failure is the message of a build that failed, empty for one that did not.
type Outcome struct {
	Record    int    `json:"record"`
	Failure   string `json:"failure,omitempty"`
	Reordered bool   `json:"reordered,omitempty"`
	Kept      string `json:"kept,omitempty"`
}

// Report is what a check has found. Its runs are those that it made, in their order.
type Report struct {
	Name       string                `json:"name"`
	Version    string                `json:"version,omitempty"`
	Derivation artifact.DerivationID `json:"derivation"`
	// Path is the public path of the derivation.
	Path string `json:"path"`
	// Realization is what the runs are compared with, and Tree its digest.
	Realization artifact.RealizationID `json:"realization"`
	Tree        artifact.TreeDigest    `json:"tree"`
	Runs        []Run                  `json:"runs"`
	// Trees is how many different trees there are, the first one included; Failed how many runs failed.
	Trees  int `json:"trees"`
	Failed int `json:"failed"`
	// Traces is how many runs did something else than the first one.
	Traces int `json:"traces"`
	// Untraced says which runs have no record of what they did, so that their traces were not compared. Incomplete says why
	// something may be missing from the records that there are.
	Untraced   []string `json:"untraced,omitempty"`
	Incomplete []string `json:"incomplete,omitempty"`
	// OrderKept tells that the build has sources, and that no run saw their directories in another order.
	OrderKept bool `json:"order_kept,omitempty"`
}

// Verdict is "equal", "trees differ", "traces differ" or "failed".
func (r *Report) Verdict() string {
	switch {
	case r.Failed > 0:
		return "failed"
	case r.Trees > 1:
		return "trees differ"
	case r.Traces > 0:
		return "traces differ"
	}
	return "equal"
}

// Run is one run of a check. A failed one has no realization.
type Run struct {
	Record      int                    `json:"record"`
	Realization artifact.RealizationID `json:"realization,omitzero"`
	Tree        artifact.TreeDigest    `json:"tree,omitzero"`
	Failure     string                 `json:"failure,omitempty"`
	Start       time.Time              `json:"start"`
	Seconds     float64                `json:"seconds"`
	Varied      []Variation            `json:"varied"`
	// Differences are those of its tree from the first one; More tells that some were left out.
	Differences []differ.Difference `json:"differences,omitempty"`
	More        bool                `json:"more,omitempty"`
	// Trace is how what it did differs from what the first run did; nil for not at all.
	Trace *trace.Difference `json:"trace,omitempty"`
	// Kept is its build directory, if that was kept.
	Kept string `json:"kept,omitempty"`
}

// Checker checks steps. Its fields are set once.
type Checker struct {
	Store *store.Store
	// Start does a run in a process of its own, which is started as Request.Caller says.
	Start   func(context.Context, Request) (Outcome, error)
	Now     func() time.Time
	Machine Machine
}

// Subject is what is checked.
type Subject struct {
	Step *plan.Step
	// First is the realization that the runs are compared with. Chosen are the realizations of everything below it.
	First  artifact.Realization
	Chosen map[artifact.DerivationID][]artifact.RealizationID
	// Runs is how many there are to be, at least 1.
	Runs int
	// Scratch and Keep are those of build.Rerun.
	Scratch  string
	Keep     bool
	LockWait time.Duration
}

// Check runs the build of a subject again and compares. An error is one of a run that could not be made; a build that failed
// is in the report.
func (c *Checker) Check(ctx context.Context, s Subject) (*Report, error) {
	d := &s.Step.Derivation
	r := &Report{Name: d.Name, Version: d.Version, Derivation: s.Step.ID, Path: c.Store.PublicPath(d), Realization: s.First.ID, Tree: s.First.Tree}
	first, jobs, err := c.firstAudit(s.First)
	if err != nil {
		return r, err
	}
	if first == nil {
		r.Untraced = append(r.Untraced, "the first run has no record of what it did")
	} else {
		r.incomplete("the first run", first)
	}
	last := s.First.Records[0].End
	r.OrderKept = len(d.Sources) > 0
	for i := range s.Runs {
		caller, rerun := c.Machine.vary(i, s.Step.Mode)
		rerun.Scratch, rerun.Keep, rerun.Expected = s.Scratch, s.Keep, s.First.Tree
		req := Request{Derivation: s.Step.ID, Mode: s.Step.Mode, Limits: s.Step.Limits, Chosen: s.Chosen, Jobs: jobs, LockWait: s.LockWait,
			Sources: len(d.Sources) > 0, Caller: caller, Rerun: rerun}
		run, err := c.run(ctx, req, s.First.Records[0].End, last)
		if err != nil {
			return r, err
		}
		r.Runs = append(r.Runs, run)
		r.OrderKept = r.OrderKept && !slices.ContainsFunc(run.Varied, func(v Variation) bool { return v.What == sourceOrder && v.Varied })
		last = c.Now()
	}
	return r, c.compare(ctx, r, baseline{first, d.Prefix})
}

// run does one run, in another second than the one before it ended in.
func (c *Checker) run(ctx context.Context, req Request, first, last time.Time) (Run, error) {
	timer := time.NewTimer(untilAnotherSecond(c.Now(), last))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return Run{}, context.Cause(ctx)
	}
	start := c.Now()
	outcome, err := c.Start(ctx, req)
	if err != nil {
		return Run{}, err
	}
	run := Run{Record: outcome.Record, Failure: outcome.Failure, Kept: outcome.Kept, Start: start, Seconds: c.Now().Sub(start).Seconds(),
		Varied: c.Machine.variations(req, outcome, first, start)}
	record, err := c.record(req.Derivation, outcome.Record)
	if err != nil {
		return run, err
	}
	run.Realization, run.Tree = record.Realization, record.Tree
	return run, nil
}

func (c *Checker) record(id artifact.DerivationID, number int) (artifact.BuildRecord, error) {
	records, err := c.Store.Records(id)
	for _, r := range records {
		if r.Number == number {
			return r, nil
		}
	}
	return artifact.BuildRecord{}, cmp.Or(err, error(&store.NotFoundError{What: "build record", Name: fmt.Sprintf("%s/%d", id, number)}))
}

// firstAudit is the oldest audit of a realization, nil when there is none, and the $JOBS of its run.
func (c *Checker) firstAudit(r artifact.Realization) (*audit.Audit, int, error) {
	for _, record := range r.Records {
		a, err := c.audit(record)
		if a != nil || err != nil {
			return a, record.Jobs, err
		}
	}
	return nil, r.Records[0].Jobs, nil
}

// audit is that of a run, nil when it has none.
func (c *Checker) audit(record artifact.BuildRecord) (*audit.Audit, error) {
	file, err := c.Store.OpenAudit(record)
	if errors.As(err, new(*store.NotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a, err := audit.Read(file)
	if err != nil {
		return nil, fmt.Errorf("read the audit of run %d: %w", record.Number, err)
	}
	return a, nil
}

func (r *Report) incomplete(who string, a *audit.Audit) {
	for _, reason := range a.Header.IncompleteReasons {
		r.Incomplete = append(r.Incomplete, "the record of "+who+" is incomplete: "+reason)
	}
}

// baseline is the audit that others are compared with, nil if there is none, and the prefix of the store that the runs used.
type baseline struct {
	audit  *audit.Audit
	prefix string
}

// compare completes a report: every tree and trace is compared with the first.
func (c *Checker) compare(ctx context.Context, r *Report, first baseline) error {
	trees := map[artifact.TreeDigest]*Run{r.Tree: nil}
	for i := range r.Runs {
		run := &r.Runs[i]
		if run.Failure != "" {
			r.Failed++
			continue
		}
		if like, known := trees[run.Tree]; !known {
			var err error
			run.Differences, run.More, err = differ.Trees(ctx, c.Store.OutPath(r.Realization), c.Store.OutPath(run.Realization))
			if err != nil {
				return fmt.Errorf("compare run %d: %w", run.Record, err)
			}
			trees[run.Tree] = run
		} else if like != nil {
			run.Differences, run.More = like.Differences, like.More
		}
		if err := c.compareTrace(r, run, first); err != nil {
			return err
		}
	}
	r.Trees = len(trees)
	return nil
}

func (c *Checker) compareTrace(r *Report, run *Run, first baseline) error {
	record, err := c.record(r.Derivation, run.Record)
	if err != nil {
		return err
	}
	a, err := c.audit(record)
	if err != nil {
		return err
	}
	if a == nil {
		r.Untraced = append(r.Untraced, fmt.Sprintf("run %d has no record of what it did", run.Record))
		return nil
	}
	r.incomplete(fmt.Sprintf("run %d", run.Record), a)
	if first.audit == nil {
		return nil
	}
	before, after := trace.Settle(first.audit, a, first.prefix)
	if d := trace.Compare(before, after, first.prefix); !d.Equal() {
		run.Trace = &d
		r.Traces++
	}
	return nil
}

// Paths are what differs, sorted, each once: files of the tree by their public path, files that only some runs asked for by
// the path that they used, and the executables of commands that only some runs ran.
func (r *Report) Paths() []string {
	var list []string
	for _, run := range r.Runs {
		for _, d := range run.Differences {
			list = append(list, r.Path+"/"+d.Path)
		}
		if run.Trace == nil {
			continue
		}
		for _, a := range slices.Concat(run.Trace.OnlyA.Accesses, run.Trace.OnlyB.Accesses) {
			list = append(list, a.Path)
		}
		for _, p := range slices.Concat(run.Trace.OnlyA.Processes, run.Trace.OnlyB.Processes) {
			if p.Executable != "" {
				list = append(list, p.Executable)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
