package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/build/check"
)

// Limits of diffoscope, which reads what builds have made with dozens of programs.
const (
	diffoscopeTime   = 10 * time.Minute
	diffoscopeMemory = 4 << 30 // bytes of each process
	diffoscopeReport = 256 << 10
)

// tellDiffoscope prints diffoscope's report on the first tree that differs, if it is installed. It runs in a jail that shows the
// host read-only and has no network; what goes wrong with it is a warning, because our own summary is there.
func (a *app) tellDiffoscope(ctx context.Context, r *check.Report) {
	program, err := exec.LookPath("diffoscope")
	if err != nil {
		return
	}
	for _, run := range r.Runs {
		if len(run.Differences) > 0 {
			a.out.say("diffoscope of realizations %s and %s:", r.Realization, run.Realization)
			report, err := a.diffoscope(ctx, a.absolute(program), a.openStore.OutPath(r.Realization), a.openStore.OutPath(run.Realization))
			for line := range strings.Lines(report) {
				a.out.say("  %s", escape(strings.TrimSuffix(line, "\n")))
			}
			if err != nil {
				a.out.warn("%v", err)
			}
			return
		}
	}
}

func (a *app) diffoscope(ctx context.Context, program, first, second string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, diffoscopeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "--store", a.openStore.Root(), "run", "--mode", "log", "--home", "hide", "--quiet",
		"--ro", filepath.Dir(program), "--ro", first, "--ro", second, "--", program, "--no-progress", "--text", "-", first, second)
	cmd.Args[0], cmd.Dir = "hdjail", "/"
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	report := &limited{left: diffoscopeReport}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = report, &said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	memory := unix.Rlimit{Cur: diffoscopeMemory, Max: diffoscopeMemory}
	err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_DATA, &memory, nil) // its children inherit it
	if err != nil {
		cmd.Cancel()
	}
	waited := cmd.Wait()
	if err == nil && cmd.ProcessState.ExitCode() == 1 { // they differ, which is known
		waited = nil
	}
	if err == nil {
		err = waited
	}
	if err != nil {
		return report.String(), &diffoscopeError{err, said.String()}
	}
	if report.left == 0 {
		io.WriteString(&report.Buffer, "…\n")
	}
	return report.String(), nil
}

// diffoscopeError is a diffoscope that did not come to its end.
type diffoscopeError struct {
	err  error
	said string
}

func (e *diffoscopeError) Error() string {
	text := "run diffoscope: " + e.err.Error()
	if lines := strings.TrimSpace(e.said); lines != "" {
		text += ": " + lines[strings.LastIndexByte(lines, '\n')+1:]
	}
	return text
}

// limited keeps the beginning of what is written.
type limited struct {
	bytes.Buffer
	left int
}

// Write implements io.Writer; it never fails.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	return len(p), nil
}
