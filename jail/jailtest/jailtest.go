// Package jailtest is a jail.Runner without jails, for tests of packages above: a Script says what each build leaves,
// prints and answers, and builds run at the speed of memory. It is configured like a real runner and checks what it is
// given, so a Config that no runner would take fails here too.
package jailtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hdjail/jail"
)

// Script is what one build does. The zero Script prints nothing, leaves nothing and succeeds.
type Script struct {
	// Files and Links are what it leaves in $ARTIFACT: contents and link texts by relative path. Parents are made.
	Files, Links map[string]string
	// Log is printed first.
	Log string
	// Started is closed when the build runs; then Wait, unless nil, holds it until it is closed or ctx is done.
	Started chan<- struct{}
	Wait    <-chan struct{}
	// Do, unless nil, runs last, with the configuration.
	Do func(jail.Config) error
	// Result is how it ends; Err, unless nil, is why it was never started.
	Result jail.Result
	Err    error
}

// Runner plays Scripts. The zero Runner gives every build the zero Script. It is safe for concurrent use once it runs.
type Runner struct {
	// Scripts are by name, the Config's; Default is for all others.
	Scripts map[string]Script
	Default Script

	mu   sync.Mutex
	runs []jail.Config
	open int
}

var _ jail.Runner = (*Runner)(nil)

// Runs returns the configurations that were run, in the order in which they started.
func (r *Runner) Runs() []jail.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]jail.Config(nil), r.runs...)
}

// Open is the number of scratches that were made and not released.
func (r *Runner) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// Scratch implements jail.Runner; everything belongs to the caller.
func (r *Runner) Scratch(_ context.Context, dir string) (*jail.Scratch, error) {
	s := &jail.Scratch{Dir: dir, UID: os.Getuid(), GID: os.Getgid()}
	for _, sub := range []string{s.Build(), s.Tmp(), s.VarTmp(), s.Tmp() + "/home"} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return nil, err
		}
	}
	r.count(1)
	s.Release = func() error {
		r.count(-1)
		return nil
	}
	return s, nil
}

func (r *Runner) count(by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open += by
}

// Run implements jail.Runner. The limit of the log holds as in a jail; time does not pass.
func (r *Runner) Run(ctx context.Context, c jail.Config) (jail.Result, error) {
	if err := c.Validate(); err != nil {
		return jail.Result{}, err
	}
	script, known := r.Scripts[c.Name]
	if !known {
		script = r.Default
	}
	if script.Err != nil {
		return jail.Result{}, script.Err
	}
	r.mu.Lock()
	r.runs = append(r.runs, c)
	r.mu.Unlock()
	return script.play(ctx, c)
}

func (s Script) play(ctx context.Context, c jail.Config) (jail.Result, error) {
	result := s.Result
	result.Wall = time.Millisecond
	result.Enforced = jail.Enforced{Tier: "none"}
	if _, err := io.WriteString(c.Stdout, s.Log); err != nil {
		return result, err
	}
	if s.Started != nil {
		close(s.Started)
	}
	if s.Wait != nil {
		select {
		case <-s.Wait:
		case <-ctx.Done():
		}
	}
	if err := context.Cause(ctx); err != nil {
		return result, err
	}
	if c.Limits.Log > 0 && int64(len(s.Log)) > c.Limits.Log {
		result.Stopped, result.Exit, result.Signal = "log", 137, 9
		return result, nil
	}
	if s.Do != nil {
		if err := s.Do(c); err != nil {
			return result, fmt.Errorf("play %s: %w", c.Name, err)
		}
	}
	return result, s.leave(c.Scratch.Out())
}

// leave writes what the build leaves.
func (s Script) leave(out string) error {
	for name, content := range s.Files {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			return err
		}
	}
	for name, target := range s.Links {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return nil
}
