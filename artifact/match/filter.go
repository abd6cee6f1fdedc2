package match

import (
	"cmp"
	"fmt"
	"slices"

	"hdjail/artifact"
)

// clean keeps candidates whose record is complete and has no access outside the whitelist. What exists nowhere does not count.
type clean struct{}

func (clean) String() string { return "clean" }

func (clean) keep(candidates []artifact.Realization, facts Facts) (kept []artifact.Realization, need int, err error) {
	for _, c := range candidates {
		made, err := facts.Made(c)
		if err != nil {
			return nil, 0, err
		}
		if isClean(made) {
			kept = append(kept, c)
		}
	}
	return kept, 0, nil
}

func isClean(r artifact.BuildRecord) bool {
	v := r.Verdicts
	return r.Complete != nil && *r.Complete && v["hidden"]+v["leaked"]+v["denied"]+v["unknown"] == 0
}

func (clean) why(c artifact.Realization, facts Facts) (string, error) {
	reason, err := facts.Outside(c)
	return "not clean: " + reason, err
}

// quorum keeps the candidate whose tree enough different builders have had.
type quorum struct{ k int }

func (m quorum) String() string { return fmt.Sprintf("quorum(%d)", m.k) }

func (m quorum) keep(candidates []artifact.Realization, facts Facts) (kept []artifact.Realization, need int, err error) {
	trees, built := []Attested{}, false
	for _, c := range candidates {
		who, err := attestedBy(c, facts)
		if err != nil {
			return nil, 0, err
		}
		trees, built = append(trees, Attested{c.Tree, who}), built || slices.Contains(who, facts.Self)
		if len(who) >= m.k {
			kept = append(kept, c)
		}
	}
	slices.SortStableFunc(trees, func(a, b Attested) int { return cmp.Compare(len(b.Builders), len(a.Builders)) })
	switch {
	case len(kept) == 1:
		return kept, 0, nil
	case len(kept) > 1 || built:
		return nil, 0, &QuorumError{m.k, trees}
	}
	return nil, 1, nil
}

func (m quorum) why(c artifact.Realization, facts Facts) (string, error) {
	who, err := attestedBy(c, facts)
	return fmt.Sprintf("%d of %d builders had %s: %s", len(who), m.k, c.Tree, builders(who)), err
}

// attestedBy lists the builders that had the candidate, sorted: those of records that were made here, and signed ones.
func attestedBy(c artifact.Realization, facts Facts) ([]artifact.Builder, error) {
	var list []artifact.Builder
	for _, r := range c.Records {
		if r.Purpose == "build" || r.Purpose == "check" {
			list = append(list, r.Builder)
		}
	}
	if facts.Signed != nil {
		signed, err := facts.Signed(c)
		if err != nil {
			return nil, err
		}
		list = append(list, signed...)
	}
	slices.SortFunc(list, func(a, b artifact.Builder) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.UID, b.UID)) })
	return slices.Compact(list), nil
}
