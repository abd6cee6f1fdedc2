package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
	"hdjail/build/jailplan"
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
	var broken []string
	for _, promise := range r.t.Step.Derivation.Promises {
		if err := checkPromise(out, r.artifact(), r.t.Closure, promise); err != nil {
			broken = append(broken, fmt.Sprintf("%s: %v", promise, err))
		}
	}
	if len(broken) > 0 {
		f := r.failure("promise", "broke its promise of "+strings.Join(broken, "; "), nil)
		f.Promises = broken
		return f
	}
	return nil
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

// checkPromise tells why the promised path is not there. Links are followed as the build sees them, each step inside the
// output; one that leads into a dependency holds if that has what it names. artifact is the output's path in the jail.
func checkPromise(out *os.Root, artifact string, closure []jailplan.Dependency, promise string) error {
	at, rest := "", strings.Split(promise, "/")
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			if at == "" {
				return inDependency(closure, path.Join(path.Dir(artifact), path.Join(rest...)))
			}
			at = strings.TrimPrefix(path.Dir(at), ".")
			continue
		}
		next := path.Join(at, name)
		info, err := out.Lstat(next)
		if err != nil {
			return reason(err)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		target, err := out.Readlink(next)
		if err != nil {
			return reason(err)
		}
		if hops++; hops > 40 {
			return unix.ELOOP
		}
		if path.IsAbs(target) {
			inside, isInside := strings.CutPrefix(path.Clean(target)+"/", artifact+"/")
			if !isInside {
				return inDependency(closure, path.Join(path.Clean(target), path.Join(rest...)))
			}
			at, target = "", inside
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// inDependency checks a path in the jail that has left the output.
func inDependency(closure []jailplan.Dependency, target string) error {
	for _, d := range closure {
		if below, found := strings.CutPrefix(target+"/", d.Public+"/"); found && !d.Many {
			root, err := os.OpenRoot(d.Outs[0])
			if err != nil {
				return reason(err)
			}
			defer root.Close()
			_, err = root.Lstat(path.Join(".", below))
			return reason(err)
		}
	}
	return fmt.Errorf("is a link to %s, outside the output and its dependencies", target)
}

// reason drops operation and path of an error of package os, where the message says them better.
func reason(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
