package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/artifact/store/storetest"
	"hdjail/artifact/tree"
)

var must = storetest.Must

// fixture is a store with a realization, one that was built with it, and one of each input.
type fixture struct {
	*store.Store
	base, top artifact.Realization
	source    string
	snapshot  artifact.TreeDigest
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	s := storetest.Open(t, "", store.Options{})
	var err error
	f := &fixture{Store: s}
	f.base = f.register(t, sample("base"), nil)
	f.top = f.register(t, sample("top", f.base.Derivation), artifact.Context{f.base.Derivation: {f.base.ID}})

	dir := s.Path("host/packages/new")
	must(t, os.MkdirAll(dir+"/usr", 0o755), os.WriteFile(dir+"/usr/f", []byte("snapshot"), 0o644))
	f.snapshot, err = tree.DigestPath(context.Background(), dir)
	must(t, err, os.Rename(dir, s.HostPackagePath(f.snapshot)), os.MkdirAll(s.Path("host/trees", strings.Repeat("0", 40)), 0o755))

	must(t, os.MkdirAll(s.Path("sources/sha256"), 0o755), os.MkdirAll(s.Path("sources/tree"), 0o755), os.MkdirAll(s.Path("sources/git"), 0o755))
	must(t, os.WriteFile(s.Path("file"), []byte("source"), 0o644))
	c := checker{store: s}
	f.source, _, err = c.sourceDigest("sha256:", s.Path("file"))
	must(t, err, os.Rename(s.Path("file"), s.SourcePath(f.source)))
	copied := s.SourcePath("tree:" + strings.TrimPrefix(f.snapshot.String(), "blake3:"))
	must(t, os.MkdirAll(copied+"/usr", 0o755), os.WriteFile(copied+"/usr/f", []byte("snapshot"), 0o644))
	commit := s.SourcePath("git:" + strings.Repeat("a", 40))
	must(t, os.MkdirAll(commit+"/usr", 0o755), os.WriteFile(commit+"/usr/f", []byte("snapshot"), 0o644),
		os.WriteFile(commit+".digest", []byte(f.snapshot.String()+"\n"), 0o644))
	return f
}

func sample(name string, deps ...artifact.DerivationID) *artifact.Derivation {
	d := &artifact.Derivation{Layout: 1, Name: name, Version: "1", System: "x86_64-linux", Prefix: "/hdjail", Script: "true"}
	for _, id := range deps {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id})
	}
	return d
}

func (f *fixture) register(t testing.TB, d *artifact.Derivation, c artifact.Context) artifact.Realization {
	t.Helper()
	temp, err := f.NewTemp()
	must(t, err)
	defer temp.Close()
	out, log := temp.Dir+"/out", temp.Dir+"/log"
	must(t, os.Mkdir(out, 0o755), os.WriteFile(out+"/f", []byte(d.Name), 0o644), os.WriteFile(log, []byte("building\n"), 0o644))
	r, err := collect.Collect(context.Background(), out, collect.Options{UID: os.Geteuid()})
	must(t, err)
	made, err := f.Register(context.Background(), store.Registration{Derivation: d, Context: c, Out: out, Tree: r.Tree, Log: log,
		Record: artifact.BuildRecord{Purpose: "build"}})
	must(t, err)
	return made
}

func noRoots() ([]store.Root, error) { return nil, nil }

func (f *fixture) check(t testing.TB) *Report {
	t.Helper()
	r, err := Check(context.Background(), f.Store, Options{Roots: noRoots})
	must(t, err)
	return r
}

func kinds(r *Report) string {
	var list []string
	for _, p := range r.Problems {
		list = append(list, string(p.Kind))
	}
	return strings.Join(list, ", ")
}

// change overwrites a file, whatever its mode.
func change(t testing.TB, file, content string) {
	t.Helper()
	must(t, os.Chmod(filepath.Dir(file), 0o755), os.Remove(file), os.WriteFile(file, []byte(content), 0o444))
}

func TestWhole(t *testing.T) {
	f := newFixture(t)
	r := f.check(t)
	if len(r.Problems) > 0 || r.Err() != nil || r.Objects < 15 || r.Bytes != int64(len("base")+len("top")+3*len("snapshot")+len("source")) {
		t.Errorf("%+v", r)
	}
}

// TestDamage: each damage is found, as what it is; a quarantine moves it away and leaves nothing that is damaged but what
// the caller has to make anew.
func TestDamage(t *testing.T) {
	realization := func(f *fixture) string { return f.Path("realizations", f.base.ID.String()) }
	for _, test := range []struct {
		name        string
		damage      func(t *testing.T, f *fixture)
		want, after string
		moved       bool
	}{
		{"content", func(t *testing.T, f *fixture) { change(t, realization(f)+"/out/f", "x") }, "realization", "context", true},
		{"extra file", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f)+"/out", 0o755), os.WriteFile(realization(f)+"/out/new", nil, 0o644))
		}, "realization", "context", true},
		{"executable", func(t *testing.T, f *fixture) { must(t, os.Chmod(realization(f)+"/out/f", 0o555)) }, "realization", "context", true},
		{"no tree", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f)+"/out", 0o755), os.RemoveAll(realization(f)+"/out"))
		}, "realization", "context", true},
		{"tree is a link", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f)+"/out", 0o755), os.RemoveAll(realization(f)+"/out"), os.Symlink("/", realization(f)+"/out"))
		}, "realization", "context", true},
		{"manifest", func(t *testing.T, f *fixture) { change(t, realization(f)+"/manifest.json", "{}") }, "realization", "context", true},
		{"no manifest", func(t *testing.T, f *fixture) { must(t, os.Remove(realization(f)+"/manifest.json")) }, "realization", "context", true},
		{"link beside a tree", func(t *testing.T, f *fixture) {
			links, err := filepath.Glob(f.Path("realizations", f.top.ID.String(), "*-base-1"))
			must(t, err, os.Remove(links[0]), os.Symlink("/etc", links[0]))
		}, "realization", "", true},
		{"gone from a context", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f)+"/out", 0o755), os.RemoveAll(realization(f)))
		}, "context, public path", "context", false},
		{"log", func(t *testing.T, f *fixture) { change(t, realization(f)+"/log.zst", "x") }, "log", "", true},
		{"empty log", func(t *testing.T, f *fixture) { change(t, realization(f)+"/log.zst", "") }, "log", "", true},
		{"audit", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f), 0o755), os.WriteFile(realization(f)+"/audit.jsonl.zst", []byte("x"), 0o444))
		}, "audit", "", true},
		{"pipe for a log", func(t *testing.T, f *fixture) {
			must(t, os.Chmod(realization(f), 0o755), os.Remove(realization(f)+"/log.zst"), unix.Mkfifo(realization(f)+"/log.zst", 0o644))
		}, "log", "", true},
		{"derivation", func(t *testing.T, f *fixture) {
			change(t, f.Path("derivations", f.top.Derivation.String()+".json"), `{"name":"x"}`)
		}, "derivation", "context", true},
		{"record", func(t *testing.T, f *fixture) {
			change(t, f.Path("builds", f.top.Derivation.String(), "1/record.json"), "x")
		}, "build record", "", true},
		{"source", func(t *testing.T, f *fixture) { change(t, f.SourcePath(f.source), "x") }, "source", "", true},
		{"source tree", func(t *testing.T, f *fixture) {
			change(t, f.SourcePath("tree:"+strings.TrimPrefix(f.snapshot.String(), "blake3:"))+"/usr/f", "x")
		}, "source", "", true},
		{"commit", func(t *testing.T, f *fixture) { change(t, f.SourcePath("git:"+strings.Repeat("a", 40))+"/usr/f", "x") }, "source", "", true},
		{"commit without its note", func(t *testing.T, f *fixture) {
			must(t, os.Remove(f.SourcePath("git:"+strings.Repeat("a", 40))+".digest"))
		}, "source", "", true},
		{"snapshot", func(t *testing.T, f *fixture) { change(t, f.HostPackagePath(f.snapshot)+"/usr/f", "x") }, "host package", "", true},
		{"public path", func(t *testing.T, f *fixture) {
			links, err := filepath.Glob(f.Path("store/*-base-1"))
			must(t, err, os.Remove(links[0]), os.Symlink("../realizations/"+f.top.ID.String()+"/out", links[0]))
		}, "public path", "", false},
		{"root", func(t *testing.T, f *fixture) { must(t, os.WriteFile(f.Path("gcroots/pin-x.json"), nil, 0o444)) }, "root", "root", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			test.damage(t, f)
			r := f.check(t)
			var damaged *DamagedError
			if kinds(r) != test.want || !errors.As(r.Err(), &damaged) {
				t.Fatalf("found %q: %+v", kinds(r), r.Problems)
			}
			if again := f.check(t); kinds(again) != test.want {
				t.Error("a check has changed something")
			}
			_, err := r.Quarantine(context.Background(), f.Store, lease.Options{})
			must(t, err)
			if left := f.check(t); kinds(left) != test.after {
				t.Errorf("after the quarantine there is %q: %+v", kinds(left), left.Problems)
			}
			if place := r.Problems[0].Quarantine; test.moved != (place != "") {
				t.Errorf("it was moved to %q", place)
			} else if _, err := os.Lstat(f.Path(place)); err != nil {
				t.Error(err)
			}
			for _, p := range r.Problems {
				if (p.Repaired == "") == (p.Needs == "") {
					t.Errorf("neither repaired nor needs, or both: %+v", p)
				}
			}
		})
	}
}

// What was built again repairs the realization, and a result that has come back the context of those that were built with
// it; another result does not.
func TestBuiltAgain(t *testing.T) {
	for _, same := range []bool{true, false} {
		f := newFixture(t)
		change(t, f.Path("realizations", f.base.ID.String(), "out/f"), "x")
		r := f.check(t)
		todo, err := r.Quarantine(context.Background(), f.Store, lease.Options{})
		must(t, err)
		if !slices.Equal(todo.Build, []artifact.DerivationID{f.base.Derivation}) || len(todo.Fetch) > 0 {
			t.Errorf("%+v", todo)
		}
		if same {
			f.register(t, sample("base"), nil)
		}
		r.Built(f.Store)
		if same != (r.Err() == nil) || !same && kinds(r) != "realization, context" {
			t.Errorf("the same result: %v; %+v", same, r.Problems)
		}
		if left := kinds(f.check(t)); same != (left == "") {
			t.Errorf("the same result: %v; there is %q", same, left)
		}
	}
}

// What a root names and the store lacks is a problem until it is there again, whatever else was repaired.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		name string
		root func(f *fixture) store.Root
		lose func(t *testing.T, f *fixture)
		want string
		// back says whether the derivation is there to build it again.
		back bool
	}{
		{"realization", func(f *fixture) store.Root { return store.Root{Realization: f.top.ID} }, loseTop, "missing", true},
		{"all of a derivation", func(f *fixture) store.Root { return store.Root{Derivation: f.top.Derivation} }, loseTop, "missing", true},
		{"with its derivation", func(f *fixture) store.Root { return store.Root{Realization: f.top.ID} }, func(t *testing.T, f *fixture) {
			loseTop(t, f)
			must(t, os.Remove(f.Path("derivations", f.top.Derivation.String()+".json")))
		}, "missing, missing", false},
		{"source", func(f *fixture) store.Root { return store.Root{Realization: f.sourced(t).ID} }, func(t *testing.T, f *fixture) {
			must(t, os.Remove(f.SourcePath(f.source)))
		}, "source", false},
		{"snapshot", func(f *fixture) store.Root { return store.Root{Realization: f.sourced(t).ID} }, func(t *testing.T, f *fixture) {
			must(t, os.RemoveAll(f.HostPackagePath(f.snapshot)))
		}, "host package", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			root := test.root(f)
			root.Kind, root.Name = store.Pin, "x"
			must(t, f.AddRoot(context.Background(), root, lease.Options{}))
			if r := f.check(t); len(r.Problems) > 0 {
				t.Fatalf("%+v", r.Problems)
			}
			test.lose(t, f)
			r := f.check(t)
			if kinds(r) != test.want {
				t.Fatalf("found %q: %+v", kinds(r), r.Problems)
			}
			todo, err := r.Quarantine(context.Background(), f.Store, lease.Options{})
			must(t, err)
			if kinds(f.check(t)) != test.want || r.Err() == nil {
				t.Errorf("the damage is forgotten: %+v", r.Problems)
			}
			if build := slices.Contains(todo.Build, f.top.Derivation); build != test.back {
				t.Errorf("%+v", todo)
			}
			if !test.back {
				return
			}
			if f.register(t, sample("top", f.base.Derivation), artifact.Context{f.base.Derivation: {f.base.ID}}); !r.Lacks(f.Store, f.base.Derivation) {
				r.Built(f.Store)
			}
			if r.Err() != nil || kinds(f.check(t)) != "" {
				t.Errorf("%+v", r.Problems)
			}
		})
	}
}

func loseTop(t *testing.T, f *fixture) {
	links, err := filepath.Glob(f.Path("store/*-top-1"))
	must(t, err, os.Remove(links[0]))
	dir := f.Path("realizations", f.top.ID.String())
	must(t, os.Chmod(dir+"/out", 0o755), os.RemoveAll(dir))
}

// sourced is a realization of a derivation with inputs.
func (f *fixture) sourced(t testing.TB) artifact.Realization {
	d := sample("sourced")
	d.Sources = []artifact.Source{{Digest: f.source, Target: "x"}}
	d.HostPackages = []artifact.HostPackage{{Name: "p", Version: "1", Digest: f.snapshot}}
	return f.register(t, d, nil)
}

// BenchmarkCheck digests a store of 200 realizations with 1 MB in 20 files each; compare with b3sum of the same files.
func BenchmarkCheck(b *testing.B) {
	f := newFixture(b)
	for i := range 200 {
		temp, err := f.NewTemp()
		must(b, err)
		out := temp.Dir + "/out"
		must(b, os.Mkdir(out, 0o755))
		for k := range 20 {
			must(b, os.WriteFile(fmt.Sprint(out, "/", k), []byte(strings.Repeat(fmt.Sprint(i, k, "\n"), 10_000)), 0o644))
		}
		r, err := collect.Collect(context.Background(), out, collect.Options{UID: os.Geteuid()})
		must(b, err)
		_, err = f.Register(context.Background(), store.Registration{Derivation: sample(fmt.Sprint("big", i)), Out: out, Tree: r.Tree,
			Bytes: r.Stats.Bytes, Record: artifact.BuildRecord{Purpose: "build"}})
		must(b, err, temp.Close())
	}
	for b.Loop() {
		r := f.check(b)
		b.SetBytes(r.Bytes)
	}
}
