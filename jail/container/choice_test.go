package container

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"hdjail/jail"
	"hdjail/seccomp"
)

func TestParseObserver(t *testing.T) {
	for text, want := range map[string]seccomp.Ask{"": seccomp.AskNobody, "notification": seccomp.AskListener, "ptrace": seccomp.AskTracer} {
		if o, err := ParseObserver(text); err != nil || string(o) != text || o.ask() != want {
			t.Errorf("%q: %q, %v", text, o, err)
		}
	}
	if _, err := ParseObserver("Ptrace"); err == nil || !strings.Contains(err.Error(), "notification or ptrace") {
		t.Errorf("an unknown observer gives %v", err)
	}
}

func TestProbeObservers(t *testing.T) {
	for _, test := range []struct {
		demanded             Observer
		notification, ptrace error
		used                 Observer
	}{
		{ObserverAuto, nil, nil, ObserverNotification},
		{ObserverAuto, syscall.EINVAL, nil, ObserverPtrace},
		{ObserverAuto, nil, syscall.EPERM, ObserverNotification},
		{ObserverAuto, syscall.EINVAL, syscall.EPERM, ""},
		{ObserverPtrace, nil, nil, ObserverPtrace},
		{ObserverPtrace, nil, syscall.EPERM, ""},
		{ObserverNotification, syscall.EINVAL, nil, ""},
	} {
		features := probeObservers(test.demanded, func(o Observer) error {
			if o == ObserverPtrace {
				return test.ptrace
			}
			return test.notification
		})
		used, required := "", 0
		for _, f := range features {
			if strings.HasPrefix(f.Detail, "used: ") {
				used = f.Name
			}
			if f.Required {
				required++
			}
			if !f.OK && (f.Fix == "" || f.Lost == "") {
				t.Errorf("%+v says not what to do", f)
			}
		}
		if used != strings.TrimSuffix("observer "+string(test.used), "observer ") || required != 1 {
			t.Errorf("%q with %v and %v: %q is used, %d are required", test.demanded, test.notification, test.ptrace, used, required)
		}
	}
}

// TestTryObserver needs no jail: this host has what the tests need.
func TestTryObserver(t *testing.T) {
	for _, o := range []Observer{ObserverNotification, ObserverPtrace} {
		if err := tryObserver(o); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
}

func TestListenerRefused(t *testing.T) {
	for errno, traces := range map[syscall.Errno]bool{syscall.EINVAL: true, syscall.EPERM: true, syscall.ENOSYS: true, syscall.EBUSY: false} {
		err := listenerRefused(errno)
		if withoutListener(errors.Join(err, errors.New("more"))) != traces {
			t.Errorf("%v: tracing is tried: %v", errno, !traces)
		}
		var u *jail.Unsupported
		if !errors.As(err, &u) || u.Fix == "" {
			t.Errorf("%v: no fix", errno)
		}
	}
	if withoutListener(&jail.Unsupported{Feature: "user namespaces", Err: syscall.EINVAL}) || withoutListener(nil) {
		t.Error("something else is taken for a missing listener")
	}
}

func TestTraceRefused(t *testing.T) {
	for scope, says := range map[string]string{"3": "restarts", "2": "sysctl", "1": "debuggers", "": "debuggers"} {
		if fix := traceFix(scope); !strings.Contains(fix, says) {
			t.Errorf("scope %q: %s", scope, fix)
		}
	}
	var u *jail.Unsupported
	if err := traceRefused(syscall.ESRCH); errors.As(err, &u) {
		t.Errorf("a process that is gone is called a missing feature: %v", err)
	}
}
