package lens

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hdjail/artifact"
)

// world is a store in memory with the output trees below dir.
type world struct {
	dir          string
	derivations  map[artifact.DerivationID]*artifact.Derivation
	realizations map[artifact.RealizationID]artifact.Realization
}

var errNone = errors.New("there is none")

func (w *world) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d, ok := w.derivations[id]; ok {
		return d, nil
	}
	return nil, errNone
}

func (w *world) Realization(id artifact.RealizationID) (artifact.Realization, error) {
	if r, ok := w.realizations[id]; ok {
		return r, nil
	}
	return artifact.Realization{}, errNone
}

func (w *world) OutPath(id artifact.RealizationID) string { return filepath.Join(w.dir, id.String()) }

// add stores a derivation and returns its ID.
func (w *world) add(d artifact.Derivation) artifact.DerivationID {
	d.Layout, d.Prefix, d.System = firstLayout, "/s", "x86_64-linux"
	w.derivations[d.ID()] = &d
	return d.ID()
}

// realize stores a realization with the files.
func (w *world) realize(t *testing.T, id artifact.DerivationID, context artifact.Context, files map[string]string) artifact.RealizationID {
	t.Helper()
	var tree artifact.TreeDigest
	tree[0] = byte(len(w.realizations))
	r := artifact.Realization{ID: artifact.NewRealizationID(id, context, tree), Derivation: id, Context: context}
	w.realizations[r.ID] = r
	for name, content := range files {
		path := filepath.Join(w.OutPath(r.ID), name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, isLink := strings.CutPrefix(content, "-> "); err == nil && isLink {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r.ID
}

// chain is top ← mid ← leaf, and top with two realizations of models.
func chain(t *testing.T) (w *world, top artifact.DerivationID, realized artifact.RealizationID) {
	w = &world{t.TempDir(), map[artifact.DerivationID]*artifact.Derivation{}, map[artifact.RealizationID]artifact.Realization{}}
	if err := os.WriteFile(w.dir+"/secret", []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	leaf := w.add(artifact.Derivation{Name: "leaf", Version: "1.10", Promises: []artifact.Promise{{Path: "bin/leaf", Kind: artifact.PromiseExec, Name: "program"}, artifact.Exists("share/n.json")},
		Interpreter: []string{"/bin/sh", "-eu", "$$${self.out}"},
		Environment: map[string]string{"A": "$$${self.out}/x", "B": "${dep.X.text.y}"}, Sources: []artifact.Source{{Digest: "sha256:0", Unpack: true}}})
	mid := w.add(artifact.Derivation{Name: "mid", Dependencies: []artifact.Dependency{{ID: leaf, As: "LEAF"}}})
	models := w.add(artifact.Derivation{Name: "models", Version: "2"})
	top = w.add(artifact.Derivation{Name: "top", Dependencies: []artifact.Dependency{{ID: mid, As: "MID"}, {ID: models, As: "MODELS", Many: true}, {ID: leaf}}})
	l := w.realize(t, leaf, nil, map[string]string{"bin/leaf": "#!", "share/n.json": `{"a": {"b": [1, 2.50, true, null, "t\u0000"]}, "": 1}`,
		"text": "one\ntwo\n\n", "long": strings.Repeat("x", MaxContent+1), "fits": strings.Repeat("x", MaxContent), "bytes": "\xff", "two.json": "{} {}",
		"out": "-> ../secret", "abs": "-> " + w.dir + "/secret", "in": "-> share/n.json", "dir": "-> ..", "share/bad.json": "{"})
	m := w.realize(t, mid, artifact.Context{leaf: {l}}, map[string]string{"x": "x"})
	m1, m2 := w.realize(t, models, nil, nil), w.realize(t, models, nil, nil)
	return w, top, w.realize(t, top, artifact.Context{mid: {m}, models: {m1, m2}, leaf: {l}}, map[string]string{"x": "x"})
}

func TestAsk(t *testing.T) {
	w, top, realized := chain(t)
	tests := []struct {
		expr        string
		derivation  string // what a derivation answers; in parentheses part of the error
		realization string // what a realization answers, its directory cut off; empty for the same
	}{
		{"dep.MID.spec.name", "mid", ""},
		{"${dep.MID.dep.LEAF.spec.version}", "1.10", ""},
		{"dep.MID.dep.LEAF.spec.layout", "2", ""},
		{"dep.MID.dep.LEAF.spec.sources.0.unpack", "true", ""},
		{"dep.MID.dep.LEAF.spec.environment.A", "$PUBLIC/x", ""},
		{"dep.MID.dep.LEAF.spec.interpreter.2", "$PUBLIC", ""},
		{"dep.MID.dep.LEAF.spec.environment.B", "(known only when)", ""},
		{"dep.MODELS.spec.version", "2", ""},
		{"dep.MID.dep.LEAF.spec.versio", `(no key "versio" at the top)`, ""},
		{"dep.MID.dep.LEAF.spec.sources", "(is a list)", ""},
		{"dep.MID.dep.LEAF.spec.sources.1", `(no number "1" in the list at sources)`, ""},
		{"dep.MID.dep.LEAF.spec.name.x", "(name is no mapping)", ""},
		{"dep.MID.dep.LEAF.spec.environment", "(is a mapping)", ""},
		{"dep.LEAF.spec.name", "(top has no dependency LEAF)", ""},
		{"dep.MID.dep.LEAF.dep.X.out", "(leaf has no dependency X)", ""},
		{"dep.MID.out", "(needs files)", "DIR"},
		{"self.text.x", "(needs files)", "x"},
		{"dep.MID.dep.LEAF.promise:bin/leaf", "(needs files)", "DIR/bin/leaf"},
		{"dep.MID.dep.LEAF.promise:bin/lea", "(needs files)", `(does not promise "bin/lea")`},
		{"dep.MID.dep.LEAF.promise.program", "(needs files)", "DIR/bin/leaf"},
		{"dep.MID.dep.LEAF.promise.tool", "(needs files)", "(promises nothing by the name tool)"},
		{"dep.MODELS.out", "(needs files)", "(2 realizations of models)"},
		{"dep.MID.dep.LEAF.text.text", "(needs files)", "one\ntwo\n"},
		{"dep.MID.dep.LEAF.json.share/n.json:a.b.1", "(needs files)", "2.50"},
		{"dep.MID.dep.LEAF.json.in:a.b.2", "(needs files)", "true"},
		{"dep.MID.dep.LEAF.json.in:a.b.3", "(needs files)", "(null)"},
		{"dep.MID.dep.LEAF.json.in:a.b.4", "(needs files)", "(not UTF-8 text without NUL)"},
		{"dep.MID.dep.LEAF.json.in:a.b", "(needs files)", "(a list)"},
		{"dep.MID.dep.LEAF.json.in:x", "(needs files)", `(no key "x")`},
		{"dep.MID.dep.LEAF.json.share/bad.json:x", "(needs files)", "(malformed JSON)"},
		{"dep.MID.dep.LEAF.json.two.json:x", "(needs files)", "(text after the end)"},
		{"dep.MID.dep.LEAF.text.fits", "(needs files)", strings.Repeat("x", MaxContent)},
		{"dep.MID.dep.LEAF.text.long", "(needs files)", "(more than 65536 bytes)"},
		{"dep.MID.dep.LEAF.text.bytes", "(needs files)", "(not UTF-8)"},
		{"dep.MID.dep.LEAF.text.out", "(needs files)", "(escapes)"},
		{"dep.MID.dep.LEAF.text.abs", "(needs files)", "(escapes)"},
		{"dep.MID.dep.LEAF.text.dir/secret", "(needs files)", "(escapes)"},
		{"dep.MID.dep.LEAF.text.share", "(needs files)", "(is no file)"},
		{"dep.MID.dep.LEAF.text.nosuch", "(needs files)", `(no file "nosuch")`},
		{"HOME", "(neither self nor dep)", ""},
	}
	for _, test := range tests {
		check := func(q Question, want string) {
			answer, err := q.Ask(test.expr)
			got := strings.ReplaceAll(answer.Value, w.OutPath(answer.Realization), "DIR")
			if d := w.derivations[answer.Derivation]; d != nil {
				got = strings.ReplaceAll(got, d.PublicPath(), "PUBLIC")
			}
			if cause, fails := strings.CutPrefix(want, "("); fails {
				var e *Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), strings.TrimSuffix(cause, ")")) {
					t.Errorf("%s: %q, %v; want error with %s", test.expr, answer.Value, err, want)
				}
			} else if err != nil || got != want {
				t.Errorf("%s: %.80q, %v; want %.80q", test.expr, got, err, want)
			}
		}
		check(Question{Store: w, Derivation: top}, test.derivation)
		if test.realization == "" {
			test.realization = test.derivation
		}
		check(Question{Store: w, Derivation: top, Realization: realized}, test.realization)
	}
}

func TestAskForABuild(t *testing.T) {
	w, top, realized := chain(t)
	answer, err := Question{Store: w, Derivation: top}.Ask("dep.MID.dep.LEAF")
	if d := w.derivations[answer.Derivation]; err != nil || d.Name != "leaf" || answer.Value != answer.Derivation.String() || answer.Kind != "id" {
		t.Errorf("derivation: %+v, %v", answer, err)
	}
	answer, err = Question{Store: w, Derivation: top, Realization: realized}.Ask("dep.MID.dep.LEAF")
	if r := w.realizations[answer.Realization]; err != nil || w.derivations[r.Derivation].Name != "leaf" || answer.Value != r.ID.String() {
		t.Errorf("realization: %+v, %v", answer, err)
	}
	planned := map[artifact.DerivationID]*artifact.Derivation{top: w.derivations[top]}
	delete(w.derivations, top)
	if answer, err := (Question{Store: w, Planned: planned, Derivation: top}).Ask("self.spec.name"); err != nil || answer.Value != "top" {
		t.Errorf("planned: %+v, %v", answer, err)
	}
	if _, err := (Question{Store: w, Derivation: top}).Ask("self.spec.name"); !errors.Is(err, errNone) {
		t.Errorf("absent: %v", err)
	}
}

// TestOldLayout: what older derivations say is no template.
func TestOldLayout(t *testing.T) {
	d := &artifact.Derivation{Layout: 1, Name: "old", Environment: map[string]string{"A": "$$${self.out}"}}
	e, err := ParseExpr("dep.OLD.spec.environment.A")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Value(d, e); got != "$$${self.out}" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNearest(t *testing.T) {
	many := strings.Split("alpha beta gamma delta epsilon zeta eta theta iota", " ")
	for _, test := range []struct {
		name  string
		known []string
		want  string
	}{
		{"x", nil, ""},
		{"bata", many, `did you mean "beta"?`},
		{"ZZZZZZ", []string{"b", "a"}, "there are a, b"},
		{"zzzzzz", many, "nearest are zeta, alpha, beta, delta, eta, gamma, iota, theta"},
	} {
		if got := Nearest(test.name, test.known); got != test.want {
			t.Errorf("%s: %q; want %q", test.name, got, test.want)
		}
	}
}
