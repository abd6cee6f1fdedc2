package public

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/closure"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
	"hdjail/artifact/store/storetest"
	"hdjail/profile"
)

// shop is a store with realizations in it and its profiles.
type shop struct {
	t     *testing.T
	store *store.Store
	paths Paths
	byID  map[artifact.DerivationID]*artifact.Derivation
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := storetest.Open(t, "", store.Options{})
	self, err := lease.Self()
	if err != nil {
		t.Fatal(err)
	}
	profiles := &profile.Profiles{Dir: s.ProfilesDir(), Now: time.Now, Lock: lease.Options{Holder: self, Timeout: time.Minute}}
	w := &shop{t: t, store: s, paths: Paths{Store: s, Profiles: profiles}, byID: map[artifact.DerivationID]*artifact.Derivation{}}
	profiles.Publish = w.paths.Settle
	return w
}

// derivation is one that depends on others.
func (w *shop) derivation(name string, dependencies ...artifact.DerivationID) artifact.DerivationID {
	d := &artifact.Derivation{Layout: 1, Name: name, System: "x86_64-linux", Prefix: w.store.Prefix()}
	for _, id := range dependencies {
		d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: id})
	}
	w.byID[d.ID()] = d
	return d.ID()
}

// build registers a realization whose file has the name and the content.
func (w *shop) build(id artifact.DerivationID, content string, ctx artifact.Context) artifact.RealizationID {
	w.t.Helper()
	d := w.byID[id]
	out := filepath.Join(w.t.TempDir(), "out")
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, d.Name), []byte(content), 0o644)); err != nil {
		w.t.Fatal(err)
	}
	found, err := collect.Collect(w.t.Context(), out, collect.Options{UID: os.Getuid(), Artifact: w.store.PublicPath(d)})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.store.Register(w.t.Context(), store.Registration{Derivation: d, Context: ctx, Out: out, Tree: found.Tree, Record: artifact.BuildRecord{Purpose: "build"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

func (w *shop) link(name string, linked ...artifact.RealizationID) error {
	edit := profile.Edit{Set: true}
	for _, id := range linked {
		r, err := w.store.Realization(id)
		if err != nil {
			w.t.Fatal(err)
		}
		edit.Add = append(edit.Add, profile.Artifact{Name: w.byID[r.Derivation].Name, Derivation: r.Derivation, Realization: id, Out: w.store.OutPath(id)})
	}
	_, err := w.paths.Profiles.Link(w.t.Context(), name, edit)
	return err
}

func (w *shop) leads(to artifact.RealizationID) {
	w.t.Helper()
	r, err := w.store.Realization(to)
	if err != nil {
		w.t.Fatal(err)
	}
	if now, err := w.store.Public(r.Derivation); err != nil || now != to {
		w.t.Errorf("the public path leads to %s, not to %s; %v", now, to, err)
	}
}

func TestPaths(t *testing.T) {
	w := newShop(t)
	x := w.derivation("x")
	b, c := w.derivation("b", x), w.derivation("c", x)
	x1, x2 := w.build(x, "1", nil), w.build(x, "2", nil)
	b1 := w.build(b, "b", artifact.Context{x: {x1}})
	c2 := w.build(c, "c", artifact.Context{x: {x2}})
	w.leads(x1)

	// What was built with different ones is not linked together, and nothing moves.
	var differ *closure.InconsistentError
	if err := w.link("p", b1, c2); !errors.As(err, &differ) || !strings.HasSuffix(err.Error(), "x is "+x1.String()+" through b and "+x2.String()+" through c") {
		t.Errorf("b and c: %v", err)
	}
	if err := w.link("p", x2, b1); !errors.As(err, &differ) || !strings.Contains(err.Error(), x2.String()+" itself") {
		t.Errorf("b and another x: %v", err)
	}
	w.leads(x1)

	// A profile moves the path, and so does use, while nobody needs it.
	if err := w.link("p", c2); err != nil {
		t.Error(err)
	}
	w.leads(x2)
	var live *LiveError
	if err := w.paths.Use(t.Context(), x1); !errors.As(err, &live) || live.Profile != "p" || live.Generation != 1 || live.Witness.OneName != "c" {
		t.Errorf("use: %v", err)
	}
	if err := w.link("q", b1); !errors.As(err, &live) || live.Witness.OtherName != "b" {
		t.Errorf("another profile: %v", err)
	}
	if all, err := w.paths.Profiles.List(); err != nil || len(all) != 1 {
		t.Errorf("profiles %v, %v", all, err)
	}
	w.leads(x2)
	if err := w.paths.Use(t.Context(), x2); err != nil {
		t.Errorf("to where it leads already: %v", err)
	}
	if err := w.link("p", b1); err != nil { // its own current generation is no obstacle
		t.Error(err)
	}
	w.leads(x1)
	if _, err := w.paths.Profiles.Rollback(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	w.leads(x2)
	if err := w.link("p"); err != nil {
		t.Error(err)
	}
	if err := w.paths.Use(t.Context(), x1); err != nil {
		t.Error(err)
	}
	w.leads(x1)
	var none *store.NotFoundError
	if err := w.paths.Use(t.Context(), artifact.RealizationID{9}); !errors.As(err, &none) {
		t.Errorf("use of nothing: %v", err)
	}
	if left, err := os.ReadDir(w.store.TmpDir()); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}
