package build

import (
	"errors"
	"io"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/recording"
	"hdjail/policies/audit"
)

// remembered is the failure of the last run of the task's build, if that was a short while ago and would repeat itself. What
// ran out of time or memory may do better the next time, and one that was cancelled tells nothing.
func (b *Builder) remembered(t Task) error {
	if b.FailureTTL <= 0 || t.Rebuild {
		return nil
	}
	records, err := b.Store.Records(t.Step.ID)
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(records) {
		if r.Purpose != "build" || r.Failure == "cancelled" || r.Mode != string(t.Step.Mode) || !r.Context.Equal(t.Context) {
			continue
		}
		if !slices.Contains([]string{"exit", "illegal-access", "promise", "output"}, r.Failure) || b.Now().Sub(r.End) >= b.FailureTTL {
			return nil
		}
		return b.failureOf(t, r)
	}
	return nil
}

// failureOf makes the failure again from its record.
func (b *Builder) failureOf(t Task, r artifact.BuildRecord) error {
	f := &Failure{ID: t.Step.ID, Name: t.Step.Name(), Spec: t.Step.Spec, Kind: r.Failure, Exit: r.Exit, Record: r.Number, Kept: r.Kept, Remembered: r.End}
	f.Reason = strings.TrimPrefix(r.Message, "build "+f.Name+" ")
	log, err := b.Store.OpenLog(r)
	if missing := (*store.NotFoundError)(nil); err != nil && !errors.As(err, &missing) {
		return errors.Join(f, err)
	} else if err == nil {
		tail := &logWriter{file: io.Discard}
		_, err = io.Copy(tail, log)
		tail.flush()
		f.LogTail = tail.last()
		if err = errors.Join(err, log.Close()); err != nil {
			return errors.Join(f, err)
		}
	}
	if r.Failure != "illegal-access" {
		return f
	}
	file, err := b.Store.OpenAudit(r)
	if err != nil {
		return errors.Join(f, err)
	}
	defer file.Close()
	a, err := audit.Read(file)
	if err != nil {
		return errors.Join(f, err)
	}
	f.Outside, _, err = recording.Outside(a.All)
	f.Processes = a.Processes
	if err != nil {
		return errors.Join(f, err)
	}
	return f
}
