package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// Kind says what is damaged.
type Kind string

// All kinds. A context is that of a realization which is itself as it should be, but needs one that is not there. What is
// missing is named by a root.
const (
	Derivation  Kind = "derivation"
	Realization Kind = "realization"
	Context     Kind = "context"
	Record      Kind = "build record"
	Log         Kind = "log"
	Audit       Kind = "audit"
	Source      Kind = "source"
	Package     Kind = "host package"
	Public      Kind = "public path"
	Root        Kind = "root"
	Missing     Kind = "missing"
)

// Problem is one thing that is not what its name says.
type Problem struct {
	Kind Kind `json:"kind"`
	// ID is the identity or digest that it should have, or the name of a root or public path.
	ID string `json:"id"`
	// Path is relative to the store.
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Quarantine is where it was moved to, relative to the store; Repaired says what was done about it, Needs what is left
	// to do. After Check all are empty, but for the Needs of damaged profiles.
	Quarantine string `json:"quarantine,omitempty"`
	Repaired   string `json:"repaired,omitempty"`
	Needs      string `json:"needs,omitempty"`

	// realization and derivation are what has to be built again, zero for nothing.
	realization artifact.RealizationID
	derivation  artifact.DerivationID
}

// Report is what a check has found. Problems are sorted by kind and identity.
type Report struct {
	// Objects is how many things were looked at, Bytes the content that was digested.
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Problems []Problem `json:"problems"`

	// entries are the realizations whose manifests are right.
	entries map[artifact.RealizationID]store.Entry
	// rooted are the inputs of what roots keep, by digest.
	rooted map[string]bool
}

// DamagedError reports problems that were not repaired.
type DamagedError struct{ Problems []Problem }

// Error implements error.
func (e *DamagedError) Error() string {
	first := e.Problems[0]
	text := fmt.Sprintf("%s %s is damaged: %s", first.Kind, first.ID, first.Reason)
	if n := len(e.Problems) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// Err is a *DamagedError of what was not repaired, nil for nothing.
func (r *Report) Err() error {
	left := slices.DeleteFunc(slices.Clone(r.Problems), func(p Problem) bool { return p.Repaired != "" })
	if len(left) == 0 {
		return nil
	}
	return &DamagedError{left}
}

// checker is one check. Jobs add to the report from several goroutines.
type checker struct {
	store *store.Store
	mu    sync.Mutex
	Report
	decoders sync.Pool
}

// Options are what a check needs of those who know more than the store.
type Options struct {
	// Roots reads the roots that the store does not know itself.
	Roots func() ([]store.Root, error)
	// Profiles gives what is damaged in profiles, with the Kind Root. Nil looks at none.
	Profiles func(ctx context.Context) ([]Problem, error)
}

// Check reads all of a store, several things at once, and changes nothing. An error is one of reading the store's directories; what is damaged, or cannot be read, is in the report.
func Check(ctx context.Context, s *store.Store, o Options) (*Report, error) {
	c := &checker{store: s, Report: Report{Problems: []Problem{}, entries: map[artifact.RealizationID]store.Entry{}}}
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0)) // one computes while another waits for the disk
	for _, list := range []func(run func(func())) error{c.derivations, c.realizations, c.records, c.sources, c.packages} {
		err := list(func(job func()) {
			group.Go(func() error {
				if ctx.Err() == nil {
					job()
				}
				return nil
			})
		})
		if err != nil {
			return nil, errors.Join(err, group.Wait())
		}
	}
	if err := errors.Join(group.Wait(), context.Cause(ctx)); err != nil {
		return nil, err
	}
	for _, p := range c.contexts(s) {
		c.looked(p, 0, errors.New(p.Reason))
	}
	if err := c.publicPaths(); err != nil {
		return nil, err
	}
	c.roots(o.Roots)
	if o.Profiles != nil {
		found, err := o.Profiles(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			c.looked(p, 0, errors.New(p.Reason))
		}
	}
	slices.SortFunc(c.Problems, func(a, b Problem) int {
		return strings.Compare(string(a.Kind)+" "+a.ID+" "+a.Path, string(b.Kind)+" "+b.ID+" "+b.Path)
	})
	return &c.Report, nil
}

// looked counts an object; with an error that it is a problem. What went meanwhile is none.
func (c *checker) looked(p Problem, bytes int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*store.NotFoundError)) {
		return
	}
	c.Objects++
	c.Bytes += bytes
	if err != nil {
		p.Reason = reason(err)
		c.Problems = append(c.Problems, p)
	}
}

// reason is an error without what the problem itself says.
func reason(err error) string {
	if m := (*artifact.MalformedError)(nil); errors.As(err, &m) {
		return m.Reason
	}
	return err.Error()
}

func (c *checker) derivations(run func(func())) error {
	ids, err := c.store.DerivationIDs()
	for _, id := range ids {
		run(func() {
			_, err := c.store.Derivation(id)
			c.looked(Problem{Kind: Derivation, ID: id.String(), Path: "derivations/" + id.String() + ".json", derivation: id}, 0, err)
		})
	}
	return err
}

func (c *checker) realizations(run func(func())) error {
	ids, err := c.store.RealizationIDs()
	for _, id := range ids {
		run(func() { c.realization(id) })
	}
	return err
}

func (c *checker) realization(id artifact.RealizationID) {
	p := Problem{Kind: Realization, ID: id.String(), Path: "realizations/" + id.String(), realization: id}
	e, err := c.store.Reader().Entry(id)
	if err != nil {
		if errors.As(err, new(*store.NotFoundError)) {
			if err = c.manifestMissing(id); err == nil {
				return
			}
		}
		p.derivation, _ = c.store.MadeFrom(id) // zero says that nobody knows
		c.looked(p, 0, err)
		return
	}
	p.derivation = e.Derivation
	c.mu.Lock()
	c.entries[id] = e
	c.mu.Unlock()
	digest, bytes, err := c.treeDigest(c.store.OutPath(id))
	if err == nil && digest != e.Tree {
		err = fmt.Errorf("its tree has the digest %s, not %s", digest, e.Tree)
	}
	if err == nil {
		err = c.store.DependencyLinks(id, e.Context)
		if errors.As(err, new(*artifact.MalformedError)) || errors.As(err, new(*store.NotFoundError)) {
			err = nil // the derivation's own problem
		}
	}
	c.looked(p, bytes, notGone(err))
	c.logs(p)
}

// notGone makes something that is missing inside an object a problem of that.
func notGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}

// manifestMissing tells a realization without manifest from one that went meanwhile.
func (c *checker) manifestMissing(id artifact.RealizationID) error {
	if exists(c.store.Path("realizations", id.String())) {
		return errors.New("it has no manifest")
	}
	return nil
}

// logs reads log and audit in the directory of p.
func (c *checker) logs(p Problem) {
	decoder, _ := c.decoders.Get().(*zstd.Decoder)
	if decoder == nil {
		var err error
		if decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err != nil {
			c.looked(p, 0, err)
			return
		}
	}
	defer c.decoders.Put(decoder)
	name, err := store.Inspect(c.store.Path(p.Path), decoder)
	p.Kind, p.Path = Log, p.Path+"/"+name
	if name == store.AuditFile {
		p.Kind = Audit
	}
	c.looked(p, 0, notGone(err))
}

func (c *checker) records(run func(func())) error {
	ids, err := c.store.RecordedIDs()
	for _, id := range ids {
		run(func() {
			numbers, err := c.store.RecordNumbers(id)
			c.looked(Problem{Kind: Record, ID: id.String(), Path: "builds/" + id.String()}, 0, err)
			for _, n := range numbers {
				p := Problem{Kind: Record, ID: fmt.Sprintf("%s/%d", id, n), Path: fmt.Sprintf("builds/%s/%d", id, n)}
				_, err := c.store.Record(id, n)
				if exists(c.store.Path(p.Path)) {
					err = notGone(err)
				}
				c.looked(p, 0, err)
				c.logs(p)
			}
		})
	}
	return err
}

// contexts looks for realizations that lack one of those that they were built with, or their derivation.
func (r *Report) contexts(s *store.Store) (found []Problem) {
	for id, e := range r.entries {
		p := Problem{Kind: Context, ID: id.String(), Path: "realizations/" + id.String()}
		if !exists(s.Path(p.Path)) {
			continue
		}
		if !exists(s.Path("derivations", e.Derivation.String()+".json")) {
			p.Reason = fmt.Sprintf("its derivation %s is not in the store", e.Derivation)
			found = append(found, p)
		}
		for dep, used := range e.Context {
			for _, u := range used {
				if !exists(s.Path("realizations", u.String())) {
					p.realization, p.derivation = u, dep
					p.Reason = fmt.Sprintf("it was built with %s, which is not in the store", u)
					found = append(found, p)
				}
			}
		}
	}
	return found
}

func (c *checker) publicPaths() error {
	links, err := c.store.PublicLinks()
	for name, id := range links {
		p := Problem{Kind: Public, ID: name, Path: "store/" + name}
		e, known := c.entries[id]
		switch {
		case !exists(c.store.Path("store", name)) && exists(c.store.Path("realizations", id.String(), "out")):
			err = nil // it went meanwhile
		case !known && !exists(c.store.Path("realizations", id.String())):
			c.looked(p, 0, errors.New("it leads to no realization"))
		case known && !strings.HasPrefix(name, e.Derivation.String()+"-"):
			c.looked(p, 0, fmt.Errorf("it leads to a realization of %s", e.Derivation))
		default:
			c.looked(p, 0, nil)
		}
	}
	return err
}

// parts are the errors that were joined.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
