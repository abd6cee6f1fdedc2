package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/artifact/store"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// MatchError reports a matcher that makes no answer of the realizations that there are.
type MatchError struct {
	// Name is that of the step, Matcher the text of its matcher.
	Name, Matcher string
	// Built is what was built just before, and is in the store; none if nothing was.
	Built []artifact.RealizationID
	Err   error
}

// Error implements error: one line.
func (e *MatchError) Error() string {
	if len(e.Built) == 0 {
		return fmt.Sprintf("realize %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("realize %s: built %s, and then %v", e.Name, joinIDs(e.Built), e.Err)
}

func joinIDs(ids []artifact.RealizationID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ", ")
}

// Unwrap returns the cause.
func (e *MatchError) Unwrap() error { return e.Err }

// UnsatisfiedError reports a matcher that wants more builds after those that it has asked for.
type UnsatisfiedError struct {
	Name, Matcher string
	// Built is what the runs gave, one a run. Rejected are the realizations that there are and were not taken.
	Built    []artifact.RealizationID
	Rejected []match.Rejection
	Need     int
}

// Error implements error: one line.
func (e *UnsatisfiedError) Error() string {
	distinct := len(slices.Compact(slices.SortedFunc(slices.Values(e.Built), compareIDs)))
	return fmt.Sprintf("realize %s: matcher %s wants %d more after %s, which gave %s", e.Name, e.Matcher, e.Need, count(len(e.Built), "run"),
		count(distinct, "distinct result"))
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Details are lines about each realization.
func (e *UnsatisfiedError) Details() []string {
	var lines []string
	for i, id := range e.Built {
		lines = append(lines, fmt.Sprintf("  run %d gave %s", i+1, id))
	}
	for _, r := range e.Rejected {
		lines = append(lines, fmt.Sprintf("  %s  %s", r.ID, r.Reason))
	}
	return lines
}

// SeveralError reports a dependency with several selected realizations whose dependant does not say many.
type SeveralError struct {
	Dependant, Dependency string
	IDs                   []artifact.RealizationID
}

// Error implements error: one line.
func (e *SeveralError) Error() string {
	return fmt.Sprintf("build %s: %d realizations of its dependency %s are selected, and it does not say many: %s", e.Dependant, len(e.IDs),
		e.Dependency, joinIDs(e.IDs))
}

func compareIDs(a, b artifact.RealizationID) int { return slices.Compare(a[:], b[:]) }

// facts are what the task's matcher may ask.
func (b *Builder) facts(ctx context.Context, t Task) match.Facts {
	return match.Facts{
		Line: b.firstLine,
		Made: func(c artifact.Realization) (artifact.BuildRecord, error) {
			made, err := b.Store.Manifest(c.ID)
			if err != nil {
				return artifact.BuildRecord{}, err
			}
			return made.Records[0], nil
		},
		Outside: b.firstOutside,
		Self:    b.Identity,
		Absent:  func(id string) (string, error) { return b.absent(t, id) },
		Choose: func(_ string, candidates []artifact.Realization) (match.Answer, error) {
			return b.choose(ctx, t, candidates)
		},
	}
}

// maxScoreLine bounds the first line of a file, in bytes.
const maxScoreLine = 4 << 10

// firstLine reads from an output tree. What is no regular file inside it has no line.
func (b *Builder) firstLine(c artifact.Realization, file string) (string, bool, error) {
	root, err := os.OpenRoot(b.Store.OutPath(c.ID))
	if err != nil {
		return "", false, err
	}
	defer root.Close()
	info, err := root.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return "", false, nil
	}
	f, err := root.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxScoreLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	return strings.TrimSuffix(line, "\n"), true, nil
}

// firstOutside describes what keeps the run that made a realization from being clean.
func (b *Builder) firstOutside(c artifact.Realization) (string, error) {
	made, err := b.Store.Manifest(c.ID)
	if err != nil {
		return "", err
	}
	file, err := b.Store.OpenAudit(made.Records[0])
	if missing := (*store.NotFoundError)(nil); errors.As(err, &missing) {
		return "it has no record of its accesses", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	a, err := audit.Read(file)
	if err != nil {
		return "", fmt.Errorf("read the audit of %s: %w", c.ID, err)
	}
	for _, access := range a.Accesses {
		if v := access.Verdict; v != policies.Hidden && v != policies.Leaked && v != policies.Denied && v != policies.Unknown {
			continue
		}
		text := fmt.Sprintf("%s %s %q", access.Verdict, access.Op, access.Path)
		if len(access.Owners) > 0 {
			text += ", owned by " + access.Owners[0].Package + " " + access.Owners[0].Version
		}
		return text, nil
	}
	if len(a.Header.IncompleteReasons) > 0 {
		return "its record is incomplete: " + a.Header.IncompleteReasons[0], nil
	}
	return "its record says nothing of it", nil
}

// absent says why an ID is none of a realization of the task's derivation in its context.
func (b *Builder) absent(t Task, id string) (string, error) {
	ref, err := b.Store.ResolveID(id)
	var missing *store.NotFoundError
	var several *store.AmbiguousError
	switch {
	case errors.As(err, &missing):
		return "the store has no such realization", nil
	case errors.As(err, &several):
		return "several IDs begin so: " + strings.Join(several.Matches, ", "), nil
	case err != nil:
		return "", err
	case ref.Realization.IsZero():
		return "it is the ID of a derivation, and a realization is wanted", nil
	case ref.Derivation != t.Step.ID:
		d, err := b.Store.Derivation(ref.Derivation)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("it is a realization of another derivation, %s of %s", ref.Derivation, d.Name), nil
	}
	r, err := b.Store.Manifest(ref.Realization)
	if err != nil {
		return "", err
	}
	for i, dep := range t.Step.Derivation.Dependencies {
		if theirs, ours := r.Context[dep.ID], t.Context[dep.ID]; !slices.Equal(theirs, ours) {
			return fmt.Sprintf("it was built in another context: with %v of %s, and this plan has %v", theirs, t.Step.Dependencies[i].Name(), ours), nil
		}
	}
	return "the store has lost its build records: run hdjail verify", nil
}
