package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
)

func fail(t *testing.T, s *Store, d *artifact.Derivation, r artifact.BuildRecord, log string) artifact.BuildRecord {
	t.Helper()
	id, err := s.PutDerivation(d)
	must(t, err)
	r.Derivation = id
	file := t.TempDir() + "/log"
	must(t, os.WriteFile(file, []byte(log), 0o600))
	r, err = s.RecordFailure(context.Background(), Failure{Record: r, Log: file, Audit: []byte("audit")})
	must(t, err)
	return r
}

func TestFailures(t *testing.T) {
	s := open(t, Options{})
	if _, err := s.LastRecord(false); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("an empty store has the last record %v", err)
	}
	d := sample("a")
	start := time.Unix(1_700_000_000, 5).UTC()
	long := strings.Repeat("a line of the log\n", 100_000)
	want := artifact.BuildRecord{
		Purpose: "build", Mode: "fail", Start: start, End: start.Add(time.Minute), Builder: artifact.Builder{Host: "node1", UID: 1000},
		Failure: "exit", Message: "exit status 2", Exit: 2, Limits: map[string]float64{"cpu": 1.5}, PeakMemory: 1 << 20, Kept: "/x",
	}
	first := fail(t, s, d, want, long)
	want.Number, want.Derivation, want.LogBytes = 1, d.ID(), int64(len(long))
	got, err := s.Records(d.ID())
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(first, want) {
		t.Errorf("read %+v (%v), want %+v", got, err, want)
	}
	if readLog(t, s, first) != long {
		t.Error("the log reads otherwise")
	}
	if audit := readAudit(t, s, first); audit != "audit" {
		t.Errorf("the audit reads %q", audit)
	}
	if found, err := s.Realizations(d.ID()); err != nil || len(found) != 0 {
		t.Errorf("a failure is a candidate: %v (%v)", found, err)
	}
	good, err := run(s, sample("b"), map[string]string{"f": "x"})
	must(t, err)
	for failed, id := range map[bool]artifact.DerivationID{false: good.Derivation, true: d.ID()} {
		if r, err := s.LastRecord(failed); err != nil || r.Derivation != id || r.Number != 1 {
			t.Errorf("last record, failed %v: %+v (%v)", failed, r, err)
		}
	}
	second := fail(t, s, d, want, "")
	if second.Number != 2 {
		t.Errorf("the second record has the number %d", second.Number)
	}
	if _, err := s.OpenLog(artifact.BuildRecord{Derivation: d.ID(), Number: 3}); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("no log: %v", err)
	}
	noTemporaries(t, s)
}

// TestLastRecordWithoutLinks shows that the links are only a shortcut.
func TestLastRecordWithoutLinks(t *testing.T) {
	s := open(t, Options{})
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	fail(t, s, sample("a"), artifact.BuildRecord{Failure: "exit", End: at(5)}, "")
	fail(t, s, sample("b"), artifact.BuildRecord{Failure: "timeout", End: at(9)}, "")
	_, err := run(s, sample("c"), map[string]string{"f": "x"})
	must(t, err)
	for _, target := range []string{"", "nowhere", "../../x/1", sample("a").ID().String() + "/77"} {
		must(t, os.RemoveAll(s.path("builds", failedLink)))
		if target != "" {
			must(t, os.Symlink(target, s.path("builds", failedLink)))
		}
		if r, err := s.LastRecord(true); err != nil || r.Derivation != sample("b").ID() {
			t.Errorf("link to %q: %+v (%v)", target, r, err)
		}
	}
}

func TestRecordFailureRefuses(t *testing.T) {
	s := open(t, Options{})
	for name, r := range map[string]artifact.BuildRecord{
		"no failure":  {Derivation: sample("a").ID()},
		"realization": {Derivation: sample("a").ID(), Failure: "exit", Realization: artifact.RealizationID{1}},
	} {
		if _, err := s.RecordFailure(context.Background(), Failure{Record: r}); !errors.As(err, new(*artifact.MalformedError)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := s.RecordFailure(context.Background(), Failure{Record: artifact.BuildRecord{Failure: "exit"}, Log: t.TempDir() + "/none"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	noTemporaries(t, s)
}

func TestDerivations(t *testing.T) {
	s := open(t, Options{})
	d := sample("a")
	d.Environment = map[string]string{"A": "<&>\u2028"}
	id, err := s.PutDerivation(d)
	must(t, err)
	got, err := s.Derivation(id)
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("read %+v (%v)", got, err)
	}
	if _, err := s.Derivation(artifact.DerivationID{1}); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("none: %v", err)
	}
	file := s.derivationFile(id)
	whole, err := os.ReadFile(file)
	must(t, err)
	damage := map[string][]byte{
		"empty":     nil,
		"cut off":   whole[:len(whole)/2],
		"other":     bytes.Replace(whole, []byte("true"), []byte("false"), 1),
		"new field": bytes.Replace(whole, []byte("{"), []byte(`{"new": 1,`), 1),
		"not JSON":  []byte("\x00"),
	}
	for name, data := range damage {
		must(t, os.Remove(file), os.WriteFile(file, data, 0o444))
		if _, err := s.Derivation(id); !errors.As(err, new(*artifact.MalformedError)) {
			t.Errorf("%s: got %v", name, err)
		}
		_, err = reopen(t, s.root, Options{}).PutDerivation(d)
		must(t, err)
		if healed, err := os.ReadFile(file); err != nil || !bytes.Equal(healed, whole) {
			t.Errorf("%s: not written again: %v", name, err)
		}
	}
	var other bytes.Buffer
	must(t, json.Compact(&other, whole), os.Remove(file), os.WriteFile(file, other.Bytes(), 0o444))
	_, err = reopen(t, s.root, Options{}).PutDerivation(d)
	must(t, err)
	if kept, err := os.ReadFile(file); err != nil || !bytes.Equal(kept, other.Bytes()) {
		t.Errorf("a file that says the same was replaced: %v", err)
	}
}

func TestResolveID(t *testing.T) {
	s := open(t, Options{})
	var all []string
	d := sample("a")
	r, err := run(s, d, map[string]string{"f": "x"})
	must(t, err)
	all = append(all, r.Derivation.String(), r.ID.String())
	for i := range 40 { // so that some begin alike
		id, err := s.PutDerivation(sample("x" + strings.Repeat("y", i)))
		must(t, err)
		all = append(all, id.String())
	}
	derivation := Ref{Derivation: r.Derivation}
	for text, want := range map[string]Ref{
		r.Derivation.String():                    derivation,
		r.Derivation.String()[:12]:               derivation,
		s.PublicPath(d):                          derivation,
		d.StoreName():                            derivation,
		r.ID.String():                            {r.Derivation, r.ID},
		r.ID.String()[:12]:                       {r.Derivation, r.ID},
		"/elsewhere/store/" + d.StoreName() + "": derivation,
	} {
		if got, err := s.ResolveID(text); err != nil || got != want {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "/", ".", "..", "a/..", "UPPER", strings.Repeat("a", 32), strings.Repeat("a", 33), "0", "*"} {
		if _, err := s.ResolveID(text); !errors.As(err, new(*NotFoundError)) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	for _, first := range "abcdefghijklmnopqrstuvwxyz234567" {
		var matches int
		for _, id := range all {
			if strings.HasPrefix(id, string(first)) {
				matches++
			}
		}
		_, err := s.ResolveID(string(first))
		var ambiguous *AmbiguousError
		if errors.As(err, &ambiguous) != (matches > 1) || ambiguous != nil && len(ambiguous.Matches) != matches {
			t.Errorf("%c with %d matches: %v", first, matches, err)
		}
	}
}

// TestMalformedRecords reads records and manifests that are not what they claim.
func TestMalformedRecords(t *testing.T) {
	s := open(t, Options{})
	r, err := run(s, sample("a"), map[string]string{"f": "x"})
	must(t, err)
	file := s.recordDir(r.Derivation, 1) + "/record.json"
	good, err := os.ReadFile(file)
	must(t, err)
	for name, data := range map[string][]byte{
		"cut off":       good[:len(good)/2],
		"derivation":    bytes.ReplaceAll(good, []byte(r.Derivation.String()), []byte(sample("b").ID().String())),
		"realization":   bytes.ReplaceAll(good, []byte(r.ID.String()), []byte(strings.Repeat("a", 32))),
		"tree":          bytes.ReplaceAll(good, []byte(r.Tree.String()), []byte("blake3:"+strings.Repeat("0", 64))),
		"empty context": bytes.Replace(good, []byte("{"), []byte(`{"context":{"`+strings.Repeat("a", 32)+`":[]},`), 1),
		"both":          bytes.Replace(good, []byte("{"), []byte(`{"failure":"exit",`), 1),
	} {
		must(t, os.Remove(file), os.WriteFile(file, data, 0o444))
		if _, err := s.Realizations(r.Derivation); !errors.As(err, new(*artifact.MalformedError)) {
			t.Errorf("record, %s: got %v", name, err)
		}
	}
	must(t, os.Remove(file), os.WriteFile(file, good, 0o444))
	other := s.path("realizations", strings.Repeat("b", 32))
	must(t, os.Rename(s.path("realizations", r.ID.String()), other))
	id, err := artifact.ParseRealizationID(strings.Repeat("b", 32))
	must(t, err)
	if _, err := s.Realization(id); !errors.As(err, new(*artifact.MalformedError)) {
		t.Errorf("a realization under another name: %v", err)
	}
	if found, err := s.Realizations(r.Derivation); err != nil || len(found) != 0 {
		t.Errorf("a realization that is gone is found: %v (%v)", found, err)
	}
}

func FuzzRecord(f *testing.F) {
	good, err := json.Marshal(artifact.BuildRecord{Failure: "exit"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"derivation":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","context":{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":[]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(artifact.DerivationID{}, data)
		if err == nil && (r.Failure == "") == r.Realization.IsZero() {
			t.Errorf("accepted %q", data)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := manifest{ID: artifact.NewRealizationID(artifact.DerivationID{}, nil, artifact.TreeDigest{})}
	good, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeManifest(m.ID, data)
		if err == nil && artifact.NewRealizationID(got.Derivation, got.Context, got.Tree) != m.ID {
			t.Errorf("accepted %q", data)
		}
	})
}

func FuzzDerivationFile(f *testing.F) {
	d := sample("a")
	good, err := json.Marshal(d)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		var got artifact.Derivation
		if err := decodeDerivationFile(d.ID(), data, &got); err == nil && got.StoreName() != d.StoreName() {
			t.Errorf("accepted %q", data)
		}
	})
}

// TestLogWhileItIsBig keeps memory bounded by reading in pieces.
func TestLogInPieces(t *testing.T) {
	s := open(t, Options{})
	r := fail(t, s, sample("a"), artifact.BuildRecord{Failure: "limits"}, strings.Repeat("\x00\x1b[2J\xff", 1<<18))
	log, err := s.OpenLog(r)
	must(t, err)
	defer log.Close()
	n, err := io.CopyN(io.Discard, log, 100)
	if n != 100 || err != nil {
		t.Errorf("read %d bytes (%v)", n, err)
	}
}

func readAudit(t *testing.T, s *Store, r artifact.BuildRecord) string {
	t.Helper()
	in, err := s.OpenAudit(r)
	must(t, err)
	defer in.Close()
	data, err := io.ReadAll(in)
	must(t, err)
	return string(data)
}

// TestOpenAudit: each run has its own, and a run that was not recorded has none, although its realization has one.
func TestOpenAudit(t *testing.T) {
	s := open(t, Options{})
	for i, audit := range []string{"one", "two", "", "four"} {
		r, err := runRecorded(s, sample("a"), nil, map[string]string{"f": "x"}, []byte(audit))
		must(t, err)
		record := r.Records[len(r.Records)-1]
		if record.Number != i+1 {
			t.Fatalf("run %d has the number %d", i+1, record.Number)
		}
		if audit != "" {
			if got := readAudit(t, s, record); got != audit {
				t.Errorf("run %d has the audit %q, want %q", i+1, got, audit)
			}
			continue
		}
		var missing *NotFoundError
		if _, err := s.OpenAudit(record); !errors.As(err, &missing) || missing.What != "audit" {
			t.Errorf("run %d was not recorded: %v", i+1, err)
		}
	}
}
