package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// Files that lie beside a tree, or beside the record of a run: its log and its audit, both compressed.
const (
	LogFile   = logName
	AuditFile = auditName
)

// Arrival is a realization from another store. Who read it has made sure that it is what it says; see Import.
type Arrival struct {
	Derivation artifact.DerivationID
	Context    artifact.Context
	Tree       artifact.TreeDigest
	// Record tells the run that made it there. Import makes it a record of an import; what only a check made stays so,
	// because no matcher may take it for more here than there.
	Record artifact.BuildRecord
	// Dir is a directory on the store's file system that Import empties. It holds the tree, canonical, as "out" unless the
	// store has the realization, and LogFile and AuditFile of the run, 0444, if there are any.
	Dir string
}

// ID is the identity that follows from what the arrival says.
func (a *Arrival) ID() artifact.RealizationID {
	return artifact.NewRealizationID(a.Derivation, a.Context, a.Tree)
}

// Has reports whether the store has the realization.
func (s *Store) Has(id artifact.RealizationID) bool {
	return unix.Access(s.path("realizations", id.String(), "manifest.json"), unix.F_OK) == nil
}

// OpenKept opens the LogFile or the AuditFile of a run as it is stored. One that there is not gives *NotFoundError.
func (s *Store) OpenKept(r artifact.BuildRecord, name string) (*os.File, error) {
	what := map[string]string{LogFile: "log", AuditFile: "audit"}[name]
	return s.openBeside(r, what, name)
}

// Import publishes realizations in the order given, each in the order of Register: the tree, the build record, the public
// path unless that leads somewhere already. Their derivations are stored, and what a realization was built with is in the
// store or comes before it (else *NotFoundError). Everything is on disk before the first one appears. One that the store
// has only gets the record, and none for a run that it knows. After an error some may be published, each of them whole.
func (s *Store) Import(ctx context.Context, list []Arrival) error {
	if err := errors.Join(s.writable(), ctx.Err()); err != nil {
		return err
	}
	staged := make([]importing, len(list))
	defer func() {
		for _, i := range staged {
			i.close()
		}
	}()
	arrived := map[artifact.RealizationID]bool{}
	for i := range list {
		var err error
		if staged[i], err = s.stageArrival(&list[i], arrived); err != nil {
			return fmt.Errorf("import %s: %w", list[i].ID(), err)
		}
		arrived[list[i].ID()] = true
	}
	if err := s.sync(); err != nil {
		return err
	}
	var derivations []artifact.DerivationID
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		derivations = append(derivations, list[i].Derivation)
		if err := s.publishArrival(&list[i], staged[i]); err != nil {
			staged[i].record = nil // Sweep finishes what only lacks its name
			return fmt.Errorf("import %s: %w", list[i].ID(), err)
		}
	}
	return s.syncNames(derivations...)
}

// importing is an arrival that is ready to be published.
type importing struct {
	m manifest
	// exists is set when the store has the realization, record is nil when it also knows the run.
	exists bool
	record *Temp
}

func (i importing) close() {
	if i.record != nil {
		i.record.Close()
	}
}

// stageArrival completes what is in the arrival's directory, and stages its record.
func (s *Store) stageArrival(a *Arrival, arrived map[artifact.RealizationID]bool) (i importing, err error) {
	for _, chosen := range a.Context {
		for _, id := range chosen {
			if !arrived[id] && !s.Has(id) {
				return i, &NotFoundError{"realization", id.String()}
			}
		}
	}
	r := a.Record
	if r.Purpose != "check" {
		r.Purpose = "import"
	}
	r.Number, r.Failure, r.Message, r.Kept = 0, "", "", ""
	r.Derivation, r.Context, r.Realization, r.Tree = a.Derivation, a.Context, a.ID(), a.Tree
	i = importing{m: manifest{ID: a.ID(), Derivation: a.Derivation, Context: a.Context, Tree: a.Tree, First: r}, exists: s.Has(a.ID())}
	if !i.exists {
		if err := s.completeArrival(a.Dir, i.m); err != nil {
			return i, err
		}
	}
	known, err := s.knows(&r)
	if err != nil || known {
		return i, err
	}
	if i.record, err = s.stageRecord(&r, "", nil); err == nil && i.exists {
		err = s.moveKept(a.Dir, i.record.Dir) // the realization has the log of another run
	}
	if err != nil {
		i.close()
	}
	return i, err
}

// completeArrival puts beside the tree what a realization of this store has there.
func (s *Store) completeArrival(dir string, m manifest) error {
	out, err := tree.Open(dir+"/out", false)
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{"realization", m.ID.String()} // it was here, and is gone
	}
	if err != nil {
		return err
	}
	defer out.Close()
	if err := tree.Seal(int(out.Fd()), 0o555); err != nil {
		return s.denied(dir, err)
	}
	if err := s.putJSON(dir+"/manifest.json", m); err != nil {
		return err
	}
	if err := s.linkDependencies(dir, m.Context); err != nil {
		return err
	}
	return s.denied(dir, os.Chmod(dir, 0o755))
}

// moveKept moves a log and an audit.
func (s *Store) moveKept(from, to string) error {
	for _, name := range []string{LogFile, AuditFile} {
		err := os.Rename(from+"/"+name, to+"/"+name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.denied(to, err)
		}
	}
	return nil
}

// knows reports whether the store has the record of a run, whether it ran here or arrived.
func (s *Store) knows(r *artifact.BuildRecord) (bool, error) {
	records, err := s.Records(r.Derivation)
	same := func(k artifact.BuildRecord) bool {
		return k.Realization == r.Realization && k.Builder == r.Builder && k.Start.Equal(r.Start) && k.End.Equal(r.End)
	}
	return slices.ContainsFunc(records, same), err
}

// publishArrival is what Register does when everything is on disk.
func (s *Store) publishArrival(a *Arrival, i importing) error {
	if !i.exists {
		if _, err := s.moveTo(a.Dir, s.path("realizations", i.m.ID.String())); err != nil { // another may have been faster
			return err
		}
		if err := s.keepsContext(i.m); err != nil {
			return err
		}
	}
	if err := s.linkPublic(i.m); err != nil || i.record == nil {
		return err
	}
	if known, err := s.knows(&i.m.First); err != nil || known { // by now, perhaps
		return err
	}
	return s.publishRecord(i.record, &i.m.First)
}
