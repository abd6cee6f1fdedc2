package match

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"hdjail/artifact"
)

// only accepts the one candidate there is, and asks for a build when there is none.
type only struct{}

func (only) String() string { return "only" }

func (only) choose(candidates []artifact.Realization, _ Facts) (Answer, error) {
	switch len(candidates) {
	case 0:
		return Answer{Need: 1}, nil
	case 1:
		return Answer{Select: identities(candidates)}, nil
	}
	return Answer{}, &ManyError{identities(candidates)}
}

// some takes the first n by ID.
type some struct{ n int }

func (m some) String() string { return fmt.Sprintf("some(%d)", m.n) }

func (m some) choose(candidates []artifact.Realization, _ Facts) (Answer, error) {
	return firstOf(candidates, m.n), nil
}

// firstOf takes n candidates, or asks for those that are missing.
func firstOf(candidates []artifact.Realization, n int) Answer {
	if missing := n - len(candidates); missing > 0 {
		return Answer{Need: missing}
	}
	return Answer{Select: identities(candidates[:n])}
}

// latest takes the n that were built last, by the numbers of their newest records. No clock is compared.
type latest struct{ n int }

func (m latest) String() string {
	if m.n == 1 {
		return "latest"
	}
	return fmt.Sprintf("latest(%d)", m.n)
}

func (m latest) choose(candidates []artifact.Realization, _ Facts) (Answer, error) {
	slices.SortStableFunc(candidates, func(a, b artifact.Realization) int { return cmp.Compare(newest(b), newest(a)) })
	return firstOf(candidates, m.n), nil
}

func newest(c artifact.Realization) int {
	number := 0
	for _, r := range c.Records {
		number = max(number, r.Number)
	}
	return number
}

// all takes every one.
type all struct{}

func (all) String() string { return "all" }

func (all) choose(candidates []artifact.Realization, _ Facts) (Answer, error) {
	return firstOf(candidates, max(1, len(candidates))), nil
}

// exact takes those whose IDs begin so, each of which has to be there and to mean one.
type exact []string

func (m exact) String() string { return "exact(" + strings.Join(m, ", ") + ")" }

func (m exact) choose(candidates []artifact.Realization, facts Facts) (Answer, error) {
	var a Answer
	for _, text := range m {
		found := slices.DeleteFunc(slices.Clone(candidates), func(c artifact.Realization) bool { return !beginsWith(c.ID, text) })
		switch len(found) {
		case 0:
			reason, err := facts.Absent(text)
			if err != nil {
				return a, err
			}
			return a, &AbsentError{text, reason}
		case 1:
			a.Select = append(a.Select, found[0].ID)
		default:
			return a, &AbsentError{text, "several begin so: " + join(identities(found))}
		}
	}
	slices.SortFunc(a.Select, compareIDs)
	a.Select = slices.Compact(a.Select)
	return a, nil
}

func beginsWith(id artifact.RealizationID, text string) bool {
	return strings.HasPrefix(id.String(), text)
}

// best takes up to top candidates with the highest numbers in the first line of a file.
type best struct {
	file string
	top  int
}

func (m best) String() string {
	if m.top == 1 {
		return fmt.Sprintf("best(%s)", m.file)
	}
	return fmt.Sprintf("best(%s, top %d)", m.file, m.top)
}

func (m best) choose(candidates []artifact.Realization, facts Facts) (Answer, error) {
	scores := map[artifact.RealizationID]float64{}
	for _, c := range candidates {
		line, found, err := facts.Line(c, m.file)
		if err != nil {
			return Answer{}, err
		}
		scores[c.ID] = math.Inf(-1)
		if found {
			scores[c.ID] = score(line)
		}
	}
	slices.SortStableFunc(candidates, func(a, b artifact.Realization) int { return cmp.Compare(scores[b.ID], scores[a.ID]) })
	return firstOf(candidates, max(1, min(m.top, len(candidates)))), nil
}

// score reads a finite decimal number, as a float64; anything else is less than all numbers.
func score(line string) float64 {
	line = strings.TrimSpace(line)
	value, err := strconv.ParseFloat(line, 64)
	if err != nil || strings.Trim(line, "+-.0123456789eE") != "" { // no hexadecimal, no underscores, no names
		return math.Inf(-1)
	}
	return value
}

// maxBuilds is how many builds a script may ask for.
const maxBuilds = 1000

// script takes what a program says, which Facts runs.
type script struct{ file string }

func (m script) String() string { return "script(" + m.file + ")" }

func (m script) choose(candidates []artifact.Realization, facts Facts) (Answer, error) {
	a, err := facts.Choose(m.file, candidates)
	if err != nil {
		return a, err
	}
	fail := func(format string, args ...any) (Answer, error) {
		return Answer{}, &AnswerError{m.file, fmt.Sprintf(format, args...)}
	}
	for _, id := range a.Select {
		if !contains(candidates, id) {
			return fail("it selects %s, which is no candidate", id)
		}
	}
	switch {
	case len(a.Select) > 0 && a.Need > 0:
		return fail("it selects, and asks for builds")
	case a.Need < 0 || a.Need > maxBuilds:
		return fail("it asks for %d builds, and may ask for 1 to %d", a.Need, maxBuilds)
	case len(a.Select) == 0 && a.Need == 0:
		return fail("it selects nothing")
	}
	if a.Need > 0 {
		for _, c := range candidates {
			a.Rejected = append(a.Rejected, Rejection{c.ID, "not enough for the script"})
		}
	}
	slices.SortFunc(a.Select, compareIDs)
	a.Select = slices.Compact(a.Select)
	return a, nil
}
