package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/store"
	"hdjail/build/jailplan"
	"hdjail/build/plan"
	"hdjail/build/recording"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
	"hdjail/jail"
)

// run is one run of a build: everything that it holds, and what is known of it so far.
type run struct {
	b       *Builder
	t       Task
	temp    *store.Temp
	scratch *jail.Scratch
	log     *logWriter
	logFile *os.File
	view    jailplan.View
	started time.Time
	limits  jail.Limits
	result  jail.Result
	record  *recording.Record
	// begun tells that the script may have been started.
	begun bool
	// elsewhere is the directory of the scratch if that is not in temp.
	elsewhere string
}

// newRun makes the scratch, and opens the log in it.
func (b *Builder) newRun(ctx context.Context, t Task) (_ *run, err error) {
	r := &run{b: b, t: t, started: b.Now(), limits: t.Step.Limits.Over(b.Limits)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.temp, err = b.Store.NewTemp(); err != nil {
		return nil, err
	}
	place, err := r.place()
	if err != nil {
		return nil, err
	}
	if r.scratch, err = b.Runner.Scratch(ctx, place); err != nil {
		return nil, err
	}
	if err := makeOut(r.scratch); err != nil {
		return nil, err
	}
	if r.logFile, err = os.OpenFile(r.logPath(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	r.log = &logWriter{file: r.logFile}
	if b.Events != nil {
		r.log.lines = func(text string) { b.send(t.Step, Event{Event: "build.log", Text: text}) }
	}
	return r, nil
}

// makeOut makes the directory that a build sees as $ARTIFACT.
func makeOut(s *jail.Scratch) error {
	out := s.Out()
	return errors.Join(os.Mkdir(out, 0o755), os.Chmod(out, 0o755), os.Lchown(out, s.UID, s.GID))
}

// close removes what is left of the run. It may be called for a run that is not complete.
func (r *run) close() error {
	errs := []error{r.record.Release()}
	if r.logFile != nil {
		errs = append(errs, r.logFile.Close())
	}
	if r.temp != nil {
		errs = append(errs, r.temp.Close())
	}
	errs = append(errs, r.closePlace())
	errs = append(errs, r.scratch.Close()) // its uid may be leased again once nothing of it is left
	return errors.Join(errs...)
}

func (r *run) logPath() string { return r.temp.Dir + "/log" }

func (r *run) artifact() string { return r.b.Store.PublicPath(&r.t.Step.Derivation) }

func (r *run) placeSources(ctx context.Context) error {
	list := r.t.Step.Derivation.Sources
	if len(list) == 0 {
		return nil
	}
	r.b.phase(r.t.Step, "sources")
	dir, err := os.OpenFile(r.scratch.Build(), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, source := range list {
		if err := r.b.Sources.Place(ctx, source, sources.Dest{Dir: dir, UID: r.scratch.UID, GID: r.scratch.GID}); err != nil {
			return fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
		}
	}
	return r.reorder(ctx, dir)
}

// plan composes the host packages and decides what the jail looks like.
func (r *run) plan(ctx context.Context) (jail.Config, error) {
	d, err := r.t.filled()
	if err != nil {
		return jail.Config{}, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	view, err := r.b.view(ctx, r.t, r.scratch)
	if err != nil {
		return jail.Config{}, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	r.view = view
	config, err := jailplan.Build{View: view, Derivation: d, Artifact: r.artifact(), Limits: r.limits, Jobs: r.t.Jobs}.Config()
	r.vary(&config)
	return config, err
}

// view is what a build sees.
func (b *Builder) view(ctx context.Context, t Task, scratch *jail.Scratch) (v jailplan.View, err error) {
	d := &t.Step.Derivation
	v = jailplan.View{Name: t.Step.Name(), Mode: t.Step.Mode, Policy: t.Step.Policy, Scratch: scratch, Dependencies: t.Closure,
		Stores: slices.Compact([]string{b.Store.Root(), d.Prefix}), Home: b.Home, HideHome: true}
	for _, p := range d.HostPaths {
		path, err := hostPathView(p)
		if err != nil {
			return v, err
		}
		v.Paths = append(v.Paths, path)
	}
	if !v.Mode.Contains() {
		v.Secrets = Secrets(v.Policy, b.Home)
		v.Tree, err = HostTree()
		return v, err
	}
	b.phase(t.Step, "host")
	v.Tree, err = b.Host.Compose(ctx, pins(d.HostPackages), jailplan.Mountpoints(v.Stores, v.Paths))
	return v, err
}

func hostPathView(p artifact.HostPath) (jailplan.Path, error) {
	path := jailplan.Path{Path: p.Path}
	path.Link, _ = strings.CutPrefix(p.Identity, plan.LinkIdentity)
	if path.Link == p.Identity {
		path.Link = ""
	}
	info, err := os.Lstat(cmp.Or(path.Link, p.Path))
	if err != nil {
		return path, fmt.Errorf("show host path: %w", err)
	}
	path.Directory = info.IsDir()
	return path, nil
}

func pins(packages []artifact.HostPackage) []hostpkgs.Pinned {
	list := make([]hostpkgs.Pinned, len(packages))
	for i, p := range packages {
		list[i] = hostpkgs.Pinned{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: p.Digest.String()}
	}
	return list
}

// execute runs the script. The error is nil whenever the script was started, however it ended.
func (r *run) execute(ctx context.Context, config jail.Config) (jail.Result, error) {
	if err := PrepareScratch(config); err != nil {
		return jail.Result{}, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	if err := r.startRecord(ctx, &config); err != nil {
		return jail.Result{}, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	if err := r.pending(); err != nil {
		return jail.Result{}, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	r.b.phase(r.t.Step, "run")
	config.Stdout, config.Stderr = r.log, r.log
	result, err := r.b.Runner.Run(ctx, config)
	r.log.flush()
	r.result = result
	if err = errors.Join(err, r.log.err); err != nil { // a log with a gap is none
		return result, fmt.Errorf("build %s: %w", r.t.Step.Name(), err)
	}
	return result, nil
}

// register publishes the collected output.
func (r *run) register(ctx context.Context, collected collect.Result, result jail.Result) (artifact.RealizationID, error) {
	r.b.phase(r.t.Step, "register")
	record := r.buildRecord()
	record.Exit = result.Exit
	id := artifact.NewRealizationID(r.t.Step.ID, r.t.Context, collected.Tree)
	audit, err := r.audit(id.String())
	if err != nil {
		return id, err
	}
	stored, err := r.b.Store.Register(ctx, store.Registration{Derivation: &r.t.Step.Derivation, Context: r.t.Context,
		Out: r.scratch.Out(), Copy: r.reachesHost(), Tree: collected.Tree, Bytes: collected.Stats.Bytes, Log: r.logPath(), Audit: audit, Record: record})
	if err != nil {
		return id, err
	}
	return id, r.registered(stored)
}

// reachesHost reports whether the build could have passed a descriptor of its output to a process outside, through a socket
// among the host's paths. Paths that were digested hold none, and no network leads out.
func (r *run) reachesHost() bool {
	declared := func(p artifact.HostPath) bool { return strings.HasPrefix(p.Identity, "id:") }
	return !r.view.Mode.Contains() || slices.ContainsFunc(r.t.Step.Derivation.HostPaths, declared)
}

func (r *run) buildRecord() artifact.BuildRecord {
	limits := map[string]float64{}
	for name, value := range map[string]float64{"memory": float64(r.limits.Memory), "pids": float64(r.limits.Pids), "cpu": r.limits.CPU,
		"wall": float64(r.limits.Wall), "silence": float64(r.limits.Silence), "output": float64(r.limits.Output), "files": float64(r.limits.Files), "log": float64(r.limits.Log)} {
		if value > 0 {
			limits[name] = value
		}
	}
	record := artifact.BuildRecord{Derivation: r.t.Step.ID, Purpose: r.purpose(), Jobs: r.t.Jobs, Mode: string(r.t.Step.Mode), Start: r.started,
		End: r.b.Now(), Builder: r.b.Identity, Context: r.t.Context, Limits: limits, PeakMemory: r.result.Usage.PeakMemory,
		LogBytes: r.log.written}
	if r.recorded() {
		record.Complete, record.Verdicts = &r.record.Header.Complete, map[string]int64{}
		for verdict, n := range r.record.Header.Counters.Verdicts {
			record.Verdicts[string(verdict)] = n
		}
	}
	return record
}

// failed completes an error of the run: a *Failure gets its build record, and what the build left is kept if the caller
// wants that; so does a run that was cancelled, of which nothing is kept.
func (r *run) failed(ctx context.Context, err error) error {
	var failure *Failure
	switch {
	case err != nil && ctx.Err() != nil && r.begun:
		return errors.Join(err, r.cancelled(ctx))
	case ctx.Err() != nil || !errors.As(err, &failure):
		return err
	}
	if r.b.KeepFailed {
		kept, keepErr := r.keep()
		if keepErr != nil {
			err = errors.Join(err, fmt.Errorf("keep failed build: %w", keepErr))
		}
		failure.Kept = kept
	}
	record := r.buildRecord()
	record.Failure, record.Message, record.Exit, record.Kept = failure.Kind, failure.Error(), failure.Exit, failure.Kept
	if _, putErr := r.b.Store.PutDerivation(&r.t.Step.Derivation); putErr != nil {
		return errors.Join(err, putErr)
	}
	audit, auditErr := r.audit("")
	stored, recordErr := r.b.Store.RecordFailure(ctx, store.Failure{Record: record, Log: r.logPath(), Audit: audit})
	failure.Record = stored.Number
	return errors.Join(err, auditErr, recordErr)
}

// keep moves what the build left to a directory that nobody else can enter, and returns its path.
func (r *run) keep() (string, error) {
	kept, err := os.MkdirTemp(r.b.Store.TmpDir(), "kept-"+r.t.Step.Name()+"-")
	if err != nil {
		return "", err
	}
	for _, dir := range []string{r.scratch.Build(), r.scratch.Out()} {
		err := os.Rename(dir, filepath.Join(kept, filepath.Base(dir)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an output that was registered is there no more
			return kept, err
		}
	}
	return kept, nil
}
