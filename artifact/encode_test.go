package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// full is a derivation with something in every field.
func full() *Derivation {
	return &Derivation{
		Layout: 1, Name: "hello", Version: "2.12", System: "x86_64-linux", Prefix: "/opt/hdjail",
		Interpreter: []string{"/bin/sh", "-eu"}, Script: "make\nmake install\n",
		Environment:  map[string]string{"B": "2", "A": "1"},
		Sources:      []Source{{Digest: "sha256:" + strings.Repeat("a", 64), Target: "src", Unpack: true}},
		Dependencies: []Dependency{{ID: DerivationID{1, 2}, As: "ZLIB"}, {ID: DerivationID{3}, Many: true}},
		HostPackages: []HostPackage{{"bash", "amd64", "5.2", TreeDigest{9}}, {"coreutils", "", "9.1", TreeDigest{8}}},
		HostPaths:    []HostPath{{"/opt/a", "id:a"}},
		Promises:     []Promise{Exists("bin/hello")},
		Policy:       "blake3:" + strings.Repeat("0", 64),
	}
}

// TestDerivationVectors pins identities: a change of one is a new version of the encoding, never an accident.
func TestDerivationVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/derivations.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Derivation  *Derivation
		ID          DerivationID
		Name        string
		Context     Context
		Tree        TreeDigest
		Realization RealizationID
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		id := v.Derivation.ID()
		if id != v.ID || v.Derivation.StoreName() != v.Name {
			t.Errorf("%s: ID %s, name %s; want %s, %s", v.Derivation.Name, id, v.Derivation.StoreName(), v.ID, v.Name)
		}
		if r := NewRealizationID(id, v.Context, v.Tree); r != v.Realization {
			t.Errorf("%s: realization %s, want %s", v.Derivation.Name, r, v.Realization)
		}
	}
	if len(vectors) < 2 {
		t.Errorf("only %d vectors", len(vectors))
	}
}

// TestEveryFieldCounts changes each field in turn: each has to change the ID.
func TestEveryFieldCounts(t *testing.T) {
	changes := map[string]func(*Derivation){
		"layout":             func(d *Derivation) { d.Layout++ },
		"name":               func(d *Derivation) { d.Name += "x" },
		"version":            func(d *Derivation) { d.Version = "" },
		"system":             func(d *Derivation) { d.System = "aarch64-linux" },
		"prefix":             func(d *Derivation) { d.Prefix = "/opt" },
		"interpreter":        func(d *Derivation) { d.Interpreter = []string{"/bin/sh -eu"} },
		"script":             func(d *Derivation) { d.Script += " " },
		"environment value":  func(d *Derivation) { d.Environment["A"] = "3" },
		"environment key":    func(d *Derivation) { d.Environment["C"] = "" },
		"environment swap":   func(d *Derivation) { d.Environment = map[string]string{"A": "2", "B": "1"} },
		"source digest":      func(d *Derivation) { d.Sources[0].Digest = "git:" + strings.Repeat("b", 40) },
		"source target":      func(d *Derivation) { d.Sources[0].Target = "" },
		"source unpack":      func(d *Derivation) { d.Sources[0].Unpack = false },
		"dependency":         func(d *Derivation) { d.Dependencies[1].ID[0]++ },
		"dependency name":    func(d *Derivation) { d.Dependencies[1].As = "B" },
		"dependency many":    func(d *Derivation) { d.Dependencies[0].Many = true },
		"dependency order":   func(d *Derivation) { slices.Reverse(d.Dependencies) },
		"package name":       func(d *Derivation) { d.HostPackages[0].Name = "dash" },
		"package arch":       func(d *Derivation) { d.HostPackages[0].Architecture = "i386" },
		"package version":    func(d *Derivation) { d.HostPackages[0].Version = "5.3" },
		"package digest":     func(d *Derivation) { d.HostPackages[0].Digest[31]++ },
		"path":               func(d *Derivation) { d.HostPaths[0].Path = "/opt/ab" },
		"path identity":      func(d *Derivation) { d.HostPaths[0].Identity = "id:b" },
		"promise":            func(d *Derivation) { d.Promises = append(d.Promises, Exists("lib")) },
		"promise kind":       func(d *Derivation) { d.Promises[0].Kind = PromiseELF },
		"promise name":       func(d *Derivation) { d.Promises[0].Name = "hello" },
		"promise soname":     func(d *Derivation) { d.Promises[0].Kind = "soname=hello" },
		"promise to policy":  func(d *Derivation) { d.Promises = nil },
		"policy":             func(d *Derivation) { d.Policy = "blake3:" + strings.Repeat("1", 64) },
		"name into version":  func(d *Derivation) { d.Name, d.Version = "hello-2", "12" },
		"script to interp":   func(d *Derivation) { d.Interpreter, d.Script = append(d.Interpreter, d.Script), "" },
		"path into packages": func(d *Derivation) { d.HostPaths = nil },
	}
	seen := map[DerivationID]string{full().ID(): "nothing"}
	for name, change := range changes {
		d := full()
		change(d)
		id := d.ID()
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s give one ID", name, other)
		}
		seen[id] = name
	}
}

// TestOrderOfSets shows that host packages and paths are sets: their order is that of a resolver, not of the spec.
func TestOrderOfSets(t *testing.T) {
	d := full()
	d.HostPaths = append(d.HostPaths, HostPath{"/opt/0", "id:0"})
	id, packages := d.ID(), slices.Clone(d.HostPackages)
	slices.Reverse(d.HostPackages)
	slices.Reverse(d.HostPaths)
	if d.ID() != id {
		t.Error("the order of host packages or paths changes the ID")
	}
	if slices.Equal(d.HostPackages, packages) {
		t.Error("encoding sorted the caller's list")
	}
}

// text draws strings that look like parts of an encoding.
func text() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune{'a', 0, 1, '\n'}), 0, 12, -1))
}

func derivation() *rapid.Generator[*Derivation] {
	return rapid.Custom(func(t *rapid.T) *Derivation {
		name := rapid.StringMatching(`[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,8}`)
		word := rapid.Map(text(), func(s string) string { return strings.ReplaceAll(s, "\x00", "0") })
		words := rapid.SliceOfN(word, 0, 3)
		id := rapid.Map(rapid.SliceOfN(rapid.Byte(), 20, 20), func(b []byte) DerivationID { return DerivationID(b) })
		d := &Derivation{
			Layout: rapid.IntRange(1, 1<<40).Draw(t, "layout"), Name: name.Draw(t, "name"), System: word.Draw(t, "system"),
			Prefix: "/" + name.Draw(t, "prefix"), Interpreter: words.Draw(t, "interpreter"), Script: word.Draw(t, "script"),
			Environment: rapid.MapOfN(word, word, 0, 3).Draw(t, "environment"),
			Policy:      word.Draw(t, "policy"),
		}
		kind := rapid.SampledFrom([]string{PromiseExists, PromiseELF, "soname=a.so.1", "sha256=" + strings.Repeat("0a", 32)})
		for _, path := range rapid.SliceOfN(rapid.StringMatching(`[a-z\n ]{1,3}(/[a-z=]{1,3})?`), 0, 3).Draw(t, "promises") {
			d.Promises = append(d.Promises, Promise{path, kind.Draw(t, "kind"), rapid.SampledFrom([]string{"", "main"}).Draw(t, "promised name")})
		}
		d.Version = rapid.SampledFrom([]string{"", "1", "1.2-3"}).Draw(t, "version")
		for range rapid.IntRange(0, 2).Draw(t, "n") {
			d.Sources = append(d.Sources, Source{word.Draw(t, "digest"), word.Draw(t, "target"), rapid.Bool().Draw(t, "unpack")})
			d.Dependencies = append(d.Dependencies, Dependency{id.Draw(t, "id"), word.Draw(t, "as"), rapid.Bool().Draw(t, "many")})
			d.HostPackages = append(d.HostPackages, HostPackage{Name: word.Draw(t, "package"), Version: word.Draw(t, "version")})
			d.HostPaths = append(d.HostPaths, HostPath{word.Draw(t, "path"), word.Draw(t, "identity")})
		}
		return d
	})
}

// canonical is what decoding an encoding of d gives: sets sorted, empty lists nil.
func canonical(d *Derivation) *Derivation {
	c := *d
	c.HostPackages, c.HostPaths = sorted(d.HostPackages, compareHostPackages), sorted(d.HostPaths, compareHostPaths)
	if len(c.Environment) == 0 {
		c.Environment = nil
	}
	if len(c.Interpreter) == 0 {
		c.Interpreter = nil
	}
	return &c
}

// TestEncodingIsInjective is defect (a) turned round: what can be read back cannot be confused.
func TestEncodingIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := derivation().Draw(t, "derivation")
		got, err := DecodeDerivation(a.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if want := canonical(a); !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded %+v, want %+v", got, want)
		}
		b := derivation().Draw(t, "other")
		if bytes.Equal(a.Encode(), b.Encode()) != reflect.DeepEqual(canonical(a), canonical(b)) {
			t.Fatal("two derivations share an encoding")
		}
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back Derivation
		if err := json.Unmarshal(data, &back); err != nil || back.ID() != a.ID() {
			t.Fatalf("the JSON form has ID %s, want %s (%v)", back.ID(), a.ID(), err)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good := full().Encode()
	unsorted := full()
	slices.Reverse(unsorted.HostPackages)
	bad := map[string][]byte{
		"empty":     nil,
		"version":   append([]byte("hdjail-derivation-2\n"), good[len(derivationMagic):]...),
		"truncated": good[:len(good)-1],
		"trailing":  append(slices.Clone(good), 0),
		"huge list": append(slices.Clone(good[:len(derivationMagic)+8]), bytes.Repeat([]byte{0xff}, 64)...),
		"unsorted":  bytes.Replace(good, []byte("\x01\x00\x00\x00\x00\x00\x00\x00A"), []byte("\x01\x00\x00\x00\x00\x00\x00\x00C"), 1),
		"boolean":   bytes.Replace(good, []byte("src\x01"), []byte("src\x02"), 1),
	}
	for name, data := range bad {
		var malformed *MalformedError
		if _, err := DecodeDerivation(data); !errors.As(err, &malformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	changes := map[string]func(*Derivation){
		"no name":        func(d *Derivation) { d.Name = "" },
		"slash":          func(d *Derivation) { d.Name = "a/b" },
		"dots":           func(d *Derivation) { d.Name = ".." },
		"newline":        func(d *Derivation) { d.Name = "a\nb" },
		"NUL in version": func(d *Derivation) { d.Version = "1\x00" },
		"long":           func(d *Derivation) { d.Name = strings.Repeat("a", 201) },
		"layout":         func(d *Derivation) { d.Layout = 0 },
		"prefix":         func(d *Derivation) { d.Prefix = "/opt/../etc" },
		"not UTF-8":      func(d *Derivation) { d.Script = "\xff" },
		"NUL":            func(d *Derivation) { d.Environment["A"] = "\x00" },
		"package":        func(d *Derivation) { d.HostPackages[1].Version = "\xc3" },
		"promise":        func(d *Derivation) { d.Promises[0].Path = "../x" },
		"absolute":       func(d *Derivation) { d.Promises[0].Path = "/x" },
		"promise kind":   func(d *Derivation) { d.Promises[0].Kind = "good" },
		"promise name":   func(d *Derivation) { d.Promises[0].Name = "a/b" },
		"promise digest": func(d *Derivation) { d.Promises[0].Kind = "sha256=0" },
		"soname":         func(d *Derivation) { d.Promises[0].Kind = "soname=" },
	}
	if err := full().Check(); err != nil {
		t.Error(err)
	}
	for name, change := range changes {
		d := full()
		change(d)
		var malformed *MalformedError
		if err := d.Check(); !errors.As(err, &malformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeDerivation(f *testing.F) {
	f.Add(full().Encode())
	f.Add((&Derivation{Layout: 1, Name: "a", Prefix: "/"}).Encode())
	f.Add([]byte(derivationMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := DecodeDerivation(data)
		if err == nil && !bytes.Equal(d.Encode(), data) {
			t.Errorf("accepted %q, which is the encoding of nothing", data)
		}
	})
}

func BenchmarkDerivationID(b *testing.B) {
	d := full()
	for range 300 {
		d.HostPackages = append(d.HostPackages, HostPackage{"package", "amd64", "1.0-1", TreeDigest{}})
	}
	for b.Loop() {
		d.ID()
	}
}
