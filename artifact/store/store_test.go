package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/tree"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// open makes a store in a fresh directory, removed at the end.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	parent := t.TempDir()
	must(t, os.Chmod(parent, 0o755))
	if o.Now == nil {
		o.Now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	}
	s, err := Open(parent+"/store", o)
	must(t, err)
	t.Cleanup(func() {
		p, err := os.Open(parent)
		must(t, err, s.Close())
		defer p.Close()
		must(t, tree.Remove(p, "store"))
	})
	return s
}

// reopen opens a store that exists, or one in a directory that its caller removes.
func reopen(t testing.TB, root string, o Options) *Store {
	t.Helper()
	s, err := Open(root, o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func sample(name string, deps ...artifact.DerivationID) *artifact.Derivation {
	d := &artifact.Derivation{Layout: 1, Name: name, Version: "1", System: "x86_64-linux", Prefix: "/hdjail", Script: "true"}
	for _, id := range deps {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id})
	}
	return d
}

// run plays a build without dependencies that leaves the files, and registers it.
func run(s *Store, d *artifact.Derivation, files map[string]string) (artifact.Realization, error) {
	return runIn(s, d, nil, files)
}

func runIn(s *Store, d *artifact.Derivation, c artifact.Context, files map[string]string) (artifact.Realization, error) {
	return runRecorded(s, d, c, files, nil)
}

// runRecorded is a run with an audit; an empty one is none.
func runRecorded(s *Store, d *artifact.Derivation, c artifact.Context, files map[string]string, audit []byte) (artifact.Realization, error) {
	if len(audit) == 0 {
		audit = nil
	}
	temp, err := s.NewTemp()
	if err != nil {
		return artifact.Realization{}, err
	}
	defer temp.Close()
	log := temp.Dir + "/log"
	errs := []error{os.Mkdir(temp.Dir+"/out", 0o755), os.WriteFile(log, []byte("building "+d.Name+"\n"), 0o600)}
	for name, content := range files {
		p := filepath.Join(temp.Dir, "out", name)
		errs = append(errs, os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o755))
	}
	if err := errors.Join(errs...); err != nil {
		return artifact.Realization{}, err
	}
	r, err := collect.Collect(context.Background(), temp.Dir+"/out", collect.Options{UID: os.Geteuid()})
	if err != nil {
		return artifact.Realization{}, err
	}
	return s.Register(context.Background(), Registration{
		Derivation: d, Context: c, Out: temp.Dir + "/out", Tree: r.Tree, Log: log, Audit: audit,
		Record: artifact.BuildRecord{Purpose: "build", Mode: "hide", Builder: artifact.Builder{Host: "test"}},
	})
}
