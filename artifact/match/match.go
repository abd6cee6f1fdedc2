package match

import (
	"bytes"
	"slices"

	"hdjail/artifact"
)

// Matcher picks realizations. Implementations hold no state, so goroutines may share them.
type Matcher interface {
	// Match answers for the candidates, realizations of one derivation in one context. Their order does not matter.
	Match(candidates []artifact.Realization, facts Facts) (Answer, error)
	// String is the canonical text, which Parse makes an equal matcher from.
	String() string
}

// Answer is what a matcher says: the selection, or how many builds it needs first. One of the two is not empty.
type Answer struct {
	// Select is sorted, without duplicates.
	Select []artifact.RealizationID
	Need   int
	// Rejected tells, when builds are needed, why each of the candidates was not taken.
	Rejected []Rejection
}

// Rejection is a candidate that a matcher could not take.
type Rejection struct {
	ID     artifact.RealizationID
	Reason string
}

// Facts answers what matchers ask of candidates, when they ask it. A function may be nil where no matcher asks it.
type Facts struct {
	// Line returns the first line of a regular file of the output, without its end; false where there is none.
	Line func(c artifact.Realization, file string) (line string, found bool, err error)
	// Made returns the record of the run that made the candidate.
	Made func(c artifact.Realization) (artifact.BuildRecord, error)
	// Outside describes the first access of that run that was outside the whitelist, and which package owns the path.
	Outside func(c artifact.Realization) (string, error)
	// Self is who would run a build.
	Self artifact.Builder
	// Signed returns the builders that a trusted key says have had this result.
	Signed func(c artifact.Realization) ([]artifact.Builder, error)
	// Absent says why the ID, or the beginning of one, is that of no candidate.
	Absent func(id string) (string, error)
	// Choose runs the script of a matcher. The candidates are sorted.
	Choose func(file string, candidates []artifact.Realization) (Answer, error)
}

// pipeline is every matcher: filters, then a chooser.
type pipeline struct {
	filters []filter
	chooser chooser
}

// filter keeps some of the candidates.
type filter interface {
	// keep returns those that stay, and with why what is wrong with another. need asks for builds before anything is chosen.
	keep(candidates []artifact.Realization, facts Facts) (kept []artifact.Realization, need int, err error)
	why(c artifact.Realization, facts Facts) (string, error)
	String() string
}

// chooser makes the answer from the candidates that are left, which are sorted.
type chooser interface {
	choose(candidates []artifact.Realization, facts Facts) (Answer, error)
	String() string
}

// onlyChecked is the reason of a candidate that matchers leave alone.
const onlyChecked = "only a check made it: exact takes it"

// Match implements Matcher.
func (p pipeline) Match(candidates []artifact.Realization, facts Facts) (Answer, error) {
	left := sorted(candidates)
	var rejected rejections
	if _, isExact := p.chooser.(exact); !isExact {
		left = rejected.part(left, ordinary, func(artifact.Realization) (string, error) { return onlyChecked, nil })
	}
	need := 0
	for _, f := range p.filters {
		kept, n, err := f.keep(left, facts)
		if err != nil {
			return Answer{}, err
		}
		left = rejected.part(left, func(c artifact.Realization) bool { return contains(kept, c.ID) },
			func(c artifact.Realization) (string, error) { return f.why(c, facts) })
		need = max(need, n)
	}
	if _, isScript := p.chooser.(script); isScript && len(left) == 0 && len(p.filters) > 0 {
		need = max(need, 1)
	}
	answer := Answer{Need: need}
	if need == 0 {
		var err error
		if answer, err = p.chooser.choose(left, facts); err != nil {
			return Answer{}, rejected.explain(err)
		}
	}
	if answer.Need == 0 {
		slices.SortFunc(answer.Select, compareIDs)
		return answer, nil
	}
	answer.Select = nil
	filtered, err := rejected.list()
	answer.Rejected = append(filtered, answer.Rejected...)
	return answer, err
}

// String implements Matcher.
func (p pipeline) String() string {
	var b bytes.Buffer
	for _, f := range p.filters {
		b.WriteString(f.String() + "|")
	}
	_, isOnly := p.chooser.(only)
	if isOnly && len(p.filters) > 0 {
		return string(b.Bytes()[:b.Len()-1])
	}
	return b.String() + p.chooser.String()
}

// rejections are the candidates that were not taken. Why is asked for when somebody has to be told.
type rejections struct {
	candidates []artifact.Realization
	why        []func(artifact.Realization) (string, error)
}

// part returns the candidates that are kept, and notes the others.
func (r *rejections) part(list []artifact.Realization, keep func(artifact.Realization) bool, why func(artifact.Realization) (string, error)) []artifact.Realization {
	var kept []artifact.Realization
	for _, c := range list {
		if keep(c) {
			kept = append(kept, c)
			continue
		}
		r.candidates, r.why = append(r.candidates, c), append(r.why, why)
	}
	return kept
}

func (r *rejections) list() ([]Rejection, error) {
	var list []Rejection
	for i, c := range r.candidates {
		reason, err := r.why[i](c)
		if err != nil {
			return nil, err
		}
		list = append(list, Rejection{c.ID, reason})
	}
	slices.SortFunc(list, func(a, b Rejection) int { return compareIDs(a.ID, b.ID) })
	return list, nil
}

// explain gives an exact ID that a filter has taken away the filter's reason.
func (r *rejections) explain(err error) error {
	absent, ok := err.(*AbsentError)
	if !ok {
		return err
	}
	for i, c := range r.candidates {
		if beginsWith(c.ID, absent.ID) {
			reason, err := r.why[i](c)
			if err != nil {
				return err
			}
			return &AbsentError{absent.ID, reason}
		}
	}
	return absent
}

// ordinary reports whether a candidate may be taken without being told to: not one that only checks made.
func ordinary(c artifact.Realization) bool {
	return slices.ContainsFunc(c.Records, func(r artifact.BuildRecord) bool { return r.Purpose != "check" })
}

func sorted(list []artifact.Realization) []artifact.Realization {
	list = slices.SortedFunc(slices.Values(list), func(a, b artifact.Realization) int { return compareIDs(a.ID, b.ID) })
	return slices.CompactFunc(list, func(a, b artifact.Realization) bool { return a.ID == b.ID })
}

func contains(list []artifact.Realization, id artifact.RealizationID) bool {
	return slices.ContainsFunc(list, func(c artifact.Realization) bool { return c.ID == id })
}

func identities(list []artifact.Realization) []artifact.RealizationID {
	ids := make([]artifact.RealizationID, len(list))
	for i, c := range list {
		ids[i] = c.ID
	}
	return ids
}

func compareIDs(a, b artifact.RealizationID) int { return bytes.Compare(a[:], b[:]) }
