package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/plan"
	"hdjail/build/recording"
	"hdjail/jail"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// startRecord has the run recorded.
func (r *run) startRecord(ctx context.Context, c *jail.Config) (err error) {
	if r.b.Recorder == nil {
		return nil
	}
	step := r.t.Step
	packages := make([]audit.Owner, len(step.Derivation.HostPackages))
	for i, p := range step.Derivation.HostPackages {
		packages[i] = audit.Owner{Package: p.Name, Version: p.Version, Architecture: p.Architecture, Digest: p.Digest.String()}
	}
	var requested []string
	if step.Spec != nil {
		requested = step.Spec.Host.Packages
	}
	s := recording.Subject{View: r.view, Derivation: step.ID.String(), Whitelist: recording.Whitelist(r.view, requested, packages)}
	if r.view.Mode == policies.ModeLog && len(packages) > 0 {
		tree, err := r.b.Host.Compose(ctx, pins(step.Derivation.HostPackages), nil)
		if err != nil {
			return err
		}
		s.Allowed = tree.Path
	}
	r.record, err = r.b.Recorder.Start(ctx, c, s)
	return err
}

// pending leaves word of the run for whoever comes after us if we are killed.
func (r *run) pending() error {
	if _, err := r.b.Store.PutDerivation(&r.t.Step.Derivation); err != nil {
		return err
	}
	f, err := r.unfinished("error", "was cut off: hdjail was killed")
	if err != nil {
		return err
	}
	r.begun = true
	return r.temp.Pending(f)
}

// unfinished is the record of a run that did not come to its end: a failure, with an audit that says it is not whole.
func (r *run) unfinished(kind, reason string) (store.Failure, error) {
	f := store.Failure{Record: r.buildRecord(), Log: r.logPath()}
	f.Record.Failure, f.Record.Message = kind, "build "+r.t.Step.Name()+" "+reason
	if r.record != nil {
		var text bytes.Buffer
		a := r.record.Unfinished(r.t.Step.Name(), r.view.Mode)
		if err := audit.Write(&text, a.Header, nil, a.All, audit.Rest{}); err != nil {
			return f, err
		}
		f.Audit = text.Bytes()
	}
	return f, nil
}

// cancelled records a run that the caller has ended.
func (r *run) cancelled(ctx context.Context) error {
	f, err := r.unfinished("cancelled", "was cancelled")
	if err == nil {
		_, err = r.b.Store.RecordFailure(context.WithoutCancel(ctx), f)
	}
	return err
}

// finishRecord completes the record of the run, and tells of it.
func (r *run) finishRecord(result jail.Result) error {
	if err := r.record.Finish(r.t.Step.Name(), r.view.Mode, result); err != nil {
		return fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	if r.record != nil {
		h := r.record.Header
		r.b.send(r.t.Step, Event{Event: "build.audit", Counts: h.Counters.Verdicts, Complete: &h.Complete, Reasons: h.IncompleteReasons})
	}
	return nil
}

// scanOutput puts on record what the output still needs of its surroundings, and warns of leaks.
func (r *run) scanOutput(ctx context.Context) error {
	found, err := r.record.ScanOutput(ctx, r.scratch.Out(), r.artifact())
	if err != nil {
		return fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	if n := found.Leaks(); n > 0 {
		r.b.send(r.t.Step, Event{Event: "build.leaks", Total: int64(n)})
	}
	return nil
}

// recorded reports whether the run has a record: not in mode off, nor when its jail did not start.
func (r *run) recorded() bool {
	return r.record != nil && (r.record.Header.Format != 0 || r.record.Header.Mode != "")
}

// audit is the audit's file, nil for none. realization is empty for a run that gave none.
func (r *run) audit(realization string) ([]byte, error) {
	if !r.recorded() {
		return nil, nil
	}
	r.record.Header.Realization = realization
	if r.b.Audited != nil {
		r.b.Audited(r.record.Digest())
	}
	var file bytes.Buffer
	if err := r.record.Write(&file); err != nil {
		return nil, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	return file.Bytes(), nil
}

// illegal is the failure of a run in mode fail that wanted something outside its whitelist, or whose record cannot say so;
// and of one whose record is incomplete where the caller wants it whole. Anything else gives nil.
func (r *run) illegal() *Failure {
	if r.record == nil {
		return nil
	}
	h := &r.record.Header
	if reason := illegalReason(r.view.Mode, h, r.record.OutsidePaths); reason != "" {
		f := r.failure("illegal-access", reason, nil)
		f.Outside, f.Processes = r.record.Outside, r.record.Processes
		return f
	}
	if r.b.Strict && !h.Complete {
		return r.failure("incomplete", "has an incomplete record: "+h.IncompleteReasons[0], nil)
	}
	return nil
}

// illegalReason says why a record fails a build in mode fail; empty when it does not. outside counts paths.
func illegalReason(mode policies.Mode, h *audit.Header, outside int) string {
	switch {
	case mode != policies.ModeFail:
	case outside == 1:
		return "asked for 1 file outside its whitelist (mode fail)"
	case outside > 0:
		return fmt.Sprintf("asked for %d files outside its whitelist (mode fail)", outside)
	case !h.Complete:
		return "has an incomplete record (mode fail): " + h.IncompleteReasons[0]
	}
	return ""
}

// consult asks the audits of realizations that are there already whether mode fail would have accepted them.
func (b *Builder) consult(step *plan.Step, selected []artifact.Realization) error {
	if step.Mode != policies.ModeFail {
		return nil
	}
	for _, r := range selected {
		made, err := b.Store.Manifest(r.ID)
		if err != nil {
			return fmt.Errorf("realize %s: %w", step.Name(), err)
		}
		if acceptable(made.Records[0]) {
			continue
		}
		f := &Failure{ID: step.ID, Name: step.Name(), Spec: step.Spec, Kind: "illegal-access", Cached: true}
		if err := b.consultOne(made, f); err != nil {
			return fmt.Errorf("read the audit of %s: %w", step.Name(), err)
		}
		if f.Reason != "" {
			return f
		}
	}
	return nil
}

// acceptable reports whether the counts of a run say that mode fail has nothing against it. Those of noise do not, so a run that
// is not acceptable has its audit read.
func acceptable(r artifact.BuildRecord) bool {
	v := r.Verdicts
	return r.Complete != nil && *r.Complete && v[string(policies.Hidden)]+v[string(policies.Leaked)]+v[string(policies.Unknown)] == 0
}

// consultOne completes the failure if there is one.
func (b *Builder) consultOne(r artifact.Realization, f *Failure) error {
	file, err := b.Store.OpenAudit(r.Records[0]) // the run that made it
	if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
		f.Reason = "has no record of what it read (mode fail)"
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	a, err := audit.Read(file)
	if err != nil {
		return err
	}
	var paths int
	if f.Outside, paths, err = recording.Outside(a.All); err != nil {
		return err
	}
	f.Processes, f.Reason = a.Processes, illegalReason(policies.ModeFail, &a.Header, paths)
	return nil
}
