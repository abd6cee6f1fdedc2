package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/build/plan"
)

// optionalFlag is a flag whose value, if it has one, is joined by "=".
type optionalFlag struct{ *cli.GenericFlag }

// TakesValue implements cli.DocGenerationFlag.
func (optionalFlag) TakesValue() bool { return false }

// String implements cli.Flag.
func (f optionalFlag) String() string { return cli.FlagStringer(f) }

// rebuildFlag is --rebuild for the targets, or --rebuild=NAME, which may be given several times.
type rebuildFlag struct {
	targets bool
	names   []string
}

var _ cli.Generic = (*rebuildFlag)(nil)

// IsBoolFlag tells package flag that no value has to follow.
func (*rebuildFlag) IsBoolFlag() bool { return true }

// Set implements cli.Generic. "true" is what stands for no value.
func (f *rebuildFlag) Set(text string) error {
	if text == "true" {
		f.targets = true
		return nil
	}
	f.names = append(f.names, text)
	return nil
}

// String implements cli.Generic.
func (f *rebuildFlag) String() string { return strings.Join(f.names, ",") }

// steps are those of the plan that are meant.
func (f *rebuildFlag) steps(p *plan.Plan) (map[artifact.DerivationID]bool, error) {
	list := map[artifact.DerivationID]bool{}
	if f.targets {
		for _, step := range p.Targets {
			list[step.ID] = true
		}
	}
	for _, name := range f.names {
		steps, err := p.Find(name)
		if err != nil {
			return nil, err
		}
		for _, step := range steps {
			list[step.ID] = true
		}
	}
	return list, nil
}
