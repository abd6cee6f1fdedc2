package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/lease"
)

// Kinds of roots that have a file in gcroots/.
const (
	Pin  = "pin"
	Link = "link"
)

// Root is a reason to keep something: with a Realization, that and its context; else the Derivation with all below it, and
// all their realizations.
type Root struct {
	// Kind is Pin, Link or what another root is: "profile" or "lease".
	Kind string `json:"kind"`
	// Name is that of the pin, the absolute path of the link, or says where another root is.
	Name        string                 `json:"name"`
	Derivation  artifact.DerivationID  `json:"derivation,omitzero"`
	Realization artifact.RealizationID `json:"realization,omitzero"`
	// Target is where a link leads.
	Target string `json:"target,omitempty"`
	// Place is where a link was seen, set by AddRoot.
	Place Place     `json:"place,omitzero"`
	Time  time.Time `json:"time,omitzero"`
}

// RootError reports a root that cannot be read, or names what the store lacks. What it stands for is not known, so nothing can
// be collected.
type RootError struct {
	Name string
	Err  error
}

// Error implements error.
func (e *RootError) Error() string { return fmt.Sprintf("read root %q: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *RootError) Unwrap() error { return e.Err }

// TakenError reports the name of a pin that stands for something else.
type TakenError struct{ Root Root }

// Error implements error.
func (e *TakenError) Error() string {
	return fmt.Sprintf("pin %q: it is the name of the pin of %s", e.Root.Name, e.Root.ID())
}

// ID is the text of what the root keeps.
func (r Root) ID() string {
	if !r.Realization.IsZero() {
		return r.Realization.String()
	}
	return r.Derivation.String()
}

// file is the name of the root's record.
func (r Root) file() string {
	if r.Kind == Link {
		sum := blake3.Sum256([]byte(r.Name))
		return Link + "-" + hex.EncodeToString(sum[:16]) + ".json"
	}
	return Pin + "-" + r.Name + ".json"
}

// check reports what makes no root.
func (r Root) check() error {
	malformed := func(reason string) error { return &artifact.MalformedError{What: "root", Name: r.Name, Reason: reason} }
	switch {
	case r.Derivation.IsZero() && r.Realization.IsZero():
		return malformed("it names nothing")
	case r.Kind == Link && (!path.IsAbs(r.Name) || path.Clean(r.Name) != r.Name || r.Target == ""):
		return malformed("it is no link at an absolute path")
	case r.Kind == Pin && !IsPinName(r.Name):
		return malformed("a name has letters, digits and _ + - . only, and no dot first")
	case r.Kind != Link && r.Kind != Pin:
		return malformed(fmt.Sprintf("its kind is %q", r.Kind))
	}
	return nil
}

// IsPinName reports whether a pin may have the name: letters, digits and _ + - . only, at most 200, and no dot first.
func IsPinName(name string) bool {
	return name != "" && len(name) <= 200 && name[0] != '.' &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.") == ""
}

// AddRoot records a Pin, or the Link that leads into the store, durably. What it names has to be in the store, else it is
// *NotFoundError. A pin's name that stands for something else gives *TakenError; a link takes the place of the one that was
// at its path.
func (s *Store) AddRoot(ctx context.Context, r Root, o lease.Options) error {
	if err := errors.Join(s.writable(), r.check()); err != nil {
		return err
	}
	file := s.path("gcroots", r.file())
	l, err := s.LockRoots(ctx, o)
	if err != nil {
		return err
	}
	defer l.Release()
	if err := s.HasRooted(r); err != nil {
		return err
	}
	if r.Kind == Link {
		r.Place = s.placeOf(r.Name)
	}
	switch there, err := readRoot(file); {
	case err == nil && there.same(r):
		return nil
	case err == nil && r.Kind == Pin:
		return &TakenError{there}
	}
	r.Time = s.now().UTC().Truncate(time.Second)
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode root: %w", err)
	}
	if err := s.writeFile(file, append(data, '\n')); err != nil {
		return err
	}
	return s.sync()
}

func (r Root) same(other Root) bool {
	r.Time, other.Time = time.Time{}, time.Time{}
	return r == other
}

// HasRooted gives *NotFoundError if the store lacks what a root names.
func (s *Store) HasRooted(r Root) error {
	what, p := "derivation", s.derivationFile(r.Derivation)
	if !r.Realization.IsZero() {
		what, p = "realization", s.path("realizations", r.Realization.String(), "manifest.json")
	}
	err := unix.Access(p, unix.F_OK)
	if errors.Is(err, unix.ENOENT) {
		return &NotFoundError{what, r.ID()}
	}
	return err
}

// RemoveRoots removes the pins and records of links that which picks, and returns them. Of those that cannot be read it is
// asked, too: they have a kind and a name only.
func (s *Store) RemoveRoots(ctx context.Context, which func(Root) bool, o lease.Options) ([]Root, error) {
	l, err := s.LockToFree(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.FillReserve()
	defer l.Release()
	records, err := s.rootRecords()
	if err != nil {
		return nil, err
	}
	var removed []Root
	for _, r := range records {
		if !which(r.Root) {
			continue
		}
		if err := s.dropRoot(r.file); err != nil {
			return removed, err
		}
		removed = append(removed, r.Root)
	}
	return removed, nil
}

// ForgetLink removes the record of a link that is gone. The caller holds the lock of LockRoots.
func (s *Store) ForgetLink(r Root) error {
	if err := s.dropRoot(r.file()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Store) dropRoot(file string) error {
	p := s.path("gcroots", file)
	return s.denied(p, os.Remove(p))
}

// Roots returns the pins and the records of links, by kind and name. Anything else in their directory, and one that cannot
// be read, gives *RootError, joined, beside the others.
func (s *Store) Roots() ([]Root, error) {
	records, err := s.rootRecords()
	if err != nil {
		return nil, err
	}
	var roots []Root
	var failed []error
	for _, r := range records {
		if r.err != nil {
			failed = append(failed, &RootError{r.file, r.err})
			continue
		}
		roots = append(roots, r.Root)
	}
	return roots, errors.Join(failed...)
}

// rootRecord is a file in gcroots/. Of one that cannot be read, the root has only what the name of the file tells.
type rootRecord struct {
	Root
	file string
	err  error
}

func (s *Store) rootRecords() ([]rootRecord, error) {
	entries, err := os.ReadDir(s.path("gcroots"))
	if err != nil {
		return nil, &RootError{"gcroots", err}
	}
	var records []rootRecord
	for _, e := range entries {
		if e.Name() == "leases" {
			continue
		}
		r, err := readRoot(s.path("gcroots", e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err == nil && r.file() != e.Name() {
			err = fmt.Errorf("it is the record of %q", r.Name)
		}
		if err != nil {
			r = rootOf(e.Name())
		}
		records = append(records, rootRecord{r, e.Name(), err})
	}
	slices.SortFunc(records, func(a, b rootRecord) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return records, nil
}

// rootOf is what the name of a record tells: the name of a pin; of a link no more than a hash, see Root.At.
func rootOf(file string) Root {
	text := strings.TrimSuffix(file, ".json")
	if name, ok := strings.CutPrefix(text, Pin+"-"); ok {
		return Root{Kind: Pin, Name: name}
	}
	return Root{Kind: Link, Name: text}
}

// At reports whether the root is the link at a path, also if its record cannot be read.
func (r Root) At(path string) bool {
	return r.Kind == Link && (r.Name == path || r.Name+".json" == Root{Kind: Link, Name: path}.file())
}

func readRoot(file string) (r Root, err error) {
	data, err := readFile(file)
	if err != nil {
		return r, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, err
	}
	return r, r.check()
}
