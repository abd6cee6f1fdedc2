package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/seccomp"
)

// Observer names how file accesses are recorded.
type Observer string

const (
	// ObserverAuto takes notification where it works, else ptrace.
	ObserverAuto Observer = ""
	// ObserverNotification has the filter ask a listener (seccomp_unotify(2)).
	ObserverNotification Observer = "notification"
	// ObserverPtrace traces the jail's processes (ptrace(2)).
	ObserverPtrace Observer = "ptrace"
)

// ParseObserver reads the text form of an Observer.
func ParseObserver(s string) (Observer, error) {
	switch o := Observer(s); o {
	case ObserverAuto, ObserverNotification, ObserverPtrace:
		return o, nil
	}
	return "", fmt.Errorf("unknown observer %q: want notification or ptrace", s)
}

func (o Observer) ask() seccomp.Ask {
	switch o {
	case ObserverNotification:
		return seccomp.AskListener
	case ObserverPtrace:
		return seccomp.AskTracer
	}
	return seccomp.AskNobody
}

// choose says how a jail is recorded; empty for not at all. What is demanded is taken, whether or not it works. Asking the
// kernel for the filter's action costs one system call; that a listener can be had shows when stage 2 has it.
func (r *Runner) choose(c jail.Config) Observer {
	switch {
	case c.Log == nil || !c.Mode.Filtered():
		return ""
	case r.options.Observer != ObserverAuto:
		return r.options.Observer
	case r.noListener.Load() || notificationKnown() != nil:
		return ObserverPtrace
	}
	return ObserverNotification
}

// notificationKnown asks the kernel whether it knows the filter's action.
func notificationKnown() error {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	return seccompCall(unix.SECCOMP_GET_ACTION_AVAIL, &action)
}

// featureNotification is what no listener is a lack of.
const featureNotification = "system call notification"

// listenerRefused is the error of a jail whose filter got no listener.
func listenerRefused(err error) error {
	u := &jail.Unsupported{Feature: featureNotification, Minimum: "5.5", Err: err}
	switch {
	case errors.Is(err, unix.EBUSY):
		u.Minimum, u.Fix = "", "hdjail runs below a program that watches its system calls this way already; run it outside of that"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		u.Fix = "a container runtime or security module around hdjail refuses it: allow seccomp(2) with SECCOMP_FILTER_FLAG_NEW_LISTENER there, or set HDJAIL_OBSERVER=ptrace"
	default:
		u.Fix = "use a newer kernel, or set HDJAIL_OBSERVER=ptrace"
	}
	return u
}

// withoutListener reports whether a run failed for want of a listener where tracing may do. A listener that another
// filter of the same processes has (EBUSY) hides the calls from a tracer, too.
func withoutListener(err error) bool {
	var u *jail.Unsupported
	return errors.As(err, &u) && u.Feature == featureNotification && !errors.Is(u.Err, unix.EBUSY)
}

// traceRefused is the error of a process that cannot be traced.
func traceRefused(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return &jail.Unsupported{Feature: "tracing by ptrace", Fix: traceFix(strings.TrimSpace(string(scope))), Err: err}
}

// traceFix says what to change, by the setting of Yama (the kernel's admin-guide/LSM/Yama).
func traceFix(scope string) string {
	switch scope {
	case "3":
		return "an administrator sets kernel.yama.ptrace_scope=1 in /etc/sysctl.d and restarts the machine: 3 cannot be taken back before"
	case "2":
		return "an administrator runs: sysctl -w kernel.yama.ptrace_scope=1 (and puts it in /etc/sysctl.d), or runs hdjail as root"
	}
	return "run hdjail outside of strace and debuggers; a container runtime or security module around it must allow ptrace(2)"
}

// tryObserver has a throw-away child make one call that is seen by an observer (jail/reexec/probe.c). nil means that it works.
func tryObserver(o Observer) error {
	name := map[Observer]string{ObserverNotification: "hdjail-probe-listener", ObserverPtrace: "hdjail-probe-tracer"}[o]
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{name}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return syscall.Errno(exit.ExitCode())
	}
	return err
}

// probeObservers reports each observer and says which one is used: what is demanded, else the first that works. Without the
// one that would be used no build runs, since all are recorded.
func probeObservers(demanded Observer, try func(Observer) error) []jail.Feature {
	rows := []struct {
		observer   Observer
		guarantees string
		explain    func(error) error
	}{
		{ObserverNotification, "every call is seen, outcomes are inferred", listenerRefused},
		{ObserverPtrace, "every call is seen, outcomes are the kernel's; slower; no debugger or strace inside", traceRefused},
	}
	used := -1
	features := make([]jail.Feature, len(rows))
	for i, row := range rows {
		f := jail.Feature{Name: "observer " + string(row.observer), OK: true, Detail: row.guarantees}
		if err := try(row.observer); err != nil {
			f.OK, f.Detail, f.Lost = false, err.Error(), "file accesses cannot be recorded this way"
			var u *jail.Unsupported
			if errors.As(row.explain(err), &u) {
				f.Fix = u.Fix
			}
		}
		if demanded == row.observer || demanded == ObserverAuto && f.OK && used < 0 {
			used = i
		}
		features[i] = f
	}
	if used < 0 {
		used = 0
	}
	features[used].Required = true
	if features[used].OK {
		features[used].Detail = "used: " + features[used].Detail
	} else {
		features[used].Lost = "no build runs"
	}
	return features
}
