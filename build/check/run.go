package check

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hdjail/build"
	"hdjail/build/plan"
)

// Become makes this process the caller of a request: before anything else is done, and, if the host name changes, in a UTS
// namespace that it does not share with the process that started it.
func (c Caller) Become() error {
	if c.Hostname == "" {
		unix.Umask(c.Umask)
		return nil
	}
	own, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		return err
	}
	parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/uts", os.Getppid()))
	if err != nil {
		return err
	}
	if own == parents {
		return fmt.Errorf("change the host name to %s: it would be the host's", c.Hostname)
	}
	unix.Umask(c.Umask)
	return os.NewSyscallError("sethostname", unix.Sethostname([]byte(c.Hostname)))
}

// Do does the run of a request, as a plan of just its derivation has it. A build that failed is in the outcome.
func Do(ctx context.Context, b *build.Builder, p *plan.Plan, req Request) (Outcome, error) {
	step := p.Targets[0]
	if step.ID != req.Derivation {
		return Outcome{}, fmt.Errorf("check %s: it is %s for this caller", req.Derivation, step.ID)
	}
	step.Mode, step.Limits, b.LockWait = req.Mode, req.Limits, req.LockWait
	task, err := b.TaskOf(p, step, req.Chosen)
	if err != nil {
		return Outcome{}, err
	}
	if req.Jobs > 0 {
		task.Jobs = req.Jobs
	}
	b.KeepFailed = req.Rerun.Keep
	ran, err := b.Rerun(ctx, task, req.Rerun)
	o := Outcome{Record: ran.Record.Number, Reordered: ran.Reordered, Kept: ran.Kept}
	var failure *build.Failure
	if errors.As(err, &failure) && failure.Record > 0 {
		o.Record, o.Failure, o.Kept = failure.Record, failure.Error(), failure.Kept
		return o, nil
	}
	return o, err
}
