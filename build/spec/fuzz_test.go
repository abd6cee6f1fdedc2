package spec

import (
	"errors"
	"strings"
	"testing"

	"hdjail/build/lens"
)

// FuzzParse: any text gives a checked Spec or an *Error with a place in it, and never a panic; so do its references, whatever
// they stand for.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{full, good, "", "{}", `{"hdjail": 1, "name": "x", "script": "true", "version": 1.10}`,
		"hdjail: 1\nname: &a x\nversion: *a\nscript: >-\n  a\n  b\n", "? a\n: b\n", "- - -\n", "%YAML 1.2\n---\na: |+\n\n", "a: 'b\n c'\n#\n", "hdjail: 1\nname: x\nversion: ${dep.A.spec.b}\nscript: x\npromises: ['a/$${dep.A.dep.B.out}']\n" +
			"environment: {A: '${self.out}$$${dep.A.json.b:c}'}\ninterpreter: ${dep.A.promise:b} $$\n"} {
		f.Add(seed, false, "/x")
		f.Add(seed, true, "../$")
	}
	f.Fuzz(func(t *testing.T, text string, json bool, value string) {
		file := "f.yaml"
		if json {
			file = "f.json"
		}
		s, err := Parse(file, []byte(text))
		if err == nil {
			s, err = s.Expand(func(e lens.Expr) (string, bool, error) {
				if value == "" {
					return "", false, e.Fail("", "there is none")
				}
				return value, len(e.Hops) > 0 && !e.Kind.Content(), nil
			})
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
				t.Fatalf("error %#v", err)
			}
			if strings.ContainsAny(e.Message, "\n\x00\x1b") {
				t.Fatalf("message %q is no line", e.Message)
			}
			return
		}
		if !validName(s.Name) || s.Version != "" && !validName(s.Version) || s.Script == "" || strings.ContainsRune(s.Script, 0) {
			t.Fatalf("accepted %+v", s)
		}
		for _, p := range s.Promises {
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	small := []byte("hdjail: 1\nname: n123\ndependencies: [{spec: n122.yaml}, {spec: n121.yaml}]\nscript: |\n  echo hi > $ARTIFACT/x\n")
	for _, c := range []struct {
		name string
		text []byte
	}{{"small", small}, {"full", []byte(full)}, {"json", []byte(`{"hdjail": 1, "name": "n1", "dependencies": [{"spec": "a"}, {"spec": "b"}], "script": "true"}`)}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("f", c.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
