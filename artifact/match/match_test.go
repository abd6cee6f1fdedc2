package match

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hdjail/artifact"
)

func candidate(n byte, purposes ...string) artifact.Realization {
	r := artifact.Realization{ID: artifact.RealizationID{n}}
	for _, p := range purposes {
		r.Records = append(r.Records, artifact.BuildRecord{Purpose: p})
	}
	return r
}

func TestOnly(t *testing.T) {
	a, b := candidate(1, "build"), candidate(2, "check", "import")
	checked := candidate(3, "check", "check")
	rows := map[string]struct {
		candidates []artifact.Realization
		want       Answer
		many       int
	}{
		"none":             {nil, Answer{Need: 1}, 0},
		"one":              {[]artifact.Realization{a}, Answer{Select: []artifact.RealizationID{a.ID}}, 0},
		"two":              {[]artifact.Realization{b, a}, Answer{}, 2},
		"one and a check":  {[]artifact.Realization{checked, b}, Answer{Select: []artifact.RealizationID{b.ID}}, 0},
		"a check":          {[]artifact.Realization{checked}, Answer{Need: 1}, 0},
		"two and a check":  {[]artifact.Realization{checked, b, a}, Answer{}, 2},
		"the same, listed": {[]artifact.Realization{a, a}, Answer{Select: []artifact.RealizationID{a.ID}}, 0},
	}
	m, err := Parse("only")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range rows {
		got, err := m.Match(r.candidates)
		if got.Need != r.want.Need || !slices.Equal(got.Select, r.want.Select) {
			t.Errorf("%s: got %+v, want %+v", name, got, r.want)
		}
		var many *ManyError
		if errors.As(err, &many) != (r.many > 0) || many != nil && len(many.Candidates) != r.many {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestOrderDoesNotMatter gives a matcher its candidates in two orders.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.Custom(func(t *rapid.T) artifact.Realization {
			return candidate(rapid.Byte().Draw(t, "id"), rapid.SampledFrom([]string{"build", "check"}).Draw(t, "purpose"))
		})
		list := rapid.SliceOfN(draw, 0, 3).Draw(t, "candidates")
		a, err1 := only{}.Match(list)
		slices.Reverse(list)
		b, err2 := only{}.Match(list)
		if a.Need != b.Need || !slices.Equal(a.Select, b.Select) || (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error() {
			t.Fatalf("%+v (%v) and %+v (%v)", a, err1, b, err2)
		}
		if err1 == nil && (a.Need > 0) == (len(a.Select) > 0) {
			t.Fatalf("%+v is no answer", a)
		}
	})
}

func TestParse(t *testing.T) {
	for _, text := range []string{"", "only", " only "} {
		if m, err := Parse(text); err != nil || m.String() != "only" {
			t.Errorf("%q: %v (%v)", text, m, err)
		}
	}
	for _, text := range []string{"Only", "only|", "only(1)", "newest", "latest", "\x00"} {
		if _, err := Parse(text); !errors.As(err, new(*ParseError)) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
