package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hdjail/build/jailplan"
	"hdjail/build/recording"
	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/policies"
)

// recorder makes the records of this host.
func (a *app) recorder() *recording.Recorder {
	var name unix.Utsname
	_ = unix.Uname(&name) // it has no way to fail here
	return &recording.Recorder{Host: &observe.Lookups{}, System: system(), Kernel: unix.ByteSliceToString(name.Release[:])}
}

// recordRun has the command of `hdjail run` recorded.
func (a *app) recordRun(c *jail.Config, v jailplan.View, o runOptions, args []string) (*recording.Record, error) {
	return a.recorder().Start(c, recording.Subject{View: v, Command: args, Whitelist: recording.Whitelist(v, splitCommas(o.host), nil)})
}

// finishRun completes the record and returns the exit status of `hdjail run`.
func (a *app) finishRun(ctx context.Context, o runOptions, record *recording.Record, mode policies.Mode, result jail.Result) (int, error) {
	if record == nil {
		return result.Exit, nil
	}
	if err := record.Finish(ctx, "run", mode, result); err != nil {
		return exitRunFailed, err
	}
	if err := a.writeAudit(o.audit, record.WriteDocument); err != nil {
		return exitRunFailed, err
	}
	return result.Exit, nil
}

// writeAudit writes a file by one rename; "-" is standard output, and no name is no file.
func (a *app) writeAudit(name string, write func(io.Writer) error) error {
	switch name {
	case "":
		return nil
	case "-":
		return write(a.out.data)
	}
	path := a.absolute(name)
	f, err := os.CreateTemp(filepath.Dir(path), ".audit-")
	if err != nil {
		return fmt.Errorf("write audit %q: %w", name, err)
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write audit %q: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
