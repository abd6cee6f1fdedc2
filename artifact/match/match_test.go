package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
)

// candidate is a realization with one record a purpose, numbered from n.
func candidate(n byte, purposes ...string) artifact.Realization {
	r := artifact.Realization{ID: artifact.RealizationID{n}, Tree: artifact.TreeDigest{n}}
	for i, p := range purposes {
		r.Records = append(r.Records, artifact.BuildRecord{Purpose: p, Number: int(n) + 10*i, Builder: artifact.Builder{Host: fmt.Sprint("h", i)}})
	}
	return r
}

// world are the facts of a test: scores and clean candidates by the first byte of the ID.
type world struct {
	lines map[byte]string
	clean map[byte]bool
	self  artifact.Builder
	says  func(candidates []artifact.Realization) (Answer, error)
}

func (w world) facts() Facts {
	return Facts{
		Line: func(c artifact.Realization, _ string) (string, bool, error) {
			line, found := w.lines[c.ID[0]]
			return line, found, nil
		},
		Made: func(c artifact.Realization) (artifact.BuildRecord, error) {
			complete := w.clean[c.ID[0]]
			return artifact.BuildRecord{Complete: &complete, Verdicts: map[string]int64{"absent": 7}}, nil
		},
		Outside: func(c artifact.Realization) (string, error) { return fmt.Sprintf("hidden read /etc/%d", c.ID[0]), nil },
		Self:    w.self,
		Absent:  func(string) (string, error) { return "the store has none", nil },
		Choose:  func(_ string, candidates []artifact.Realization) (Answer, error) { return w.says(candidates) },
	}
}

// told is the answer as a text: the first bytes of the selection, or the number of builds with the rejected, or the error.
func told(a Answer, err error) string {
	if err != nil {
		return err.Error()
	}
	var list []string
	for _, id := range a.Select {
		list = append(list, fmt.Sprint(id[0]))
	}
	if a.Need > 0 {
		list = append(list, fmt.Sprint("need ", a.Need))
	}
	for _, r := range a.Rejected {
		list = append(list, fmt.Sprintf("(%d %s)", r.ID[0], r.Reason))
	}
	return strings.Join(list, " ")
}

// id is the text of the ID of the n-th candidate.
func id(n byte) string { return artifact.RealizationID{n}.String() }

func TestMatchers(t *testing.T) {
	three := []artifact.Realization{candidate(3, "build"), candidate(1, "build", "build"), candidate(2, "build", "check")}
	checked := candidate(9, "check", "check")
	w := world{lines: map[byte]string{1: "1.5", 2: " 1e1 ", 3: "NaN"}, clean: map[byte]bool{2: true, 3: true}, self: artifact.Builder{Host: "h0"},
		says: func(c []artifact.Realization) (Answer, error) { return Answer{Need: 2}, nil }}
	rows := []struct {
		matcher    string
		candidates []artifact.Realization
		want       string
	}{
		{"only", nil, "need 1"},
		{"only", three[:1], "3"},
		{"only", []artifact.Realization{three[0], three[0]}, "3"},
		{"only", []artifact.Realization{checked, three[0]}, "3"},
		{"only", []artifact.Realization{checked}, "need 1 (9 only a check made it: exact takes it)"},
		{"only", three[:2], "match only: there are 2 realizations: " + id(1) + ", " + id(3)},
		{"some(2)", three, "1 2"},
		{"some(4)", three, "need 1"},
		{"some(2)", []artifact.Realization{checked}, "need 2 (9 only a check made it: exact takes it)"},
		{"latest", three, "2"}, // its check was number 12
		{"latest", []artifact.Realization{three[0], three[1], candidate(2, "build")}, "1"},
		{"latest(2)", three, "1 2"},
		{"latest:5", three, "need 2"},
		{"all", nil, "need 1"},
		{"all", append(three, checked), "1 2 3"},
		{"exact:" + id(9), append(three, checked), "9"},
		{"exact(" + id(3) + ", " + id(1)[:3] + ")", three, "1 3"},
		{"exact:" + id(8), three, "match exact " + id(8) + ": the store has none"},
		{"exact:a", three, "match exact a: several begin so: " + id(1) + ", " + id(2) + ", " + id(3)},
		{"exact:a", nil, "match exact a: the store has none"},
		{"best(score.txt)", three, "2"},
		{"best(score.txt, top 2)", three, "1 2"},
		{"best(score.txt, top 9)", three, "1 2 3"},
		{"best(score.txt)", nil, "need 1"},
		{"best(score.txt)", []artifact.Realization{candidate(7, "build"), three[0], candidate(5, "build")}, "3"}, // no number: by ID
		{"clean|all", three, "2 3"},
		{"clean", three[:2], "3"},
		{"clean|only", []artifact.Realization{three[1]}, "need 1 (1 not clean: hidden read /etc/1)"},
		{"clean|some(3)", three, "need 1 (1 not clean: hidden read /etc/1)"},
		{"clean|exact:" + id(1), three, "match exact " + id(1) + ": not clean: hidden read /etc/1"},
		{"clean|best(score.txt)", three, "2"},
		{"quorum(2)", three[1:2], "1"},
		{"quorum(2)", three, "match quorum(2): 2 different trees have as many builders"},
		{"quorum(3)", three, "match quorum(3): no tree has as many builders, and this builder has built already"},
		{"quorum(2)|latest", []artifact.Realization{three[0], three[2]}, "2"},
		{"clean|quorum(1)|all", []artifact.Realization{three[0], three[1]}, "3"},
		{"quorum(1)", nil, "need 1"},
		{"script(x.yaml)", nil, "need 2"},
		{"clean|script(x.yaml)", three[1:2], "need 1 (1 not clean: hidden read /etc/1)"},
	}
	for _, r := range rows {
		m, err := Parse(r.matcher)
		if err != nil {
			t.Errorf("%s: %v", r.matcher, err)
			continue
		}
		if got := told(m.Match(r.candidates, w.facts())); got != r.want {
			t.Errorf("%s: %s, want %s", r.matcher, got, r.want)
		}
	}
	w.self.Host = "another"
	m, _ := Parse("quorum(2)")
	if got := told(m.Match(three[:1], w.facts())); !strings.HasPrefix(got, "need 1 (3 1 of 2 builders had blake3:0300") || !strings.HasSuffix(got, ": h0 (uid 0))") {
		t.Errorf("a quorum that lacks this builder: %s", got)
	}
}

// TestScript: what a script says counts only if it makes sense.
func TestScript(t *testing.T) {
	two := []artifact.Realization{candidate(2, "build"), candidate(1, "build")}
	odd := errors.New("odd")
	for want, says := range map[string]func([]artifact.Realization) (Answer, error){
		"1": func(c []artifact.Realization) (Answer, error) { return Answer{Select: identities(c[:1])}, nil },
		"1 2": func(c []artifact.Realization) (Answer, error) {
			return Answer{Select: []artifact.RealizationID{{2}, {1}, {2}}}, nil
		},
		"match script(f): it selects nothing": func([]artifact.Realization) (Answer, error) { return Answer{}, nil },
		"match script(f): it selects " + id(5) + ", which is no candidate": func([]artifact.Realization) (Answer, error) {
			return Answer{Select: []artifact.RealizationID{{5}}}, nil
		},
		"match script(f): it asks for 1001 builds, and may ask for 1 to 1000": func([]artifact.Realization) (Answer, error) { return Answer{Need: 1001}, nil },
		"match script(f): it asks for -1 builds, and may ask for 1 to 1000":   func([]artifact.Realization) (Answer, error) { return Answer{Need: -1}, nil },
		"match script(f): it selects, and asks for builds": func(c []artifact.Realization) (Answer, error) {
			return Answer{Select: identities(c), Need: 1}, nil
		},
		"odd": func([]artifact.Realization) (Answer, error) { return Answer{}, odd },
	} {
		m, err := Parse("script(f)")
		if err != nil {
			t.Fatal(err)
		}
		if got := told(m.Match(two, world{says: says}.facts())); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

var texts = []string{"only", "some(3)", "latest", "latest(2)", "all", "exact(ab, c)", "best(a/b.txt)", "best(s, top 2)", "script(../x.yaml)", "clean",
	"clean|all", "quorum(2)", "clean|quorum(2)|latest(3)", "script(/x y)"}

// TestOrderDoesNotMatter gives matchers their candidates in two orders.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.Custom(func(t *rapid.T) artifact.Realization {
			purpose := rapid.SampledFrom([]string{"build", "check"})
			return candidate(rapid.ByteRange(0, 20).Draw(t, "id"), rapid.SliceOfN(purpose, 1, 3).Draw(t, "purposes")...)
		})
		distinct := rapid.ID[artifact.Realization]
		list := rapid.SliceOfNDistinct(draw, 0, 5, func(c artifact.Realization) artifact.RealizationID { return distinct(c).ID }).Draw(t, "candidates")
		w := world{lines: map[byte]string{}, clean: map[byte]bool{}, self: artifact.Builder{Host: rapid.SampledFrom([]string{"h0", "x"}).Draw(t, "self")},
			says: func(c []artifact.Realization) (Answer, error) { return Answer{Select: identities(c)}, nil }}
		for _, c := range list {
			w.lines[c.ID[0]] = rapid.SampledFrom([]string{"1", "2", "-3.5", "x"}).Draw(t, "score")
			w.clean[c.ID[0]] = rapid.Bool().Draw(t, "clean")
		}
		text := rapid.SampledFrom(texts).Draw(t, "matcher")
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		a, err1 := m.Match(list, w.facts())
		shuffled := rapid.Permutation(list).Draw(t, "shuffled")
		before := slices.Clone(identities(shuffled))
		b, err2 := m.Match(shuffled, w.facts())
		if told(a, err1) != told(b, err2) {
			t.Fatalf("%s: %s and %s", text, told(a, err1), told(b, err2))
		}
		if !slices.Equal(before, identities(shuffled)) {
			t.Fatalf("%s sorts the caller's list", text)
		}
		if err1 == nil && (a.Need > 0) == (len(a.Select) > 0) {
			t.Fatalf("%s: %+v is no answer", text, a)
		}
	})
}

func TestParse(t *testing.T) {
	for _, text := range texts {
		if m, err := Parse(text); err != nil || m.String() != text {
			t.Errorf("%q: %v (%v)", text, m, err)
		}
	}
	for text, want := range map[string]string{"": "only", " only ": "only", "clean | only": "clean", "latest(1)": "latest", "latest : 2": "latest(2)",
		"exact:b,a a": "exact(a, b)", "best:s": "best(s)", "best( ./a//b , top 1)": "best(a/b)", "quorum:3|all": "quorum(3)|all",
		"script:choose.yaml": "script(choose.yaml)"} {
		if m, err := Parse(text); err != nil || m.String() != want {
			t.Errorf("%q: %v (%v), want %s", text, m, err, want)
		}
	}
	for text, want := range map[string]string{
		"Only": `there is no matcher "Only"`, "only|": `a matcher is missing`, "|": "a matcher is missing", "only|all": `nothing may follow "only"`, "all|clean": `nothing may follow "all"`,
		"only(1)": "only takes no argument", "clean()": "clean takes no argument", "newest": `there is no matcher "newest"`, "\x00": "it is not printable text", "\xff": "it is not printable text",
		"some": "some wants a number from 1", "some(0)": "some wants a number from 1", "some(-1)": "some wants", "latest(x)": "latest wants", "some(2": "no closing parenthesis",
		"some(99999999999999999999)": "some wants", "some(2)x": `"x" is between two matchers`, "exact": "exact wants the IDs", "exact( , )": "exact wants the IDs", "exact:a1": `"a1" is no ID`,
		"best": "best wants a file", "best()": "best wants a file", "best(a, 3)": "best wants a file and how many", "best(a, top 0)": "best wants a number", "best(/a)": "inside the output",
		"best(a/../b)": "inside the output", "best(..)": "inside the output", "best:a|b": `there is no matcher "b"`, "quorum": "quorum wants a number", "script": "script wants a file", "script()": "script wants a file",
	} {
		_, err := Parse(text)
		var wrong *ParseError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestIn(t *testing.T) {
	for text, want := range map[string]string{"only": "only", "clean|script(a/b)": "clean|script(/d/a/b)", "script(../x)": "script(/x)", "script(/x)": "script(/x)"} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := In(m, "/d"); got.String() != want || m.String() != text {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Add("best(a,b, top 3)")
	f.Add("exact: a , b|")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			if !errors.As(err, new(*ParseError)) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := Parse(m.String())
		if err != nil || again.String() != m.String() {
			t.Fatalf("%q is %q, which reads as %v (%v)", text, m, again, err)
		}
	})
}
