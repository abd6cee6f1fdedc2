package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/build"
	"hdjail/build/check"
	"hdjail/policies"
)

// checkVerb is what `hdjail check` calls for each run, as another caller. The descriptors are of the request, which may be read
// more than once because the program may start over, and of the events; standard output gets the outcome.
const (
	checkVerb      = "__check"
	checkRequestFD = 3
	checkEventsFD  = 4
)

// checkOrder is a request with the store that it is about.
type checkOrder struct {
	Store   string        `json:"store"`
	Request check.Request `json:"request"`
}

// startRun returns what does a run of a check in a process of its own, and passes on what happens there.
func (a *app) startRun(sink build.EventSink) func(context.Context, check.Request) (check.Outcome, error) {
	return func(ctx context.Context, req check.Request) (o check.Outcome, err error) {
		text, err := json.Marshal(checkOrder{a.openStore.Root(), req})
		if err != nil {
			return o, err
		}
		order, err := memoryFile(text)
		if err != nil {
			return o, err
		}
		defer order.Close()
		from, to, err := os.Pipe()
		if err != nil {
			return o, err
		}
		defer from.Close()
		var out, said bytes.Buffer
		cmd := exec.CommandContext(ctx, "/proc/self/exe", checkVerb)
		cmd.Args[0] = "hdjail"
		cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = req.Caller.Env, req.Caller.Dir, &out, &said, []*os.File{order, to}
		cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
		// A group of its own, so that a terminal's signal comes once, from us.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGTERM}
		if req.Caller.Hostname != "" {
			cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUTS
		}
		runtime.LockOSThread() // its end would be taken for ours (PR_SET_PDEATHSIG, prctl(2))
		defer runtime.UnlockOSThread()
		err = cmd.Start()
		to.Close()
		if err != nil {
			return o, fmt.Errorf("start a run: %w", err)
		}
		passOn(from, sink)
		err = cmd.Wait()
		for line := range strings.Lines(said.String()) {
			a.out.say("%s", strings.TrimSuffix(line, "\n"))
		}
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return o, context.Cause(ctx)
		case errors.As(err, &exit) && exit.ExitCode() > 0:
			return o, exitStatus(exit.ExitCode()) // it has said why
		case err != nil:
			return o, fmt.Errorf("do a run: %w", err)
		}
		return o, json.Unmarshal(out.Bytes(), &o)
	}
}

// memoryFile is a file that begins with the text for whoever inherits it.
func memoryFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("request", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "request")
	if _, err := f.Write(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// passOn sends on events until there are no more.
func passOn(from io.Reader, sink build.EventSink) {
	decoder := json.NewDecoder(from)
	for {
		var e build.Event
		if decoder.Decode(&e) != nil {
			return
		}
		sink.Send(e)
	}
}

// checkRun is one run of a check.
func (a *app) checkRun(ctx context.Context) error {
	file := os.NewFile(checkRequestFD, "request")
	var order checkOrder
	if err := json.NewDecoder(io.NewSectionReader(file, 0, 1<<30)).Decode(&order); err != nil {
		return usagef("this verb is for hdjail check: "+err.Error(), "")
	}
	if err := order.Request.Caller.Become(); err != nil {
		return err
	}
	a.storeRoot, a.offline = order.Store, true
	runner, err := a.runner(policies.ModeHide) // may start this program over
	if err != nil {
		return err
	}
	file.Close()
	unix.CloseOnExec(checkEventsFD)
	b, err := a.builder()
	if err != nil {
		return err
	}
	if b.Recorder, err = a.recorder(); err != nil {
		return err
	}
	b.Runner, b.Events = runner, build.NewEventWriter(os.NewFile(checkEventsFD, "events"))
	p, err := a.plan(ctx, request{targets: []string{order.Request.Derivation.String()}})
	if err != nil {
		return err
	}
	outcome, err := check.Do(ctx, b, p, order.Request)
	if err != nil {
		return err
	}
	return a.out.jsonLine(outcome)
}
