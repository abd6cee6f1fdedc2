package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/graph"
	"hdjail/build/why"
	"hdjail/hostpkgs"
	"hdjail/policies/audit"
	"hdjail/profile"
)

func whyCommand(a *app) *cli.Command {
	return &cli.Command{
		Name: "why", Usage: "tell why something depends on an artifact or a host package", ArgsUsage: "A B",
		UsageText: "hdjail why app.yaml zlib\nhdjail why tools libc6 --all\nhdjail why mf2x qojq",
		Description: "A is a spec, a path, an ID or a profile; B is the name of an artifact, a host package, a spec, a path or an ID. Each line is a way from A to B;\n" +
			"to a host package it goes on with what the whitelist asks for, and the packages between, as they depend on each other on this host.\n" +
			"Ends with 1 if A does not depend on B.",
		Flags: []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "all", Usage: fmt.Sprintf("all ways, at most %d, instead of a shortest one", why.MaxWays)}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("hdjail why wants two names", "hdjail why app.yaml zlib")
			}
			of, on := c.Args().Get(0), c.Args().Get(1)
			s, err := a.subjects(of, on)
			if err != nil {
				return err
			}
			q, err := s.question(c.Context, of)
			if err != nil {
				return err
			}
			q.All = c.Bool("all")
			answer, err := s.answer(c.Context, q, on)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				err = a.out.json(answer)
			}
			if err == nil && len(answer.Ways) == 0 {
				err = &noWayError{of, on}
			}
			if err != nil || c.Bool("json") {
				return err
			}
			told := map[string]bool{} // results of one derivation may have the same way
			for _, way := range answer.Ways {
				if line := way.Line(); !told[line] {
					told[line] = true
					a.out.line("%s", escape(line))
				}
			}
			if answer.More {
				a.out.say("there are more than %d ways", why.MaxWays)
			}
			return nil
		},
	}
}

// noWayError is a dependency that is none.
type noWayError struct{ of, on string }

func (e *noWayError) Error() string { return quote(e.of) + " does not depend on " + quote(e.on) }

// question is about what a word means: a profile, or what subjects.find knows.
func (s *subjects) question(ctx context.Context, word string) (*why.Question, error) {
	q := &why.Question{Lookup: s, Installed: func() (*hostpkgs.Graph, error) { return s.a.installed(ctx) },
		Requested: func(id artifact.DerivationID) ([]string, error) { return s.requested(ctx, id) }}
	roots, results, err := s.profile(word)
	if err != nil {
		return nil, err
	}
	if q.Linked = roots != nil; !q.Linked {
		found, err := s.find(ctx, word)
		if err != nil {
			return nil, err
		}
		roots = []artifact.DerivationID{found.Derivation}
		if !found.Realization.IsZero() {
			results = []artifact.RealizationID{found.Realization}
		}
	}
	if results != nil {
		if q.Chosen, err = s.chosen(results); err != nil {
			return nil, err
		}
	}
	q.Graph, err = graph.Closure(s, roots)
	return q, err
}

// profile lists what a profile links, nothing if the word is no profile.
func (s *subjects) profile(word string) (roots []artifact.DerivationID, results []artifact.RealizationID, err error) {
	if _, err := os.Stat(s.a.absolute(word)); err == nil {
		return nil, nil, nil
	}
	p := profile.Profiles{Dir: s.ProfilesDir()}
	g, err := p.Generation(word, 0)
	if errors.As(err, new(*profile.NotFoundError)) || errors.As(err, new(*profile.NameError)) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	results = g.Realizations()
	for _, id := range results {
		r, err := s.Realization(id)
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, r.Derivation)
	}
	return roots, results, nil
}

// chosen is what results were built with, themselves included.
func (s *subjects) chosen(results []artifact.RealizationID) (map[artifact.DerivationID][]artifact.RealizationID, error) {
	chosen, seen := map[artifact.DerivationID][]artifact.RealizationID{}, map[artifact.RealizationID]bool{}
	for queue := results; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		r, err := s.Realization(queue[0])
		if err != nil {
			return nil, err
		}
		chosen[r.Derivation] = append(chosen[r.Derivation], r.ID)
		for _, ids := range r.Context {
			queue = append(queue, ids...)
		}
	}
	return chosen, nil
}

// answer finds what a word means for the question: the name of an artifact or of a host package, else what subjects.find knows.
func (s *subjects) answer(ctx context.Context, q *why.Question, word string) (why.Answer, error) {
	if _, err := os.Stat(s.a.absolute(word)); err != nil {
		named, err := q.Artifact(word)
		if err != nil {
			return named, err
		}
		packages, err := q.Package(word)
		named.Ways, named.More = append(named.Ways, packages.Ways...), named.More || packages.More
		if err != nil || len(named.Ways) > 0 {
			return named, err
		}
	}
	found, err := s.find(ctx, word)
	if errors.As(err, new(*store.NotFoundError)) || errors.As(err, new(*store.AmbiguousError)) || errors.As(err, new(*artifact.BadIDError)) {
		return why.Answer{Ways: []why.Way{}}, nil
	}
	if err != nil {
		return why.Answer{}, err
	}
	return q.Derivation(found.Derivation, s.known(q, found.Realization))
}

// known is a realization if the question knows of results, else zero.
func (s *subjects) known(q *why.Question, id artifact.RealizationID) artifact.RealizationID {
	if q.Chosen == nil {
		return artifact.RealizationID{}
	}
	return id
}

// requested is what the whitelist of a derivation asks for: its spec says, or the record of a run of it; and the owner of its
// interpreter.
func (s *subjects) requested(ctx context.Context, id artifact.DerivationID) (names []string, err error) {
	if step := s.planned[id]; step != nil && step.Spec != nil {
		names = append(names, step.Spec.Host.Packages...)
	} else if names, err = s.recorded(id); err != nil {
		return nil, err
	}
	d, err := s.Derivation(id)
	if err != nil {
		return nil, err
	}
	host, err := s.a.hostToRead()
	if err != nil {
		return nil, err
	}
	if len(d.Interpreter) > 0 && !strings.HasPrefix(d.Interpreter[0], d.Prefix+"/") {
		owner, owned, err := host.Owner(ctx, d.Interpreter[0])
		if err != nil {
			return nil, err
		}
		if owned {
			names = append(names, owner)
		}
	}
	return names, nil
}

// recorded is what the newest record of a derivation says that its spec asked for.
func (s *subjects) recorded(id artifact.DerivationID) ([]string, error) {
	records, err := s.Records(id)
	if err != nil {
		return nil, err
	}
	for i := len(records) - 1; i >= 0; i-- {
		in, err := s.OpenAudit(records[i])
		if errors.As(err, new(*store.NotFoundError)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := audit.Read(in)
		in.Close()
		if found != nil && (err == nil || errors.As(err, new(*audit.TruncatedError))) {
			return found.Header.Whitelist.Requested, nil
		}
		return nil, err
	}
	return nil, nil
}
