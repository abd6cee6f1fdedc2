package store

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// arriving makes an arrival below tmp/ of the store, with one file.
func arriving(t *testing.T, s *Store, d *artifact.Derivation, c artifact.Context, content string) (Arrival, *Temp) {
	t.Helper()
	_, err := s.PutDerivation(d)
	must(t, err)
	temp, err := s.NewTemp()
	must(t, err, os.Mkdir(temp.Dir+"/r", 0o755), os.Mkdir(temp.Dir+"/r/out", 0o755), os.WriteFile(temp.Dir+"/r/out/f", []byte(content), 0o444))
	must(t, os.WriteFile(temp.Dir+"/r/"+AuditFile, []byte("audit "+content), 0o444))
	digest, err := tree.DigestPath(context.Background(), temp.Dir+"/r/out")
	must(t, err)
	start := time.Unix(1, 0)
	return Arrival{Derivation: d.ID(), Context: c, Tree: digest, Dir: temp.Dir + "/r", Record: artifact.BuildRecord{Purpose: "build",
		Failure: "exit", Kept: "/etc", Message: "m", Number: 7, Start: start, End: start, Builder: artifact.Builder{Host: "there"}}}, temp
}

// TestImportCrash: a machine that dies between the realization and its record leaves what the next sweep completes as an
// import.
func TestImportCrash(t *testing.T) {
	s := open(t, Options{})
	crashed := reopen(t, s.root, Options{Holder: dead(t)})
	a, _ := arriving(t, crashed, sample("a"), nil, "x")
	must(t, crashed.Import(context.Background(), []Arrival{a}))
	must(t, os.RemoveAll(s.path("builds", a.Derivation.String())), os.Remove(s.path("store", sample("a").StoreName())))
	_, err := s.Sweep(context.Background())
	must(t, err, s.recover(context.Background()))
	noTemporaries(t, s)
	verify(t, s)
	r, err := s.Realization(a.ID())
	must(t, err)
	if got := r.Records[0]; got.Purpose != "import" || got.Failure != "" || got.Kept != "" || got.Number != 1 || got.Builder.Host != "there" {
		t.Errorf("%+v", got)
	}
	if got := readAudit(t, s, r.Records[0]); got != "audit x" {
		t.Errorf("audit %q", got)
	}
}

// TestImportKnown: a realization that this store built keeps its log and audit, and the import has its own.
func TestImportKnown(t *testing.T) {
	s := open(t, Options{})
	built, err := runRecorded(s, sample("a"), nil, map[string]string{"g": "x"}, []byte("ours"))
	must(t, err)
	a, temp := arriving(t, s, sample("a"), nil, "unused")
	defer temp.Close()
	a.Tree = built.Tree
	must(t, s.Import(context.Background(), []Arrival{a}), s.Import(context.Background(), []Arrival{a}))
	r, err := s.Realization(built.ID)
	must(t, err)
	if len(r.Records) != 2 || readAudit(t, s, r.Records[0]) != "ours" || readAudit(t, s, r.Records[1]) != "audit unused" {
		t.Errorf("%+v", r.Records)
	}
	last, err := s.LastRecord(false)
	if err != nil || last.Purpose != "build" {
		t.Errorf("the last run is %+v, %v", last, err)
	}
}

// TestImportRefuses: what a realization was built with comes before it, and one that is said to be here is.
func TestImportRefuses(t *testing.T) {
	s := open(t, Options{})
	a, ta := arriving(t, s, sample("a"), nil, "x")
	d := sample("b", a.Derivation)
	b, tb := arriving(t, s, d, only(a.Derivation, a.ID()), "y")
	gone, tg := arriving(t, s, sample("c"), nil, "z")
	must(t, os.RemoveAll(gone.Dir+"/out"))
	for _, list := range [][]Arrival{{b}, {b, a}, {gone}} {
		if err := s.Import(context.Background(), list); !errors.As(err, new(*NotFoundError)) {
			t.Error(err)
		}
		if left, _ := os.ReadDir(s.path("realizations")); len(left) > 0 {
			t.Errorf("%v", left)
		}
	}
	must(t, ta.Close(), tb.Close(), tg.Close())
	noTemporaries(t, s)
}
