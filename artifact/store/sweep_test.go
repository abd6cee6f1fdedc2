package store

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// cutOff makes what a process leaves that dies between two names of a registration: the realization is there, its record
// is staged.
func cutOff(t *testing.T, s *Store) artifact.Realization {
	t.Helper()
	r, err := run(s, sample("a"), map[string]string{"f": "x"})
	must(t, err)
	crashed := reopen(t, s.root, Options{Holder: dead(t)})
	staged := s.path("tmp", crashed.holder.TempName())
	must(t, os.Rename(s.recordDir(r.Derivation, 1), staged), os.Remove(s.path("store", sample("a").StoreName())))
	return r
}

// TestSweepFinishes is a registration that only lacked names: it gets them, with the record of the run itself.
func TestSweepFinishes(t *testing.T) {
	s := open(t, Options{})
	r := cutOff(t, s)
	if found, err := s.Realizations(r.Derivation); err != nil || len(found) != 0 {
		t.Fatalf("there is %v, %v", found, err)
	}
	_, err := s.Sweep(context.Background())
	must(t, err)
	noTemporaries(t, s)
	verify(t, s)
	found, err := s.Realizations(r.Derivation)
	if err != nil || len(found) != 1 || len(found[0].Records) != 1 || !found[0].Records[0].Start.Equal(r.Records[0].Start) {
		t.Errorf("there is %v, %v", found, err)
	}
}

// TestSweepTwice is a sweep that dies itself, at its worst moment: what it had taken is finished by the next one.
func TestSweepTwice(t *testing.T) {
	s := open(t, Options{})
	r := cutOff(t, s)
	second := reopen(t, s.root, Options{Holder: dead(t)})
	names, err := os.ReadDir(s.TmpDir())
	must(t, err, os.Rename(s.path("tmp", names[0].Name()), s.path("tmp", second.holder.TempName())))
	_, err = s.Sweep(context.Background())
	must(t, err)
	noTemporaries(t, s)
	if found, err := s.Realizations(r.Derivation); err != nil || len(found) != 1 {
		t.Errorf("there is %v, %v", found, err)
	}
}

// TestSweepStagedInVain drops the record of a realization that never got its name.
func TestSweepStagedInVain(t *testing.T) {
	s := open(t, Options{})
	r := cutOff(t, s)
	must(t, os.Rename(s.path("realizations", r.ID.String()), t.TempDir()+"/gone"))
	_, err := s.Sweep(context.Background())
	must(t, err)
	noTemporaries(t, s)
	if records, err := s.Records(r.Derivation); err != nil || len(records) != 0 {
		t.Errorf("there is %v, %v", records, err)
	}
}

// pendingBy leaves word of a run in the name of a process that is dead.
func pendingBy(t *testing.T, s *Store, start time.Time) *Temp {
	t.Helper()
	crashed := reopen(t, s.root, Options{Holder: dead(t)})
	temp, err := crashed.NewTemp()
	must(t, err)
	id, err := s.PutDerivation(sample("a"))
	must(t, err, os.WriteFile(temp.Dir+"/log", []byte("half"), 0o600))
	must(t, temp.Pending(Failure{Log: temp.Dir + "/log", Record: artifact.BuildRecord{Derivation: id, Failure: "error", Start: start,
		Builder: artifact.Builder{Host: "test"}}}))
	return temp
}

// TestPendingOfAGoodRun is a process that dies right after its registration: its run did not fail.
func TestPendingOfAGoodRun(t *testing.T) {
	s := open(t, Options{})
	r, err := run(s, sample("a"), map[string]string{"f": "x"})
	must(t, err)
	pendingBy(t, s, r.Records[0].Start)
	_, err = s.Sweep(context.Background())
	must(t, err)
	noTemporaries(t, s)
	if records, err := s.Records(r.Derivation); err != nil || len(records) != 1 || records[0].Failure != "" {
		t.Errorf("recorded are %v, %v", records, err)
	}
}

// TestPendingHalfRemoved is a process that dies while it removes its directory, or whose log is gone for another reason.
func TestPendingHalfRemoved(t *testing.T) {
	s := open(t, Options{})
	temp := pendingBy(t, s, time.Unix(5, 0))
	must(t, os.Remove(temp.Dir+"/log"))
	if _, err := s.Sweep(context.Background()); err == nil {
		t.Error("a log that is gone is no error")
	}
	noTemporaries(t, s) // but nobody is told twice
}

// TestSweepKeepsWhatPasses leaves what it cannot finish now to the next one.
func TestSweepKeepsWhatPasses(t *testing.T) {
	full := errors.New("still busy")
	parent := open(t, Options{})
	s := reopen(t, parent.root, Options{Release: func(string) error { return full }})
	temp := pendingBy(t, s, time.Unix(5, 0))
	if removed, err := s.Sweep(context.Background()); !errors.Is(err, full) || len(removed) != 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Stat(temp.Dir + "/" + pendingName); err != nil {
		t.Error(err)
	}
	var released string
	s.release = func(name string) error { released = name; return nil }
	if removed, err := s.Sweep(context.Background()); err != nil || len(removed) != 1 || released != path.Base(temp.Dir) {
		t.Errorf("removed %v, released %q, %v", removed, released, err)
	}
}

// TestSweepElsewhere reaps what another machine holds when that has not renewed it for long, and what is renewed never.
func TestSweepElsewhere(t *testing.T) {
	s := open(t, Options{})
	away := dead(t)
	away.Host = "other"
	other := reopen(t, s.root, Options{Holder: away})
	old, err := other.NewTemp()
	must(t, err)
	live, err := other.NewTemp()
	must(t, err)
	long := time.Now().Add(-expireTemp - time.Hour)
	for _, temp := range []*Temp{old, live} {
		must(t, os.Chtimes(temp.Dir, long, long))
	}
	live.renew()
	removed, err := s.Sweep(context.Background())
	if err != nil || len(removed) != 1 || removed[0] != path.Base(old.Dir) {
		t.Errorf("removed %v, %v", removed, err)
	}
	must(t, live.Close())
	noTemporaries(t, s)
}

// TestSweepLocks takes away the lock of a dead process.
func TestSweepLocks(t *testing.T) {
	s := open(t, Options{})
	text, err := json.Marshal(lease.Info{Holder: dead(t), Expiry: time.Minute})
	must(t, err, os.WriteFile(s.path("locks", sample("a").ID().String()), text, 0o644))
	_, err = s.Sweep(context.Background())
	must(t, err)
	if left, err := os.ReadDir(s.path("locks")); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestNoSpaceForTheRecord fills the directory of records, as it were, after the realization has its name. The result is not
// lost: the next sweep of another process gives it its record.
func TestNoSpaceForTheRecord(t *testing.T) {
	s := open(t, Options{})
	d := sample("a")
	crashed := reopen(t, s.root, Options{Holder: dead(t)})
	must(t, os.WriteFile(s.path("builds", d.ID().String()), nil, 0o644)) // no directory can be made here
	if _, err := run(crashed, d, map[string]string{"f": "x"}); !errors.Is(err, unix.ENOTDIR) {
		t.Fatalf("it succeeded: %v", err)
	}
	must(t, os.Remove(s.path("builds", d.ID().String())))
	_, err := s.Sweep(context.Background())
	must(t, err)
	noTemporaries(t, s)
	verify(t, s)
	if found, err := s.Realizations(d.ID()); err != nil || len(found) != 1 {
		t.Errorf("there is %v, %v", found, err)
	}
}

func TestSpaceErrorTells(t *testing.T) {
	e := NewSpaceError(t.TempDir(), "/s/x", unix.ENOSPC)
	if e.Size == 0 || e.FileSystem == "" || !errors.Is(e, unix.ENOSPC) {
		t.Errorf("%+v", e)
	}
	for bytes, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 40: "5 TiB", 5 << 50: "5120 TiB"} {
		if got := bytesText(bytes); got != want {
			t.Errorf("%d is %q, want %q", bytes, got, want)
		}
	}
}
