package sources

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// command is one run of a program of the host: no shell, an environment of ours, no standard input.
type command struct {
	name   string
	args   []string
	env    []string
	dir    string
	stdout io.Writer
	fix    string // what to do when the program is missing
}

// run runs c and waits for it; cancelling kills it and all its children. An error has the end of what it complained.
func (s *Store) run(ctx context.Context, c command) error {
	program, err := s.find(c.name, c.fix)
	if err != nil {
		return err
	}
	complaint := &tail{}
	cmd := exec.CommandContext(ctx, program, c.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, c.stdout, complaint
	cmd.Env = append([]string{"PATH=" + s.o.Path + ":/usr/sbin:/sbin", "LC_ALL=C", "HOME=" + c.dir}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("run %q: %w: %s", c.name, err, strings.TrimSpace(complaint.text))
	}
	return nil
}

func (s *Store) find(name, fix string) (string, error) {
	for _, dir := range filepath.SplitList(s.o.Path) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &ToolError{name, fix}
}

// tail keeps the last 1000 bytes.
type tail struct{ text string }

func (t *tail) Write(p []byte) (int, error) {
	t.text += string(p[max(0, len(p)-1000):])
	t.text = t.text[max(0, len(t.text)-1000):]
	return len(p), nil
}
