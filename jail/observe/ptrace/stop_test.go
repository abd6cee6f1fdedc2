package ptrace

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestClassify(t *testing.T) {
	event := func(event int, sig syscall.Signal) unix.WaitStatus {
		return unix.WaitStatus(event<<16 | int(sig)<<8 | 0x7f)
	}
	for name, test := range map[string]struct {
		status unix.WaitStatus
		want   stop
		sig    syscall.Signal
	}{
		"exit":             {7 << 8, stopEnded, 0},
		"killed":           {unix.WaitStatus(unix.SIGKILL), stopEnded, 0},
		"core":             {unix.WaitStatus(unix.SIGSEGV) | 0x80, stopEnded, 0},
		"call":             {event(unix.PTRACE_EVENT_SECCOMP, unix.SIGTRAP), stopCall, 0},
		"result":           {event(0, unix.SIGTRAP|0x80), stopResult, 0},
		"exec":             {event(unix.PTRACE_EVENT_EXEC, unix.SIGTRAP), stopExec, 0},
		"fork":             {event(unix.PTRACE_EVENT_FORK, unix.SIGTRAP), stopBirth, 0},
		"vfork":            {event(unix.PTRACE_EVENT_VFORK, unix.SIGTRAP), stopBirth, 0},
		"thread":           {event(unix.PTRACE_EVENT_CLONE, unix.SIGTRAP), stopNothing, 0},
		"first stop":       {event(eventStop, unix.SIGTRAP), stopNothing, 0},
		"group stop":       {event(eventStop, unix.SIGSTOP), stopGroup, 0},
		"terminal's stop":  {event(eventStop, unix.SIGTTIN), stopGroup, 0},
		"signal":           {event(0, unix.SIGUSR1), stopSignal, unix.SIGUSR1},
		"stopping signal":  {event(0, unix.SIGSTOP), stopSignal, unix.SIGSTOP},
		"trap of its own":  {event(0, unix.SIGTRAP), stopSignal, unix.SIGTRAP},
		"real-time signal": {event(0, 64), stopSignal, 64},
	} {
		if got, sig := classify(test.status); got != test.want || sig != test.sig {
			t.Errorf("%s: stop %d with signal %d, want %d with %d", name, got, sig, test.want, test.sig)
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		value    int64
		errno    syscall.Errno
		restarts bool
	}{
		{0, 0, false}, {3, 0, false}, {-2, unix.ENOENT, false}, {-4095, 4095, false}, {-4096, 0, false},
		{-1 << 63, 0, false}, {0x7fff_ffff_f000, 0, false},
		{-512, unix.EINTR, true}, {-513, unix.EINTR, true}, {-514, unix.EINTR, true}, {-516, unix.EINTR, true},
		{-515, 515, false},
	} {
		if errno, restarts := outcome(test.value); errno != test.errno || restarts != test.restarts {
			t.Errorf("%d: errno %d, restarts %v", test.value, errno, restarts)
		}
	}
}
