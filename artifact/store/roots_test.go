package store

import (
	"context"
	"errors"
	"os"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

func TestRoots(t *testing.T) {
	ctx := context.Background()
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	pin := Root{Kind: Pin, Name: "p", Realization: a.ID}
	dir := t.TempDir()
	link := Root{Kind: Link, Name: dir + "/result", Realization: a.ID, Target: s.OutPath(a.ID)}
	must(t, s.AddRoot(ctx, pin, lease.Options{}), s.AddRoot(ctx, pin, lease.Options{}), s.AddRoot(ctx, link, lease.Options{}))

	var taken *TakenError
	if err := s.AddRoot(ctx, Root{Kind: Pin, Name: "p", Derivation: a.Derivation}, lease.Options{}); !errors.As(err, &taken) || !taken.Root.same(pin) {
		t.Error(err)
	}
	for _, missing := range []Root{{Kind: Pin, Name: "q", Realization: artifact.RealizationID{1}}, {Kind: Pin, Name: "q", Derivation: artifact.DerivationID{1}}} {
		if err := s.AddRoot(ctx, missing, lease.Options{}); !errors.As(err, new(*NotFoundError)) {
			t.Error(err)
		}
	}
	for _, bad := range []Root{{}, {Kind: Pin, Name: "x"}, {Kind: Pin, Name: "../x", Realization: a.ID}, {Kind: Pin, Name: ".x", Realization: a.ID},
		{Kind: Link, Name: "result", Realization: a.ID, Target: "x"}, {Kind: Link, Name: "/result", Realization: a.ID}, {Kind: "lease", Name: "x", Realization: a.ID}} {
		if err := s.AddRoot(ctx, bad, lease.Options{}); !errors.As(err, new(*artifact.MalformedError)) {
			t.Errorf("%+v gives %v", bad, err)
		}
	}
	roots, err := s.Roots()
	must(t, err)
	if len(roots) != 2 || roots[0].Place != s.placeOf(link.Name) || roots[0].Target != link.Target || !roots[1].same(pin) || roots[0].Time.IsZero() {
		t.Errorf("roots are %+v", roots)
	}
	removed, err := s.RemoveRoots(ctx, func(r Root) bool { return r.Kind == Pin }, lease.Options{})
	must(t, err)
	roots, err = s.Roots()
	must(t, err)
	if len(removed) != 1 || len(roots) != 1 || roots[0].Kind != Link {
		t.Errorf("removed %+v, left %+v", removed, roots)
	}
	must(t, s.ForgetLink(link), s.ForgetLink(link))
	// Whoever may only read takes no root and no lease.
	reader := reopen(t, s.root, Options{ReadOnly: true})
	_, leaseErr := reader.Lease(ctx, Use{}, lease.Options{})
	_, removeErr := reader.RemoveRoots(ctx, func(Root) bool { return true }, lease.Options{})
	for _, err := range []error{leaseErr, removeErr, reader.AddRoot(ctx, pin, lease.Options{})} {
		if !errors.As(err, new(*AccessError)) {
			t.Error(err)
		}
	}
}

// A link counts as gone only if its directory can be read and says so.
func TestLinkGone(t *testing.T) {
	s := open(t, Options{})
	dir := t.TempDir()
	must(t, os.Symlink("/there", dir+"/right"), os.Symlink("/elsewhere", dir+"/other"), os.WriteFile(dir+"/file", nil, 0o644))
	for name, want := range map[string]bool{"right": false, "other": true, "file": true, "nosuch": true} {
		r := Root{Kind: Link, Name: dir + "/" + name, Target: "/there", Place: s.placeOf(dir + "/" + name)}
		if gone, err := s.LinkGone(r); gone != want || err != nil {
			t.Errorf("%s: gone is %v, %v", name, gone, err)
		}
	}
	for _, name := range []string{dir + "/nosuch/result", dir + "/file/result"} {
		r := Root{Kind: Link, Name: name, Target: "/there", Place: s.placeOf(dir + "/right")}
		if gone, err := s.LinkGone(r); gone || err == nil {
			t.Errorf("%s: gone is %v, %v", name, gone, err)
		}
	}
}

// Whether a link is gone can be told on its machine alone, and where its directory is the same.
func TestLinkElsewhere(t *testing.T) {
	s := open(t, Options{})
	dir := t.TempDir()
	here := s.placeOf(dir + "/result")
	for name, r := range map[string]struct {
		change func(*Place)
		known  bool
	}{
		"here":                 {func(*Place) {}, true},
		"since a restart":      {func(p *Place) { p.Boot = "x" }, true},
		"another host name":    {func(p *Place) { p.Host = "x" }, true},
		"another machine":      {func(p *Place) { p.Boot, p.Host = "x", "x" }, false},
		"another directory":    {func(p *Place) { p.Inode++ }, false},
		"another file system":  {func(p *Place) { p.Device++ }, false},
		"made who knows where": {func(p *Place) { *p = Place{} }, false},
	} {
		place := here
		r.change(&place)
		gone, err := s.LinkGone(Root{Kind: Link, Name: dir + "/result", Target: "/there", Place: place})
		if gone != r.known || (err == nil) != r.known {
			t.Errorf("%s: gone is %v, %v", name, gone, err)
		}
	}
}

// TestDamagedRoots: they hide no others, and can be removed.
func TestDamagedRoots(t *testing.T) {
	ctx := context.Background()
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	link := Root{Kind: Link, Name: t.TempDir() + "/result", Realization: a.ID, Target: "x"}
	for _, r := range []Root{{Kind: Pin, Name: "bad", Realization: a.ID}, {Kind: Pin, Name: "good", Realization: a.ID}, link} {
		must(t, s.AddRoot(ctx, r, lease.Options{}))
	}
	for _, file := range []string{"pin-bad.json", link.file()} {
		must(t, os.Remove(s.path("gcroots", file)), os.WriteFile(s.path("gcroots", file), []byte("{"), 0o644))
	}
	roots, err := s.Roots()
	if len(roots) != 1 || roots[0].Name != "good" || !errors.As(err, new(*RootError)) {
		t.Errorf("%+v, %v", roots, err)
	}
	removed, err := s.RemoveRoots(ctx, func(r Root) bool { return r.At(link.Name) }, lease.Options{})
	if len(removed) != 1 || err != nil {
		t.Errorf("of the link: %+v, %v", removed, err)
	}
	removed, err = s.RemoveRoots(ctx, func(r Root) bool { return r.Kind == Pin && r.Name == "bad" }, lease.Options{})
	if len(removed) != 1 || err != nil {
		t.Errorf("of the pin: %+v, %v", removed, err)
	}
	roots, err = s.Roots()
	if len(roots) != 1 || err != nil {
		t.Errorf("left %+v, %v", roots, err)
	}
}
