package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// Links in builds/ to the newest record, and to the newest one of a failure.
const (
	lastLink   = "last"
	failedLink = "last-failed"
)

// Failure is a run of a build that gave no realization.
type Failure struct {
	// Record says what failed; its Failure is not empty. Derivation is that of a stored one.
	Record artifact.BuildRecord
	// Log is the path of the log, empty for none. It is compressed into the store and stays where it is.
	Log string
	// Audit is the compressed audit, nil for none.
	Audit []byte
}

// RecordFailure stores the record, log and audit of a failed run and returns the record with its Number.
func (s *Store) RecordFailure(ctx context.Context, f Failure) (artifact.BuildRecord, error) {
	if err := errors.Join(s.writable(), ctx.Err()); err != nil {
		return f.Record, err
	}
	if f.Record.Failure == "" || f.Record.Realization != (artifact.RealizationID{}) {
		return f.Record, &artifact.MalformedError{What: "build record", Name: f.Record.Derivation.String(), Reason: "it is not of a failure"}
	}
	stage, err := s.stageRecord(&f.Record, f.Log, f.Audit)
	if err != nil {
		return f.Record, err
	}
	defer stage.Close()
	if err := s.sync(); err != nil {
		return f.Record, err
	}
	if err := s.publishRecord(stage, &f.Record); err != nil {
		return f.Record, err
	}
	return f.Record, s.linkLast(&f.Record)
}

// stageRecord writes a record and what belongs to it into a temporary directory.
func (s *Store) stageRecord(r *artifact.BuildRecord, log string, audit []byte) (*Temp, error) {
	stage, err := s.NewTemp()
	if err != nil {
		return nil, err
	}
	if r.LogBytes, err = s.putLogs(stage.Dir, log, audit, r.LogBytes); err == nil {
		err = s.putJSON(stage.Dir+"/record.json", r)
	}
	return s.staged(stage, err)
}

// publishRecord moves a record to the next free number of its derivation.
func (s *Store) publishRecord(stage *Temp, r *artifact.BuildRecord) error {
	dir := s.path("builds", r.Derivation.String())
	if err := s.mkdir(dir, 0o755); err != nil {
		return err
	}
	numbers, err := recordNumbers(dir)
	if err != nil {
		return err
	}
	r.Number = 1
	if n := len(numbers); n > 0 {
		r.Number = numbers[n-1] + 1
	}
	for ; ; r.Number++ {
		exists, err := s.moveTo(stage.Dir, dir+"/"+strconv.Itoa(r.Number))
		if err != nil || !exists {
			return err
		}
	}
}

// linkLast remembers the record as the newest one.
func (s *Store) linkLast(r *artifact.BuildRecord) error {
	target := r.Derivation.String() + "/" + strconv.Itoa(r.Number)
	if r.Failure != "" {
		if err := s.writeLink(s.path("builds", failedLink), target); err != nil {
			return err
		}
	}
	return s.writeLink(s.path("builds", lastLink), target)
}

// Records returns the build records of a derivation, oldest first; none is no error.
func (s *Store) Records(id artifact.DerivationID) ([]artifact.BuildRecord, error) {
	dir := s.path("builds", id.String())
	numbers, err := recordNumbers(dir)
	if err != nil {
		return nil, err
	}
	records := make([]artifact.BuildRecord, 0, len(numbers))
	for _, n := range numbers {
		r, err := s.record(id, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue // collected meanwhile
		}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// HasRecord reports whether the record of a run is there.
func (s *Store) HasRecord(id artifact.DerivationID, number int) bool {
	_, err := os.Lstat(s.recordDir(id, number))
	return err == nil
}

// LastRecord returns the newest record of the store, of all runs or of the failed ones. None gives *NotFoundError.
func (s *Store) LastRecord(failed bool) (artifact.BuildRecord, error) {
	link := lastLink
	if failed {
		link = failedLink
	}
	if target, err := os.Readlink(s.path("builds", link)); err == nil {
		name, number, _ := strings.Cut(target, "/")
		id, err1 := artifact.ParseDerivationID(name)
		n, err2 := strconv.Atoi(number)
		if err := errors.Join(err1, err2); err == nil {
			if r, err := s.record(id, n); err == nil {
				return r, nil
			}
		}
	}
	return s.scanLast(failed)
}

// scanLast looks at every record, for when the link does not lead to one.
func (s *Store) scanLast(failed bool) (artifact.BuildRecord, error) {
	entries, err := os.ReadDir(s.path("builds"))
	if err != nil {
		return artifact.BuildRecord{}, err
	}
	var all []artifact.BuildRecord
	for _, e := range entries {
		id, err := artifact.ParseDerivationID(e.Name())
		if err != nil {
			continue
		}
		records, err := s.Records(id)
		if err != nil {
			return artifact.BuildRecord{}, err
		}
		all = append(all, slices.DeleteFunc(records, func(r artifact.BuildRecord) bool { return failed && r.Failure == "" })...)
	}
	if len(all) == 0 {
		return artifact.BuildRecord{}, &NotFoundError{"build record", "last"}
	}
	return slices.MaxFunc(all, func(a, b artifact.BuildRecord) int {
		return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Derivation.String(), b.Derivation.String()), cmp.Compare(a.Number, b.Number))
	}), nil
}

func (s *Store) record(id artifact.DerivationID, n int) (artifact.BuildRecord, error) {
	data, err := readFile(s.recordDir(id, n) + "/record.json")
	if err != nil {
		return artifact.BuildRecord{}, err
	}
	r, err := decodeRecord(id, data)
	r.Number = n
	return r, err
}

// decodeRecord reads a record and checks that it is one of the derivation.
func decodeRecord(id artifact.DerivationID, data []byte) (artifact.BuildRecord, error) {
	var r artifact.BuildRecord
	malformed := func(reason string) (artifact.BuildRecord, error) {
		return artifact.BuildRecord{}, &artifact.MalformedError{What: "build record", Name: id.String(), Reason: reason}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return malformed(err.Error())
	}
	if err := r.Context.Check(); err != nil {
		return malformed(err.Error())
	}
	switch {
	case r.Derivation != id:
		return malformed("it is of the derivation " + r.Derivation.String())
	case r.Failure != "" && !r.Realization.IsZero():
		return malformed("it has a failure and a realization")
	case r.Failure == "" && r.Realization != artifact.NewRealizationID(id, r.Context, r.Tree):
		return malformed("its realization does not follow from context and tree")
	}
	return r, nil
}

// recordNumbers lists the numbers of the records in a directory, sorted.
func recordNumbers(dir string) ([]int, error) {
	names, err := tree.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list build records: %w", err)
	}
	var numbers []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n > 0 && strconv.Itoa(n) == name {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (s *Store) recordDir(id artifact.DerivationID, n int) string {
	return s.path("builds", id.String(), strconv.Itoa(n))
}
