package lens

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseExpr(t *testing.T) {
	for text, want := range map[string]Expr{
		"self.out":                       {Kind: Out},
		"dep.A.out":                      {Hops: []string{"A"}, Kind: Out},
		"dep.A":                          {Hops: []string{"A"}, Kind: Whole},
		"self":                           {Kind: Whole},
		"dep.A.dep.b_1.out":              {Hops: []string{"A", "b_1"}, Kind: Out},
		"dep.dep.dep.out.out":            {Hops: []string{"dep", "out"}, Kind: Out},
		"dep.A.promise:lib/x.so.1":       {Hops: []string{"A"}, Kind: Promise, Path: "lib/x.so.1"},
		"dep.A.promise:dep.B.out":        {Hops: []string{"A"}, Kind: Promise, Path: "dep.B.out"},
		"dep.A.promise:./a//b/":          {Hops: []string{"A"}, Kind: Promise, Path: "a/b"},
		"dep.A.promise.lib":              {Hops: []string{"A"}, Kind: Promise, Name: "lib"},
		"dep.A.spec.environment.X":       {Hops: []string{"A"}, Kind: Field, Keys: []string{"environment", "X"}},
		"dep.A.dep.B.json.a/b.json:k.0":  {Hops: []string{"A", "B"}, Kind: JSON, Path: "a/b.json", Keys: []string{"k", "0"}},
		"dep.A.json.x:a:b":               {Hops: []string{"A"}, Kind: JSON, Path: "x", Keys: []string{"a:b"}},
		"dep.A.text.dir/name with space": {Hops: []string{"A"}, Kind: Text, Path: "dir/name with space"},
		"self.text.a..b":                 {Kind: Text, Path: "a..b"},
	} {
		want.Source = text
		got, err := ParseExpr(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "x", "HOME", "dep", "dep.", "dep.1A.out", "dep.a-b.out", "dep.A.", "dep.A.dep", "dep.A.dep.", "dep.A.dep.out-x",
		"dep.A.out.x", "dep.A.outs", "dep.A.promise", "dep.A.promise.", "dep.A.promise:", "dep.A.promise:/etc", "dep.A.promise:a/../../b",
		"dep.A.promise:.", "dep.A.spec", "dep.A.spec.", "dep.A.spec.a..b", "dep.A.json.x", "dep.A.json.:a", "dep.A.json.x:", "dep.A.text.",
		"dep.A.text.../x", "self.", "dep.A. out", "dep.A.text.a\x00b"} {
		var e *Error
		if got, err := ParseExpr(text); !errors.As(err, &e) || e.Source != text {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestTemplate(t *testing.T) {
	known := func(e Expr) (string, bool, error) { return "<$" + e.Hops[0] + "$>", e.Kind == Out, nil }
	for text, want := range map[string]string{ // what is left when dep.X.out is known
		"":                          "",
		"plain $HOME $1 a$":         "plain $HOME $1 a$",
		"$$":                        "$",
		"$$$":                       "$$$", // one dollar sign is doubled, the last one stays as it is
		"$$$$":                      "$$$",
		"a$$b":                      "a$b",
		"$${x}":                     "$${x}",
		"$$$${x}":                   "$$$${x}",
		"${dep.A.out}":              "<$A$>",
		"${dep.A.out}${dep.B.out}x": "<$A$><$B$>x",
		"${dep.A.out}{":             "<$A$>{",
		"$$${dep.A.text.f}":         "$$${dep.A.text.f}",
		"$${dep.A.text.f}":          "$${dep.A.text.f}",
		"a${dep.A.text.f}$":         "a${dep.A.text.f}$",
		"${dep.A.text.f}$${":        "${dep.A.text.f}$${",
	} {
		template, err := Parse(text)
		if err == nil {
			template, err = template.Expand(known)
		}
		if got := template.String(); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, source := range map[string]string{"a ${dep.A.out": "dep.A.out", "${HOME}": "HOME", "${": "", "${}": "", "$${x}${y}": "y"} {
		var e *Error
		if _, err := Parse(text); !errors.As(err, &e) || e.Source != source {
			t.Errorf("%q: %v", text, err)
		}
	}
	boom := errors.New("boom")
	template, _ := Parse("${dep.A.out}")
	if _, err := template.Expand(func(Expr) (string, bool, error) { return "", true, boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
}

// FuzzParse: what is parsed has one canonical form, which says the same; what replaces a reference is never read as one;
// and no text makes an error that is more than a line.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "$", "$$", "${self.out}", "a$$${dep.A.dep.B.json.f:a.b}$", "${dep.A.text.x}${", "$${x}", "${dep.A.promise:$}$$"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		template, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Fatalf("error %q", err)
			}
			return
		}
		again, err := Parse(template.String())
		if err != nil || again.String() != template.String() || !cmp.Equal(again.Exprs(), template.Exprs()) {
			t.Fatalf("%q is written %q, and that %q, %v", text, template, again, err)
		}
		if len(template.Exprs()) == 0 {
			literal, _ := template.Text()
			if back, _ := again.Text(); back != literal || Escape(literal) != template.String() {
				t.Fatalf("%q stands for %q, %q for %q", text, literal, template, back)
			}
		}
		full, err := template.Expand(func(Expr) (string, bool, error) { return value, true, nil })
		literal, known := full.Text()
		if err != nil || !known {
			t.Fatalf("%q is not replaced: %v", text, err)
		}
		if back, err := Parse(full.String()); err != nil || len(back.Exprs()) != 0 {
			t.Fatalf("%q with %q gives %q, which is read as %v, %v", text, value, full, back, err)
		} else if same, _ := back.Text(); same != literal {
			t.Fatalf("%q gives %q, read back as %q", text, literal, same)
		}
	})
}
