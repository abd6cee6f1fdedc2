package lockfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/plan"
	"hdjail/hostpkgs"
)

func step(name, script string, deps ...*plan.Step) *plan.Step {
	s := &plan.Step{Dependencies: deps, Derivation: artifact.Derivation{Layout: 1, Name: name, System: "x86_64-linux", Prefix: "/p",
		Interpreter: []string{"/bin/sh"}, Script: script, Policy: "blake3:0"}}
	for _, d := range deps {
		s.Derivation.Dependencies = append(s.Derivation.Dependencies, artifact.Dependency{ID: d.ID, As: plan.VariableName(d.Derivation.Name)})
	}
	s.ID = s.Derivation.ID()
	return s
}

func realize(s *plan.Step, tree byte, ctx artifact.Context) artifact.Realization {
	r := artifact.Realization{Derivation: s.ID, Context: ctx, Tree: artifact.TreeDigest{tree}, Records: []artifact.BuildRecord{{Purpose: "build"}}}
	r.ID = artifact.NewRealizationID(s.ID, ctx, r.Tree)
	return r
}

// sample is the lock file of app, which depends on base, with a result of each.
func sample() (*File, *plan.Plan, Chosen) {
	base := step("base", "b")
	app := step("app", "a", base)
	p := &plan.Plan{Steps: []*plan.Step{base, app}, Targets: []*plan.Step{app}}
	ofBase := realize(base, 1, nil)
	chosen := Chosen{base.ID: {ofBase}, app.ID: {realize(app, 2, artifact.Context{base.ID: {ofBase.ID}})}}
	closures := []Closure{{Requested: []string{"gcc", "make"}, Packages: []artifact.HostPackage{{Name: "gcc", Version: "12", Digest: artifact.TreeDigest{3}}}}}
	return New(p, func(*plan.Step) string { return "app.yaml" }, closures, chosen), p, chosen
}

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	text, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRoundTrip(t *testing.T) {
	f, _, _ := sample()
	text := encode(t, f)
	read, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, read); !bytes.Equal(again, text) {
		t.Errorf("%s\n%s", text, again)
	}
}

// TestMalformed: whatever is wrong is an error that says so, and nothing else.
func TestMalformed(t *testing.T) {
	f, p, chosen := sample()
	text := string(encode(t, f))
	base, app := p.Steps[0], p.Steps[1]
	other := realize(base, 9, nil)
	edit := func(change func(f *File)) string {
		read, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		change(read)
		return string(encode(t, read))
	}
	for _, test := range []struct{ text, want string }{
		{"", "it ends early"},
		{"{", "it ends early"},
		{text[:len(text)/2], "it ends early"},
		{text + "x", "line "},
		{text + text, "line "},
		{"[]", "line 1: "},
		{"null", "it has no _meta"},
		{"{}", "it has no _meta"},
		{`{"_meta":{"format":1}}`, "it has no roots"},
		{`{"_meta":{"format":"x"}}`, "line 1: "},
		{strings.Replace(text, `"roots"`, `"routes"`, 1), `unknown field "routes"`},
		{strings.Replace(text, base.ID.String(), "x", 1), "malformed derivation ID"},
		{strings.Replace(text, `"script": "b"`, `"script": "c"`, 1), "has the content of"},
		{edit(func(f *File) { delete(f.Derivations, base.ID) }), "a dependency of app"},
		{edit(func(f *File) { delete(f.Derivations, app.ID) }), "lacks the root"},
		{edit(func(f *File) { f.Derivations[app.ID] = nil }), "lacks the root"},
		{edit(func(f *File) { f.Meta.System = "other" }), "another system or prefix"},
		{edit(func(f *File) { f.Realizations[base.ID][0].Tree = artifact.TreeDigest{8} }), "other content"},
		{edit(func(f *File) { f.Realizations[app.ID] = nil }), "belong to no derivation, or there are none"},
		{edit(func(f *File) { delete(f.Realizations, base.ID) }), "not those of the file"},
		{edit(func(f *File) { f.Realizations[base.ID] = []Realization{{other.ID, other.Tree, nil}} }), "not those of the file"},
		{edit(func(f *File) { f.Realizations[artifact.DerivationID{1}] = f.Realizations[base.ID] }), "belong to no derivation"},
		{edit(func(f *File) { f.Realizations[base.ID] = append(f.Realizations[base.ID], f.Realizations[base.ID][0]) }), "not "},
		{edit(func(f *File) { f.HostPackages[0].Requested = []string{"b", "a"} }), "not sorted"},
		{edit(func(f *File) {
			r := realize(base, 1, artifact.Context{app.ID: {chosen[app.ID][0].ID}})
			f.Realizations[base.ID] = []Realization{{r.ID, r.Tree, r.Context}}
			delete(f.Realizations, app.ID)
		}), "no dependency of it"},
	} {
		_, err := Parse([]byte(test.text))
		var malformed *MalformedError
		if !errors.As(err, &malformed) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v; want %q", err, test.want)
		}
	}
	_, err := Parse([]byte(`{"_meta":{"format":2,"new":[]},"more":1}`))
	var version *VersionError
	if !errors.As(err, &version) || version.Found != 2 {
		t.Errorf("another format: %v", err)
	}
}

func TestHold(t *testing.T) {
	f, p, _ := sample()
	name := func(*plan.Step) string { return "app.yaml" }
	if err := f.Hold(p, name); err != nil {
		t.Error(err)
	}
	base := step("base", "changed")
	changed := &plan.Plan{Steps: []*plan.Step{base, step("app", "a", base)}}
	changed.Targets = changed.Steps[1:]
	var mismatch *MismatchError
	if err := f.Hold(changed, name); !errors.As(err, &mismatch) || mismatch.Locked != p.Targets[0].ID || len(mismatch.Why.Causes) != 1 ||
		err.Error() != `hold "app.yaml" to the lock file: the script of base differs` {
		t.Error(err)
	}
	changed.Targets = changed.Steps[:1] // no root, and the only one of its name
	if err := f.Hold(changed, func(*plan.Step) string { return "base.yaml" }); !errors.As(err, &mismatch) || mismatch.Locked != p.Steps[0].ID {
		t.Error(err)
	}
	foreign := step("foreign", "f")
	var unlocked *UnlockedError
	if err := f.Hold(&plan.Plan{Steps: []*plan.Step{foreign}, Targets: []*plan.Step{foreign}}, func(*plan.Step) string { return "f.yaml" }); !errors.As(err, &unlocked) {
		t.Error(err)
	}
}

func TestMatcher(t *testing.T) {
	f, p, chosen := sample()
	base, app := p.Steps[0], p.Steps[1]
	locked, other := chosen[app.ID][0], realize(app, 7, chosen[app.ID][0].Context)
	elsewhere := realize(app, 2, artifact.Context{base.ID: {realize(base, 5, nil).ID}})
	m := f.Matchers()[app.ID]
	for _, test := range []struct {
		candidates []artifact.Realization
		want       []artifact.RealizationID
		need       int
	}{
		{nil, nil, 1},
		{[]artifact.Realization{locked}, []artifact.RealizationID{locked.ID}, 0},
		{[]artifact.Realization{other, locked}, []artifact.RealizationID{locked.ID}, 0},
		{[]artifact.Realization{elsewhere}, []artifact.RealizationID{elsewhere.ID}, 0},
	} {
		answer, err := m.Match(test.candidates, match.Facts{})
		if err != nil || !slices.Equal(answer.Select, test.want) || answer.Need != test.need {
			t.Errorf("%v: %+v, %v", test.candidates, answer, err)
		}
	}
	var differ *DifferError
	if _, err := m.Match([]artifact.Realization{other}, match.Facts{}); !errors.As(err, &differ) || differ.Locked.ID != locked.ID || differ.There[0].ID != other.ID {
		t.Error(err)
	}
}

// host has one version of everything.
type host string

func (h host) Pin(_ context.Context, names []string) (pins []hostpkgs.Pinned, err error) {
	for _, n := range names {
		pins = append(pins, hostpkgs.Pinned{Name: n, Version: string(h), Digest: artifact.TreeDigest{1}.String()})
	}
	return pins, nil
}

func (host) Owner(context.Context, string) (string, bool, error) { return "", false, nil }

// TestHost: after an upgrade of the host, what is locked is pinned as it was; what is not is pinned as it is now.
func TestHost(t *testing.T) {
	r := Recorder{HostPackages: host("1")}
	before, err := r.Pin(t.Context(), []string{"gcc", "make"})
	if err != nil {
		t.Fatal(err)
	}
	_, p, _ := sample()
	f := New(p, func(*plan.Step) string { return "" }, r.Closures(), nil)
	read, err := Parse(encode(t, f))
	if err != nil {
		t.Fatal(err)
	}
	later := read.Host(host("2"))
	for _, test := range []struct {
		names []string
		want  string
	}{{[]string{"gcc", "make"}, "1"}, {[]string{"gcc"}, "2"}} {
		pins, err := later.Pin(t.Context(), test.names)
		if err != nil || pins[0].Version != test.want {
			t.Errorf("%v: %+v, %v", test.names, pins, err)
		}
	}
	after, _ := later.Pin(t.Context(), []string{"gcc", "make"})
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
}

// TestDeterministic: the order in which closures come makes no difference.
func TestDeterministic(t *testing.T) {
	_, p, chosen := sample()
	rapid.Check(t, func(t *rapid.T) {
		var closures []Closure
		for i := range rapid.IntRange(0, 5).Draw(t, "n") {
			closures = append(closures, Closure{Requested: []string{fmt.Sprint("p", i)}})
		}
		name := func(*plan.Step) string { return "" }
		first, err1 := New(p, name, closures, chosen).Encode()
		second, err2 := New(p, name, rapid.Permutation(closures).Draw(t, "order"), chosen).Encode()
		if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
			t.Fatalf("%s\n%s", first, second)
		}
	})
}

// FuzzParse: no text makes Parse panic, and what it accepts is written and read again the same.
func FuzzParse(f *testing.F) {
	file, _, _ := sample()
	text := encode(f, file)
	f.Add(text)
	f.Add(text[:len(text)/2])
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		f.Fatal(err)
	}
	f.Add(compact.Bytes())
	f.Add([]byte(`{"_meta":{"format":1},"roots":[null],"derivations":{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := Parse(data)
		if err != nil {
			var malformed *MalformedError
			var version *VersionError
			if !errors.As(err, &malformed) && !errors.As(err, &version) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		again, err := Parse(encode(t, read))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, again), encode(t, read)) {
			t.Fatal("a lock file changes when it is written again")
		}
	})
}
