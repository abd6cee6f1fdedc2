package usage_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/store"
	"hdjail/build/usage"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

var generate = flag.String("store", "", "make a store of 1,000 recorded artifacts in this new directory, to measure the program with")

// TestGenerate makes the store that -store names, and does nothing without it.
func TestGenerate(t *testing.T) {
	if *generate == "" {
		return
	}
	s, err := store.Open(*generate, store.Options{})
	must(t, err)
	defer s.Close()
	for n := range 1000 {
		d, a := sample(n)
		must(t, register(s, d, encode(t, a)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// common is how many files nearly every build uses, of how many there are.
const (
	packages = 600
	common   = 1200
	perBuild = 3000
)

func file(n int) string {
	return fmt.Sprintf("/usr/include/x86_64-linux-gnu/package%d/part%d/file%d.h", n/60, n/15%4, n)
}

func packageOf(n int) audit.Owner {
	return audit.Owner{Package: fmt.Sprintf("package%d", n/60), Architecture: "amd64", Version: "1." + fmt.Sprint(n/60)}
}

// sample is the n-th derivation with the record of its build: about 3,000 accesses of files, most of them of many builds, and
// as many of what is not there or its own. The same n gives the same.
func sample(n int) (*artifact.Derivation, *audit.Audit) {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	d := &artifact.Derivation{Layout: 1, Name: fmt.Sprintf("artifact%d", n), Version: "1", System: "x86_64-linux", Prefix: "/hdjail", Script: "true"}
	a := &audit.Audit{Header: audit.Header{Mode: "hide", Complete: true, Observers: []audit.Observer{{Name: "test"}},
		Whitelist: audit.Whitelist{Requested: []string{"package0", "package599"}}}}
	used := map[int]bool{}
	for len(used) < common {
		used[random.IntN(common+common/10)] = true
	}
	for len(used) < perBuild {
		at := random.IntN(packages*60 - 100)
		for i := range 100 {
			used[at+i] = true
		}
	}
	pinned := map[int]bool{}
	add := func(op policies.Operation, path string, verdict policies.Verdict, errno int, owners ...audit.Owner) {
		a.Accesses = append(a.Accesses, audit.Access{Op: op, Path: path, Verdict: verdict, Errno: errno, Count: 3, Process: 1, Owners: owners})
	}
	for number := range used {
		add(policies.OpRead, file(number), policies.Allowed, 0, packageOf(number))
		pinned[number/60] = true
		add(policies.OpProbe, fmt.Sprintf("/usr/local/include/%d.h", number), policies.Absent, 2)
		add(policies.OpWrite, fmt.Sprintf("/build/%d.o", number), policies.Allowed, 0)
	}
	add(policies.OpRead, fmt.Sprintf("/opt/only/%d", n), policies.Leaked, 0)
	for number := range pinned {
		d.HostPackages = append(d.HostPackages, artifact.HostPackage{Name: fmt.Sprintf("package%d", number), Architecture: "amd64",
			Version: fmt.Sprintf("1.%d", number), Digest: artifact.TreeDigest{byte(number), byte(number >> 8)}})
	}
	slices.SortFunc(d.HostPackages, func(x, y artifact.HostPackage) int { return bytes.Compare([]byte(x.Name), []byte(y.Name)) })
	a.Processes = []audit.Process{{ID: 1, PID: 1, Exe: "/usr/bin/make"}}
	return d, a
}

func encode(t testing.TB, a *audit.Audit) []byte {
	var b bytes.Buffer
	must(t, audit.Write(&b, a.Header, a.Processes, sequence(a.Accesses), audit.Rest{Events: a.Events}))
	return b.Bytes()
}

func sequence(list []audit.Access) iter.Seq2[audit.Access, error] {
	return func(yield func(audit.Access, error) bool) {
		for _, a := range list {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// register plays a build that leaves one file.
func register(s *store.Store, d *artifact.Derivation, record []byte) error {
	temp, err := s.NewTemp()
	if err != nil {
		return err
	}
	defer temp.Close()
	out := filepath.Join(temp.Dir, "out")
	if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(filepath.Join(out, "name"), []byte(d.Name), 0o644)); err != nil {
		return err
	}
	r, err := collect.Collect(context.Background(), out, collect.Options{UID: os.Geteuid()})
	if err != nil {
		return err
	}
	_, err = s.Register(context.Background(), store.Registration{Derivation: d, Out: out, Tree: r.Tree, Audit: record,
		Record: artifact.BuildRecord{Purpose: "build", Mode: "hide", Start: time.Unix(1e9, 0), End: time.Unix(1e9, 0), Builder: artifact.Builder{Host: "test"}}})
	return err
}

// memory is a store of facts. It counts how often it is read.
type memory struct {
	facts map[artifact.RealizationID]usage.Facts
	order []artifact.RealizationID
	fail  map[artifact.RealizationID]error
	reads chan artifact.RealizationID
}

func newMemory() *memory {
	return &memory{facts: map[artifact.RealizationID]usage.Facts{}, fail: map[artifact.RealizationID]error{}, reads: make(chan artifact.RealizationID, 10000)}
}

// read is how many realizations were read since the last call.
func (m *memory) read() (n int) {
	for len(m.reads) > 0 {
		<-m.reads
		n++
	}
	return n
}

func (m *memory) add(f usage.Facts) artifact.RealizationID {
	f.Realization = artifact.RealizationID{byte(len(m.facts)), byte(len(m.facts) >> 8), 7}
	f.Derivation = artifact.DerivationID{byte(len(m.facts)), byte(len(m.facts) >> 8), 9}
	m.facts[f.Realization] = f
	m.order = append(m.order, f.Realization)
	return f.Realization
}

// List implements usage.Source.
func (m *memory) List() ([]artifact.RealizationID, error) { return m.order, nil }

// Facts implements usage.Source.
func (m *memory) Facts(_ context.Context, id artifact.RealizationID) (usage.Facts, error) {
	m.reads <- id
	if err := m.fail[id]; err != nil {
		return usage.Facts{}, err
	}
	f, found := m.facts[id]
	if !found {
		return f, fs.ErrNotExist
	}
	return f, nil
}

// thousand is the facts of 1,000 sample builds, as the store would give them.
func thousand(t testing.TB) *memory {
	m, graph := newMemory(), hostpkgs.NewGraph(nil)
	for n := range 1000 {
		d, a := sample(n)
		f := usage.Describe(artifact.Realization{Records: []artifact.BuildRecord{{End: time.Unix(1e9, 0)}}}, d, a, graph)
		m.add(f)
	}
	return m
}

// BenchmarkQuery opens an index of 1,000 artifacts that is up to date, and asks.
func BenchmarkQuery(b *testing.B) {
	m, dir := thousand(b), b.TempDir()
	for name, ask := range map[string]func(*usage.Index) int{
		"file":      func(x *usage.Index) int { return len(x.Readers([]string{file(7)}, time.Time{})) },
		"directory": func(x *usage.Index) int { return len(x.Readers([]string{"/usr"}, time.Time{})) },
		"package":   func(x *usage.Index) int { return len(x.PackageReaders("package0", time.Time{})) },
		"idle":      func(x *usage.Index) int { return len(x.Idle()) },
		"stale": func(x *usage.Index) int {
			list, err := x.Stale(context.Background(), func(_ context.Context, pins []hostpkgs.Pin) (map[hostpkgs.Pin]hostpkgs.Change, error) {
				return map[hostpkgs.Pin]hostpkgs.Change{pins[0]: {Kind: "version", Version: "2"}}, nil
			})
			must(b, err)
			return len(list)
		},
	} {
		b.Run(name, func(b *testing.B) {
			found := 0
			for b.Loop() {
				x, err := usage.Open(context.Background(), m, usage.Options{Dir: dir})
				must(b, err)
				found = ask(x)
			}
			b.ReportMetric(float64(found), "artifacts")
		})
	}
}
