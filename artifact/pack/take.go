package pack

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/artifact/store"
)

// Result tells what arrived.
type Result struct {
	// Results are the realizations that the archive was made for, sorted.
	Results []artifact.RealizationID
	// New counts the realizations that the store did not have, Known the others of the archive.
	New, Known int
}

// Options say what Unpack accepts.
type Options struct {
	// MaxBytes is how many bytes an archive may hold, however small it is itself. 0 is 64 GiB, and of a small archive less.
	MaxBytes int64
}

// Unpack takes an archive into the store. All of it is read, compared with its digests and checked in a temporary directory
// before the first realization is published; an error before that leaves the store as it was. Errors are *RefusedError,
// *FormatError, *PrefixError, *DigestError, *MissingError, *InconsistentError, or those of the store and of reading.
func Unpack(ctx context.Context, s *store.Store, r io.Reader, o Options) (Result, error) {
	a, done, err := decompress(ctx, r, o.MaxBytes)
	if err != nil {
		return Result{}, err
	}
	defer done()
	return take(ctx, s, a)
}

// Copy takes a selection of another store into the store, with the checks of Unpack and without an archive in between.
func Copy(ctx context.Context, from *Selection, to *store.Store) (result Result, err error) {
	group, ctx := errgroup.WithContext(ctx)
	out, in := io.Pipe()
	group.Go(func() error {
		err := from.stream(ctx, in)
		in.CloseWithError(err)
		if errors.Is(err, errTaken) {
			return nil
		}
		return err
	})
	group.Go(func() error {
		var err error
		result, err = take(ctx, to, newArchive(&meter{r: &counter{ctx: ctx, r: out}, allowed: 1 << 62}))
		out.CloseWithError(errTaken)
		return err
	})
	return result, group.Wait()
}

// errTaken ends the writing of what nobody reads any more.
var errTaken = errors.New("the other side reads no more")

// intake is one archive on its way into a store.
type intake struct {
	ctx    context.Context
	store  *store.Store
	in     *archive
	header Header
	temp   *store.Temp
	// derivations are those of the archive, without their scripts and host packages.
	derivations map[artifact.DerivationID]*artifact.Derivation
	arrivals    map[artifact.RealizationID]*store.Arrival
	// numbers order the realizations of one derivation; see Manifest.
	numbers map[artifact.RealizationID]int
	// linked are the new realizations whose trees have symbolic links.
	linked    []artifact.RealizationID
	manifests int64
}

func take(ctx context.Context, s *store.Store, in *archive) (result Result, err error) {
	t := &intake{ctx: ctx, store: s, in: in, derivations: map[artifact.DerivationID]*artifact.Derivation{},
		arrivals: map[artifact.RealizationID]*store.Arrival{}, numbers: map[artifact.RealizationID]int{}}
	if err := t.begin(); err != nil {
		return result, err
	}
	held, err := s.Lease(ctx, t.use(), lease.Options{})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	if err := t.presuppose(); err != nil {
		return result, err
	}
	if t.temp, err = s.NewTemp(); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, t.temp.Close()) }()
	for _, id := range t.header.Derivations {
		if err := t.derivation(id); err != nil {
			return result, err
		}
	}
	for _, id := range t.header.Realizations {
		if err := t.realization(id); err != nil {
			return result, err
		}
	}
	for _, digest := range t.header.Sources {
		if err := t.source(digest); err != nil {
			return result, err
		}
	}
	if err := in.next(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = &RefusedError{in.name, "name", "the header does not have it"}
		}
		return result, err
	}
	order, err := t.check()
	if err != nil {
		return result, err
	}
	result.Results = t.results()
	for id := range t.arrivals {
		if s.Has(id) {
			result.Known++
		} else {
			result.New++
		}
	}
	return result, t.publish(order)
}

// begin reads the header, and refuses at once what can be refused by it.
func (t *intake) begin() error {
	if err := t.in.expect(headerName); err != nil {
		return err
	}
	if _, err := t.in.json(&t.header); err != nil {
		return err
	}
	if t.header.Prefix != t.store.Prefix() {
		return &PrefixError{"the archive", t.header.Prefix, "the store", t.store.Prefix()}
	}
	for _, digest := range t.header.Sources {
		if _, ok := parseSource(digest); !ok {
			return &RefusedError{headerName, "name", "it has a source that no archive has"}
		}
	}
	return nil
}

// use keeps a collection from what the archive leaves out, and from what comes until all of it is there.
func (t *intake) use() store.Use {
	u := store.Use{Purpose: "unpack", Derivations: t.header.Derivations, Realizations: slices.Clone(t.header.Realizations), Sources: t.header.Sources}
	for _, o := range t.header.Omitted {
		u.Realizations = append(u.Realizations, o.Realization)
	}
	return u
}

// presuppose makes sure that the store has what the archive leaves out.
func (t *intake) presuppose() error {
	for _, o := range t.header.Omitted {
		if !t.store.Has(o.Realization) {
			return &MissingError{"realization", o.Realization.String(), o.Name}
		}
	}
	return nil
}

// results are the roots, and of roots that are derivations all realizations.
func (t *intake) results() []artifact.RealizationID {
	roots := map[artifact.RealizationID]bool{}
	whole := map[artifact.DerivationID]bool{}
	for _, root := range t.header.Roots {
		if root.Realization.IsZero() {
			whole[root.Derivation] = true
		} else {
			roots[root.Realization] = true
		}
	}
	for id, a := range t.arrivals {
		if whole[a.Derivation] {
			roots[id] = true
		}
	}
	for _, o := range t.header.Omitted {
		if whole[o.Derivation] {
			roots[o.Realization] = true
		}
	}
	return slices.SortedFunc(maps.Keys(roots), compareTexts)
}

// publish stores what was checked: derivations, the realizations in the order, sources.
func (t *intake) publish(order []artifact.RealizationID) error {
	for _, id := range t.header.Derivations {
		data, err := os.ReadFile(t.staged(id))
		if err != nil {
			return err
		}
		d := new(artifact.Derivation)
		if err := decode(id.String(), data, d); err != nil {
			return err
		}
		if _, err := t.store.PutDerivation(d); err != nil {
			return err
		}
	}
	list := make([]store.Arrival, len(order))
	for i, id := range order {
		list[i] = *t.arrivals[id]
	}
	if err := t.store.Import(t.ctx, list); err != nil { // which brings the sources onto the disk, too
		return err
	}
	return t.publishSources()
}
