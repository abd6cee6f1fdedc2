package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/compare"
	"hdjail/artifact/tree"
	"hdjail/build/plan"
)

// difference is what `hdjail diff` finds. Files and Contexts are of two realizations, else nil.
type difference struct {
	Equal       bool                 `json:"equal"`
	Derivations *compare.Derivations `json:"derivations"`
	Files       []compare.FileChange `json:"files,omitempty"`
	Contexts    []compare.Choice     `json:"contexts,omitempty"`
}

func diffCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "tell why two derivations or realizations differ", ArgsUsage: "A B",
		UsageText: "hdjail diff zlib.yaml mf2x\nhdjail diff --json mf2x qojq\nhdjail diff ./result other.yaml",
		Description: "A and B are specs, paths or IDs. Of derivations it shows each field that differs, in them and in what they depend on: first the\n" +
			"causes, then what merely follows from these. Of two realizations it shows also the files that differ, with lines of text\n" +
			"and the first byte of others, and which results of dependencies differ. Ends with 0 if nothing differs, with 7 otherwise.",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("hdjail diff wants two specs, paths or IDs", "hdjail list shows what the store has")
			}
			s, err := a.subjects(c.Args().Slice()...)
			if err != nil {
				return err
			}
			var sides [2]subject
			for i, word := range c.Args().Slice() {
				if sides[i], err = s.find(c.Context, word); err != nil {
					return err
				}
			}
			d, err := s.difference(c.Context, sides[0], sides[1])
			if err != nil {
				return err
			}
			if err := a.out.show(c.Bool("json"), d, func() { a.printDifference(d) }); err != nil || d.Equal {
				return err
			}
			return exitStatus(exitDiffer)
		},
	}
}

// difference compares the derivations of two subjects, and the results if both are realizations.
func (s *subjects) difference(ctx context.Context, a, b subject) (d difference, err error) {
	if d.Derivations, err = s.compare(a.Derivation, b.Derivation); err != nil {
		return d, err
	}
	d.Equal = d.Derivations.Equal() && (a.Realization == b.Realization || a.Realization.IsZero() || b.Realization.IsZero())
	if d.Equal || a.Realization.IsZero() || b.Realization.IsZero() {
		return d, nil
	}
	if d.Files, err = s.files(ctx, a.Realization, b.Realization); err != nil || a.Derivation != b.Derivation {
		return d, err
	}
	first, err := s.Realization(a.Realization)
	if err != nil {
		return d, err
	}
	second, err := s.Realization(b.Realization)
	if err != nil {
		return d, err
	}
	d.Contexts, err = compare.Contexts(s, first, second)
	return d, err
}

// compare is compare.Compare with policies by their names.
func (s *subjects) compare(a, b artifact.DerivationID) (*compare.Derivations, error) {
	d, err := compare.Compare(s, a, b)
	if err != nil {
		return nil, err
	}
	for _, p := range d.Causes {
		for i := range p.Changes {
			if c := &p.Changes[i]; c.Field == "policy" {
				c.A, c.B = policyText(*c.A), policyText(*c.B)
			}
		}
	}
	return d, nil
}

func policyText(digest string) *string {
	if name := plan.DescribePolicy(digest); name != "" {
		digest = name + " (" + digest + ")"
	}
	return &digest
}

// files compares the trees of two realizations.
func (s *subjects) files(ctx context.Context, a, b artifact.RealizationID) ([]compare.FileChange, error) {
	x, err := tree.Open(s.OutPath(a), false)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	y, err := tree.Open(s.OutPath(b), false)
	if err != nil {
		return nil, err
	}
	defer y.Close()
	return compare.Trees(ctx, x, y)
}

func (a *app) printDifference(d difference) {
	if d.Equal {
		a.out.say("no difference")
		return
	}
	for _, line := range d.Derivations.Lines() {
		a.out.line("%s", escape(line))
	}
	for _, c := range d.Contexts {
		a.out.line("context %s", escape(c.Line()))
	}
	for _, f := range d.Files {
		for _, line := range f.Lines() {
			a.out.line("%s", escape(line))
		}
	}
	causes, follow, files := len(d.Derivations.Causes), len(d.Derivations.Follows), len(d.Files)
	a.out.say("%d %s, %d %s; %d %s", causes, plural(causes, "cause", "causes"), follow, plural(follow, "follows", "follow"),
		files, plural(files, "file differs", "files differ"))
}
