package artifact

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
)

// Key derivation contexts of BLAKE3: one for each kind of identity, so that equal bytes of two kinds never have equal
// hashes. A change of an encoding changes its context.
const (
	derivationDomain  = "hdjail 2026-01 derivation v1"
	realizationDomain = "hdjail 2026-01 realization v1"
	derivationMagic   = "hdjail-derivation-1\n"
)

// MalformedError reports bytes of the store, or of another machine, that are not what they claim to be. What is the kind
// of object ("derivation", "build record", ...), Name says which one and may be empty.
type MalformedError struct {
	What, Name, Reason string
}

// Error implements error.
func (e *MalformedError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("malformed %s: %s", e.What, e.Reason)
	}
	return fmt.Sprintf("malformed %s %q: %s", e.What, e.Name, e.Reason)
}

// Encode returns the canonical encoding of d, which its ID is made from. It begins with a line that names the version.
// Then follow the fields in the order of the struct: an integer as 8 bytes, little endian; a string as the integer of
// its length and its bytes; a truth value as one byte, 0 or 1; a list as the integer of its length and its elements; a
// map as a list of its keys and values, sorted by key; an identity as its raw bytes. Host packages are sorted by name,
// architecture and version, and host paths by path, whatever their order in d. A promise is one string: its path, and unless it is
// of kind "exists" and has no name, NUL, kind, NUL and name. Two derivations that differ in anything
// else have different encodings, because every field can be read back (DecodeDerivation).
func (d *Derivation) Encode() []byte {
	w := writer{buf: make([]byte, 0, 1024+len(d.Script)+96*len(d.HostPackages))}
	w.buf = append(w.buf, derivationMagic...)
	w.int(d.Layout)
	for _, s := range []string{d.Name, d.Version, d.System, d.Prefix} {
		w.string(s)
	}
	w.strings(d.Interpreter)
	w.string(d.Script)
	w.int(len(d.Environment))
	for _, k := range slices.Sorted(maps.Keys(d.Environment)) {
		w.string(k)
		w.string(d.Environment[k])
	}
	w.int(len(d.Sources))
	for _, s := range d.Sources {
		w.string(s.Digest)
		w.string(s.Target)
		w.bool(s.Unpack)
	}
	w.int(len(d.Dependencies))
	for _, p := range d.Dependencies {
		w.buf = append(w.buf, p.ID[:]...)
		w.string(p.As)
		w.bool(p.Many)
	}
	w.int(len(d.HostPackages))
	for _, p := range sorted(d.HostPackages, compareHostPackages) {
		w.string(p.Name)
		w.string(p.Architecture)
		w.string(p.Version)
		w.buf = append(w.buf, p.Digest[:]...)
	}
	w.int(len(d.HostPaths))
	for _, p := range sorted(d.HostPaths, compareHostPaths) {
		w.string(p.Path)
		w.string(p.Identity)
	}
	w.int(len(d.Promises))
	for _, p := range d.Promises {
		w.string(p.encoded())
	}
	w.string(d.Policy)
	return w.buf
}

// DecodeDerivation reads a canonical encoding. Anything that Encode does not write gives *MalformedError, so for every
// encoding that is accepted, encoding its derivation gives the same bytes.
func DecodeDerivation(data []byte) (*Derivation, error) {
	r := reader{rest: data}
	if string(r.take(len(derivationMagic))) != derivationMagic {
		return nil, &MalformedError{What: "derivation", Reason: "it does not begin with " + fmt.Sprintf("%q", derivationMagic)}
	}
	d := &Derivation{Layout: r.int()}
	for _, s := range []*string{&d.Name, &d.Version, &d.System, &d.Prefix} {
		*s = r.string()
	}
	d.Interpreter = decodeList(&r, (*reader).string)
	d.Script = r.string()
	if n := r.count(); n > 0 {
		d.Environment = map[string]string{}
		for range n {
			k := r.string()
			d.Environment[k] = r.string()
		}
	}
	d.Sources = decodeList(&r, func(r *reader) Source { return Source{r.string(), r.string(), r.bool()} })
	d.Dependencies = decodeList(&r, func(r *reader) Dependency {
		return Dependency{DerivationID(r.array20()), r.string(), r.bool()}
	})
	d.HostPackages = decodeList(&r, func(r *reader) HostPackage {
		return HostPackage{r.string(), r.string(), r.string(), TreeDigest(r.array32())}
	})
	d.HostPaths = decodeList(&r, func(r *reader) HostPath { return HostPath{r.string(), r.string()} })
	d.Promises = decodeList(&r, func(r *reader) Promise { return decodePromise(r.string()) })
	d.Policy = r.string()
	switch {
	case r.bad || len(r.rest) > 0:
		return nil, &MalformedError{What: "derivation", Name: d.Name, Reason: "a length does not fit"}
	case !bytes.Equal(d.Encode(), data):
		return nil, &MalformedError{What: "derivation", Name: d.Name, Reason: "it is not canonical"}
	}
	return d, d.Check()
}

// ID returns the identity of d: the first 160 bits of the BLAKE3 of its encoding, in derive-key mode.
func (d *Derivation) ID() DerivationID {
	return DerivationID(sum20(derivationHashers, d.Encode()))
}

// Hashers of each domain are used again: one has 10 KB, and making it costs more than to hash an identity.
var (
	derivationHashers  = hashers(derivationDomain)
	realizationHashers = hashers(realizationDomain)
)

func hashers(domain string) *sync.Pool {
	return &sync.Pool{New: func() any { return blake3.NewDeriveKey(domain) }}
}

// sum20 returns the first 160 bits of the BLAKE3 of data, keyed by what the data is.
func sum20(hashers *sync.Pool, data []byte) (id [20]byte) {
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	h.Write(data) // never fails
	var sum [32]byte
	copy(id[:], h.Sum(sum[:0]))
	return id
}

func sorted[T any](list []T, compare func(a, b T) int) []T {
	if slices.IsSortedFunc(list, compare) {
		return list
	}
	return slices.SortedStableFunc(slices.Values(list), compare)
}

func compareHostPackages(a, b HostPackage) int {
	if c := cmp.Compare(a.Name, b.Name); c != 0 {
		return c // nearly always: plans compare millions of them
	}
	return cmp.Or(cmp.Compare(a.Architecture, b.Architecture), cmp.Compare(a.Version, b.Version), bytes.Compare(a.Digest[:], b.Digest[:]))
}

func compareHostPaths(a, b HostPath) int {
	return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Identity, b.Identity))
}

// writer appends the primitives of an encoding.
type writer struct{ buf []byte }

func (w *writer) int(n int)       { w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(n)) }
func (w *writer) string(s string) { w.int(len(s)); w.buf = append(w.buf, s...) }

func (w *writer) strings(list []string) {
	w.int(len(list))
	for _, s := range list {
		w.string(s)
	}
}

func (w *writer) bool(b bool) {
	if b {
		w.buf = append(w.buf, 1)
		return
	}
	w.buf = append(w.buf, 0)
}

// reader reads the primitives back. After the first one that does not fit it is bad and returns zero values.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.rest) {
		r.bad = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) int() int {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return int(binary.LittleEndian.Uint64(b))
}

// count reads the length of a list. An element has at least one byte, so a length never makes a buffer larger than the
// input.
func (r *reader) count() int {
	n := r.int()
	if n < 0 || n > len(r.rest) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) string() string    { return string(r.take(r.int())) }
func (r *reader) bool() bool        { b := r.take(1); return b != nil && b[0] != 0 }
func (r *reader) array20() [20]byte { var a [20]byte; copy(a[:], r.take(len(a))); return a }
func (r *reader) array32() [32]byte { var a [32]byte; copy(a[:], r.take(len(a))); return a }

func decodeList[T any](r *reader, element func(*reader) T) []T {
	var list []T
	for n := r.count(); n > 0 && !r.bad; n-- {
		list = append(list, element(r))
	}
	return list
}
