package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/jail"
)

// Shell is a person's visit to the jail of a build.
type Shell struct {
	// Command replaces the script; nil is the build's own interpreter, to talk to if it is a shell.
	Command []string
	// Kept is a directory that a failed build left, as in its record; the visit sees and changes what is in it. Empty, or
	// belonging to another uid than this jail's, it is left alone and the sources are placed anew.
	Kept string
	// Term is the kind of terminal, for $TERM.
	Term string
	// Stdin and Stdout are the person's. A terminal is given on as one of the jail's own.
	Stdin    *os.File
	Stdout   io.Writer
	Stderr   io.Writer
	Terminal bool
}

// Shell realizes what the step depends on, places its sources and runs the visit's command in the jail that the build
// would have. Nothing is registered, and what the visit leaves is removed.
func (b *Builder) Shell(ctx context.Context, p *plan.Plan, step *plan.Step, v Shell) (result jail.Result, err error) {
	held, err := b.lease(ctx, "shell", p)
	if err != nil {
		return result, err
	}
	defer held.Release()
	t, err := b.prepareTask(ctx, p, step)
	if err != nil {
		return result, err
	}
	if err := b.fetch(ctx, step); err != nil {
		return result, err
	}
	r, err := b.newRun(ctx, t)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	kept := v.Kept != "" && ownedBy(v.Kept+"/build", r.scratch.UID)
	if !kept {
		if err := r.placeSources(ctx); err != nil {
			return result, err
		}
	}
	config, err := r.planShell(ctx, v)
	if err != nil {
		return result, err
	}
	if kept {
		r.useKept(&config, v.Kept)
	}
	if err := PrepareScratch(config); err != nil {
		return result, fmt.Errorf("open a shell for %s: %w", step.Name(), err)
	}
	return b.Runner.Run(ctx, config)
}

// useKept shows what a failed build left in place of an empty build directory and output.
func (r *run) useKept(c *jail.Config, kept string) {
	for i, e := range c.Mounts.Entries {
		switch e.Source {
		case r.scratch.Build():
			c.Mounts.Entries[i].Source = filepath.Join(kept, "build")
		case r.scratch.Out():
			c.Mounts.Entries[i].Source = filepath.Join(kept, "out")
		}
	}
}

func ownedBy(dir string, uid int) bool {
	var st unix.Stat_t
	return unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid
}

// prepareTask realizes everything in the plan but the step itself.
func (b *Builder) prepareTask(ctx context.Context, p *plan.Plan, step *plan.Step) (Task, error) {
	// Which realizations the step itself has does not matter to the visit.
	s := newSchedule(b, p, Options{Jobs: max(b.CPUs, 1), CPUs: max(b.CPUs, 1), Rebuild: map[artifact.DerivationID]bool{step.ID: true}})
	if err := s.survey(ctx, p); err != nil {
		return Task{}, err
	}
	s.ready = slices.DeleteFunc(s.ready, func(ready *plan.Step) bool { return ready == step })
	s.waiting[step.Index]++ // it never gets its turn
	s.run(ctx)
	if s.failure != nil {
		return Task{}, s.failure
	}
	t, err := s.task(step, 0)
	t.Closure = s.closure(step)
	return t, err
}

func (r *run) planShell(ctx context.Context, v Shell) (jail.Config, error) {
	view, err := r.b.view(ctx, r.t, r.scratch)
	if err != nil {
		return jail.Config{}, fmt.Errorf("open a shell for %s: %w", r.t.Step.Name(), err)
	}
	d, err := r.t.filled()
	if err != nil {
		return jail.Config{}, fmt.Errorf("open a shell for %s: %w", r.t.Step.Name(), err)
	}
	command := v.Command
	if command == nil {
		command = talkTo(d.Interpreter[0])
	}
	limits := r.limits
	limits.Wall, limits.Silence, limits.Log = 0, 0, 0 // a person takes his time
	config, err := jailplan.Build{View: view, Derivation: d, Artifact: r.artifact(), Limits: limits, Jobs: r.t.Jobs, Shell: command}.Config()
	if err != nil {
		return config, err
	}
	if v.Term != "" {
		config.Env = append(slices.DeleteFunc(config.Env, func(e string) bool { return len(e) > 5 && e[:5] == "TERM=" }), "TERM="+v.Term)
		slices.Sort(config.Env)
	}
	config.Stdin, config.Stdout, config.Stderr, config.Terminal = v.Stdin, v.Stdout, v.Stderr, v.Terminal
	return config, nil
}

// talkTo is the command line that makes an interpreter talk to a person.
func talkTo(interpreter string) []string {
	switch path.Base(interpreter) {
	case "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh":
		return []string{interpreter, "-i"}
	}
	return []string{interpreter}
}
