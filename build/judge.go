package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
	"hdjail/jail"
)

// judge decides whether a run that ended was good: status, output, promises. Anything else is a *Failure. No process of
// the build lives any more, but what it left is still not trusted.
func (r *run) judge(result jail.Result) error {
	r.b.phase(r.t.Step, "check")
	switch result.Stopped {
	case "wall":
		return r.failure("timeout", fmt.Sprintf("was stopped after %s, its limit of time", r.limits.Wall), nil)
	case "silence":
		return r.failure("timeout", fmt.Sprintf("was stopped: it printed nothing for %s", r.limits.Silence), nil)
	case "":
	default:
		return r.failure("limits", "was stopped at its limit of "+result.Stopped, nil)
	}
	if f := r.illegal(); f != nil {
		return f
	}
	switch {
	case result.Signal != 0:
		return r.failure("exit", fmt.Sprintf("was ended by signal %d (%s)", result.Signal, unix.SignalName(unix.Signal(result.Signal))), nil)
	case result.Exit != 0:
		return r.failure("exit", fmt.Sprintf("ended with exit status %d", result.Exit), nil)
	}
	out, err := r.openOutput()
	if err != nil {
		return r.failure("output", "left an output that cannot be opened: "+err.Error(), err)
	}
	defer out.Close()
	if empty, err := isEmpty(out); err != nil || empty {
		if err != nil {
			return r.failure("output", "left an output that cannot be read: "+err.Error(), err)
		}
		return r.failure("output", "left $ARTIFACT empty", nil)
	}
	if broken := r.brokenPromises(out); len(broken) > 0 {
		f := r.failure("promise", "broke its promise of "+strings.Join(broken, "; "), nil)
		f.Promises = broken
		return f
	}
	return nil
}

// brokenPromises lists the promises that the output does not keep, with the reasons.
func (r *run) brokenPromises(out *os.Root) (broken []string) {
	g := newGrove(out, r.artifact(), r.t.Closure)
	defer g.close()
	g.system, g.visible = r.t.Step.Derivation.System, r.allowed
	for _, promise := range r.t.Step.Derivation.Promises {
		if err := g.check(promise); err != nil {
			broken = append(broken, fmt.Sprintf("%s: %v", promise.Path, err))
		}
	}
	return broken
}

func (r *run) failure(kind, reason string, err error) *Failure {
	return &Failure{ID: r.t.Step.ID, Name: r.t.Step.Name(), Spec: r.t.Step.Spec, Kind: kind, Reason: reason, Exit: r.result.Exit,
		LogTail: r.log.last(), Err: err}
}

// openOutput opens the output directory, also one that the build has locked its owner out of.
func (r *run) openOutput() (*os.Root, error) {
	unlocked, err := tree.Open(r.scratch.Out(), true)
	if err != nil {
		return nil, err
	}
	defer unlocked.Close()
	return os.OpenRoot(r.scratch.Out())
}

func isEmpty(root *os.Root) (bool, error) {
	dir, err := root.Open(".")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
