package gc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/artifact/store/storetest"
	"hdjail/artifact/tree"
)

var must = storetest.Must

func openStore(t testing.TB) *store.Store {
	t.Helper()
	return storetest.Open(t, "", store.Options{})
}

func sample(name string, deps ...artifact.DerivationID) *artifact.Derivation {
	d := &artifact.Derivation{Layout: 1, Name: name, Version: "1", System: "x86_64-linux", Prefix: "/hdjail", Script: "true"}
	for _, id := range deps {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id, Many: true})
	}
	return d
}

// register plays a build that leaves one file.
func register(s *store.Store, d *artifact.Derivation, c artifact.Context, content string) (artifact.Realization, error) {
	temp, err := s.NewTemp()
	if err != nil {
		return artifact.Realization{}, err
	}
	defer temp.Close()
	out := temp.Dir + "/out"
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(out+"/f", []byte(content), 0o644)); err != nil {
		return artifact.Realization{}, err
	}
	r, err := collect.Collect(context.Background(), out, collect.Options{UID: os.Geteuid()})
	if err != nil {
		return artifact.Realization{}, err
	}
	return s.Register(context.Background(), store.Registration{Derivation: d, Context: c, Out: out, Tree: r.Tree, Bytes: r.Stats.Bytes,
		Record: artifact.BuildRecord{Purpose: "build"}})
}

// realChain is the chain d1 <- d2 (two results) <- d3 in a store, with a source and a snapshot that only d3 names.
func realChain(t testing.TB, s *store.Store) map[string]artifact.RealizationID {
	t.Helper()
	d1 := sample("d1")
	d2 := sample("d2", d1.ID())
	d3 := sample("d3", d2.ID())
	source := "sha256:" + fmt.Sprintf("%064d", 7)
	snapshot, err := artifact.ParseTreeDigest("blake3:" + fmt.Sprintf("%064d", 8))
	must(t, err)
	d3.Sources = []artifact.Source{{Digest: source, Target: "x"}}
	d3.HostPackages = []artifact.HostPackage{{Name: "p", Version: "1", Digest: snapshot}}
	must(t, os.MkdirAll(filepath.Dir(s.SourcePath(source)), 0o755), os.WriteFile(s.SourcePath(source), []byte("source"), 0o444),
		os.MkdirAll(s.HostPackagePath(snapshot)+"/usr", 0o755), os.WriteFile(s.HostPackagePath(snapshot)+"/usr/f", []byte("p"), 0o444),
		os.Chmod(s.HostPackagePath(snapshot), 0o555))
	r1, err := register(s, d1, nil, "1")
	must(t, err)
	in1 := artifact.Context{d1.ID(): {r1.ID}}
	r2a, err := register(s, d2, in1, "2a")
	must(t, err)
	r2b, err := register(s, d2, in1, "2b")
	must(t, err)
	in2, err := artifact.NewContext(map[artifact.DerivationID][]artifact.RealizationID{d2.ID(): {r2a.ID, r2b.ID}})
	must(t, err)
	r3, err := register(s, d3, in2, "3")
	must(t, err)
	return map[string]artifact.RealizationID{"r1": r1.ID, "r2a": r2a.ID, "r2b": r2b.ID, "r3": r3.ID}
}

func noRoots() ([]store.Root, error) { return nil, nil }

// checkStore makes sure that every realization has its context, derivation and records, and that public paths lead to one.
func checkStore(t testing.TB, s *store.Store) {
	t.Helper()
	snap, err := Read(context.Background(), s, nil)
	must(t, err)
	for _, e := range snap.Realizations {
		d, err := s.Derivation(e.Derivation)
		must(t, err)
		r, err := s.Realization(e.ID)
		must(t, err)
		if len(r.Records) == 0 || r.Records[0].Number == 0 {
			t.Errorf("%s has no record", d.Name)
		}
		for _, ids := range e.Context {
			for _, id := range ids {
				if _, err := s.Realization(id); err != nil {
					t.Errorf("the context of a result of %s: %v", d.Name, err)
				}
			}
		}
		if digest, err := tree.DigestPath(context.Background(), s.OutPath(e.ID)); err != nil || digest != e.Tree {
			t.Errorf("a result of %s: %v", d.Name, err)
		}
	}
	for _, d := range snap.Derivations {
		for _, dep := range d.Dependencies {
			if _, err := s.Derivation(dep); err != nil {
				t.Errorf("a dependency of %s: %v", d.Name, err)
			}
		}
	}
	links, err := filepath.Glob(s.Root() + "/store/*")
	must(t, err)
	for _, link := range links {
		if _, err := os.Stat(link); err != nil {
			t.Errorf("a public path leads nowhere: %v", err)
		}
	}
}

// TestPrefixes takes a collection that is cut off after each of its steps: what is left is whole, and the next collection
// does the rest. What was taken out is swept when the process is gone.
func TestPrefixes(t *testing.T) {
	ctx := context.Background()
	for n := 0; ; n++ {
		s := openStore(t)
		ids := realChain(t, s)
		must(t, s.AddRoot(ctx, store.Root{Kind: store.Pin, Name: "p", Realization: ids["r2a"]}, lease.Options{}))
		plan, err := Preview(ctx, s, all, noRoots)
		must(t, err)
		if n > len(plan.Steps) {
			break
		}
		bin, err := s.NewBin()
		must(t, err)
		for _, step := range plan.Steps[:n] {
			_, err := step.Apply(s, bin)
			must(t, err)
			checkStore(t, s)
		}
		again, err := Collect(ctx, s, all, noRoots, lease.Options{})
		must(t, err, bin.Close())
		if len(again.Steps) != len(plan.Steps)-n {
			t.Errorf("after %d of %d steps the next collection has %d", n, len(plan.Steps), len(again.Steps))
		}
		checkStore(t, s)
		if found, err := s.RealizationIDs(); err != nil || len(found) != 2 {
			t.Errorf("%d realizations are left (%v), want r1 and r2a", len(found), err)
		}
		if entries, err := os.ReadDir(s.TmpDir()); err != nil || len(entries) > 0 {
			t.Errorf("tmp/ has %d entries (%v)", len(entries), err)
		}
		// The public path of d2 led to r2a or was moved to it.
		d2 := sample("d2", sample("d1").ID())
		if target, err := os.Readlink(s.Root() + "/store/" + d2.StoreName()); err != nil || filepath.Base(filepath.Dir(target)) != ids["r2a"].String() {
			t.Errorf("the public path leads to %q (%v)", target, err)
		}
	}
}

// A preview changes nothing; without roots all goes, inputs too.
func TestCollectAll(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	realChain(t, s)
	preview, err := Preview(ctx, s, all, noRoots)
	must(t, err)
	checkStore(t, s)
	plan, err := Collect(ctx, s, all, noRoots, lease.Options{})
	must(t, err)
	if len(plan.Steps) != 9 || plan.Freed == 0 || plan.Freed != preview.Freed {
		t.Errorf("%d steps, %d bytes; the preview had %d and %d", len(plan.Steps), plan.Freed, len(preview.Steps), preview.Freed)
	}
	for _, pattern := range []string{"realizations/*", "derivations/*", "builds/*/*", "store/*", "sources/*/*", "host/packages/*", "tmp/*"} {
		if left, err := filepath.Glob(s.Root() + "/" + pattern); err != nil || len(left) > 0 {
			t.Errorf("%s is left (%v)", left, err)
		}
	}
}

// A manifest or a root that cannot be read stops a collection.
func TestUnreadable(t *testing.T) {
	ctx := context.Background()
	for _, damage := range []func(s *store.Store, ids map[string]artifact.RealizationID) error{
		func(s *store.Store, ids map[string]artifact.RealizationID) error {
			manifest := s.OutPath(ids["r3"]) + "/../manifest.json"
			return errors.Join(os.Remove(manifest), os.WriteFile(manifest, []byte(`{"id":"x`), 0o444))
		},
		func(s *store.Store, _ map[string]artifact.RealizationID) error {
			return os.WriteFile(s.Root()+"/gcroots/pin-x.json", []byte(`{"kind":"pin"}`), 0o444)
		},
		func(s *store.Store, _ map[string]artifact.RealizationID) error {
			return os.WriteFile(s.Root()+"/gcroots/notes", nil, 0o444)
		},
	} {
		s := openStore(t)
		ids := realChain(t, s)
		must(t, damage(s, ids))
		if plan, err := Collect(ctx, s, all, noRoots, lease.Options{}); err == nil {
			t.Errorf("%d steps were taken", len(plan.Steps))
		}
		if found, err := s.RealizationIDs(); err != nil || len(found) != 4 {
			t.Errorf("%d realizations are left (%v)", len(found), err)
		}
	}
}

// A lease of a process that is gone counts nothing and is removed, one of a living process keeps what it names, and host
// packages.
func TestLeases(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	ids := realChain(t, s)
	self, err := lease.Self()
	must(t, err)
	gone := self
	gone.Start++ // a process of our number that began at another time
	dead, err := store.Open(s.Root(), store.Options{Holder: gone})
	must(t, err)
	_, err = dead.Lease(ctx, store.Use{Realizations: []artifact.RealizationID{ids["r3"]}}, lease.Options{})
	must(t, err, dead.Close())
	held, err := s.Lease(ctx, store.Use{Realizations: []artifact.RealizationID{ids["r1"]}}, lease.Options{})
	must(t, err)
	_, err = Collect(ctx, s, all, noRoots, lease.Options{})
	must(t, err)
	found, err := s.RealizationIDs()
	must(t, err)
	packages, err := s.HostPackages()
	must(t, err)
	if len(found) != 1 || found[0] != ids["r1"] || len(packages) != 1 {
		t.Errorf("%v and %d packages are left", found, len(packages))
	}
	must(t, held.Release(), held.Release())
	_, err = Collect(ctx, s, all, noRoots, lease.Options{})
	must(t, err)
	found, err = s.RealizationIDs()
	must(t, err)
	left, err := os.ReadDir(s.Root() + "/gcroots/leases")
	must(t, err)
	if len(found) > 0 || len(left) > 0 {
		t.Errorf("%v and %d files of leases are left", found, len(left))
	}
}

// TestRace collects in a loop beside builders that use what it wants to remove: each takes a lease, looks, builds what is
// missing, and finds all of it until it is done.
func TestRace(t *testing.T) {
	s := openStore(t)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	base := sample("base")
	var builders, collector errgroup.Group
	done := make(chan struct{})
	collected := 0
	var cycle atomic.Pointer[chan struct{}] // closed at the end of the collection that is under way
	first := make(chan struct{})
	cycle.Store(&first)
	collector.Go(func() error {
		for {
			plan, err := Collect(ctx, s, all, noRoots, lease.Options{})
			if err != nil {
				return err
			}
			for _, step := range plan.Steps {
				if step.Kind == Realization {
					collected++
				}
			}
			next := make(chan struct{})
			close(*cycle.Swap(&next))
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
	for i := range 4 {
		builders.Go(func() error {
			top := sample(fmt.Sprint("top", i), base.ID())
			for range 25 {
				if err := buildBoth(ctx, s, [2]*artifact.Derivation{base, top}, &cycle); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := builders.Wait()
	close(done)
	must(t, err, collector.Wait())
	if collected == 0 {
		t.Error("nothing was collected meanwhile, so this shows nothing")
	}
	_, err = Collect(ctx, s, all, noRoots, lease.Options{})
	must(t, err)
	if found, err := s.RealizationIDs(); err != nil || len(found) > 0 {
		t.Errorf("%d realizations are left (%v)", len(found), err)
	}
}

// buildBoth builds a chain of two under a lease, and looks for it again when the collection that was under way is over.
func buildBoth(ctx context.Context, s *store.Store, chain [2]*artifact.Derivation, cycle *atomic.Pointer[chan struct{}]) error {
	base, top := chain[0], chain[1]
	held, err := s.Lease(ctx, store.Use{Purpose: "build", Derivations: []artifact.DerivationID{base.ID(), top.ID()}}, lease.Options{})
	if err != nil {
		return err
	}
	defer held.Release()
	b, err := ensure(s, base, nil)
	if err != nil {
		return err
	}
	t, err := ensure(s, top, artifact.Context{base.ID(): {b.ID}})
	if err != nil {
		return err
	}
	select {
	case <-*cycle.Load():
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, id := range []artifact.RealizationID{b.ID, t.ID} {
		if _, err := os.ReadFile(s.OutPath(id) + "/f"); err != nil {
			return fmt.Errorf("it went while we held a lease: %w", err)
		}
	}
	return held.Release()
}

func ensure(s *store.Store, d *artifact.Derivation, c artifact.Context) (artifact.Realization, error) {
	found, err := s.Realizations(d.ID())
	if err != nil {
		return artifact.Realization{}, err
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return register(s, d, c, "content")
}
