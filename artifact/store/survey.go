package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
)

// Entry is what a look at the whole store has to know of a realization.
type Entry struct {
	ID         artifact.RealizationID
	Derivation artifact.DerivationID
	Context    artifact.Context
	Tree       artifact.TreeDigest
	// Bytes is the content of its files together, 0 if that is not known.
	Bytes int64
	// Used is when it was registered or last asked for.
	Used time.Time
}

// Outline is what a look at the whole store has to know of a derivation. Its texts are those of the file, unverified.
type Outline struct {
	Name, Version string
	Dependencies  []artifact.DerivationID
	// Digests are those of its sources and host packages, in text form.
	Digests []string
	// Bytes is the size of its file, Stored when that was written.
	Bytes  int64
	Stored time.Time
}

// Reader reads many small files of a store, one after the other, without making a buffer for each. It is for one goroutine.
type Reader struct {
	store *Store
	buf   []byte
	// Known are digests that Outline reports; others are not of interest. Nil stands for all.
	Known map[string]bool
}

// Reader returns a new reader.
func (s *Store) Reader() *Reader { return &Reader{store: s, buf: make([]byte, 0, 64<<10)} }

// RealizationIDs lists the realizations of the store, in no order.
func (s *Store) RealizationIDs() ([]artifact.RealizationID, error) {
	return listIDs(s.path("realizations"), "", artifact.ParseRealizationID)
}

// DerivationIDs lists the derivations of the store, in no order.
func (s *Store) DerivationIDs() ([]artifact.DerivationID, error) {
	return listIDs(s.path("derivations"), ".json", artifact.ParseDerivationID)
}

// RecordedIDs lists the derivations that have build records, in no order.
func (s *Store) RecordedIDs() ([]artifact.DerivationID, error) {
	return listIDs(s.path("builds"), "", artifact.ParseDerivationID)
}

func listIDs[ID any](dir, suffix string, parse func(string) (ID, error)) ([]ID, error) {
	names, err := namesIn(dir)
	if err != nil {
		return nil, err
	}
	ids := make([]ID, 0, len(names))
	for _, name := range names {
		if text, ok := strings.CutSuffix(name, suffix); ok {
			if id, err := parse(text); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// Entry reads the manifest of a realization. One that is gone gives *NotFoundError, one that is not what its name says
// *artifact.MalformedError.
func (r *Reader) Entry(id artifact.RealizationID) (Entry, error) {
	var st unix.Stat_t
	data, err := readInto(r.buf, r.store.path("realizations", id.String(), "manifest.json"), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, &NotFoundError{"realization", id.String()}
	}
	if err != nil {
		return Entry{}, err
	}
	r.buf = data
	e := Entry{ID: id, Used: time.Unix(st.Mtim.Unix())}
	if scanManifest(data, &e) && artifact.NewRealizationID(e.Derivation, e.Context, e.Tree) == id {
		return e, nil
	}
	m, err := decodeManifest(id, data)
	return Entry{id, m.Derivation, m.Context, m.Tree, m.Bytes, e.Used}, err
}

// Touch notes that somebody asked for a realization. It only helps to choose what goes first, so nothing is reported.
func (s *Store) Touch(id artifact.RealizationID) {
	if now := s.now(); !s.readOnly {
		_ = os.Chtimes(s.path("realizations", id.String(), "manifest.json"), time.Time{}, now)
	}
}

// scanManifest reads the beginning of a manifest as Register writes it, which is many times faster than to decode JSON. That
// what it has read is right follows from the ID.
func scanManifest(data []byte, e *Entry) bool {
	c := cursor{rest: data}
	c.skip(`{"id":"`)
	c.take(artifact.IDLength)
	c.skip(`","derivation":"`)
	e.Derivation, _ = artifact.ParseDerivationID(c.take(artifact.IDLength))
	c.skip(`","context":`)
	if !c.try("null") {
		c.skip("{")
		e.Context = artifact.Context{}
		for more := !c.try("}"); more && !c.bad; more = c.try(",") {
			c.skip(`"`)
			d, _ := artifact.ParseDerivationID(c.take(artifact.IDLength))
			c.skip(`":[`)
			for another := true; another && !c.bad; another = c.try(",") {
				c.skip(`"`)
				id, _ := artifact.ParseRealizationID(c.take(artifact.IDLength))
				e.Context[d] = append(e.Context[d], id)
				c.skip(`"`)
			}
			c.skip("]")
		}
		if len(e.Context) > 0 {
			c.skip("}")
		}
	}
	c.skip(`,"tree":"`)
	e.Tree, _ = artifact.ParseTreeDigest(c.take(len("blake3:") + 64))
	c.skip(`"`)
	if c.try(`,"bytes":`) {
		var err error
		e.Bytes, err = strconv.ParseInt(c.take(max(bytes.IndexByte(c.rest, ','), 0)), 10, 64)
		c.bad = c.bad || err != nil
	}
	c.skip(`,"first":`)
	return !c.bad
}

// cursor reads a text of known form. After the first thing that is not there it is bad.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) try(text string) bool {
	if c.bad || len(c.rest) < len(text) || string(c.rest[:len(text)]) != text {
		return false
	}
	c.rest = c.rest[len(text):]
	return true
}

func (c *cursor) skip(text string) {
	if !c.try(text) {
		c.bad = true
	}
}

func (c *cursor) take(n int) string {
	if c.bad || len(c.rest) < n {
		c.bad = true
		return ""
	}
	text := string(c.rest[:n])
	c.rest = c.rest[n:]
	return text
}

// Outline reads a derivation without decoding it. One that is gone gives *NotFoundError.
func (r *Reader) Outline(id artifact.DerivationID) (Outline, error) {
	var st unix.Stat_t
	data, err := readInto(r.buf, r.store.derivationFile(id), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return Outline{}, &NotFoundError{"derivation", id.String()}
	}
	if err != nil {
		return Outline{}, err
	}
	r.buf = data
	o := Outline{Bytes: st.Size, Stored: time.Unix(st.Mtim.Unix())}
	head := data
	if end := bytes.Index(data, []byte(`"system"`)); end >= 0 {
		head = data[:end]
	}
	for value := range values(head, "name") {
		o.Name = string(value)
		break
	}
	for value := range values(head, "version") {
		o.Version = string(value)
		break
	}
	head = data
	if end := bytes.Index(data, []byte("\n  \"host_packages\": [")); end >= 0 { // dependencies come before, in the form that we write
		head = data[:end]
	}
	for value := range values(head, "id") {
		if dep, err := artifact.ParseDerivationID(string(value)); err == nil {
			o.Dependencies = append(o.Dependencies, dep)
		}
	}
	for value := range values(data, "digest") {
		if r.Known == nil || r.Known[string(value)] {
			o.Digests = append(o.Digests, string(value))
		}
	}
	return o, nil
}

// values yields the texts that stand under a key anywhere in a JSON text. A quotation mark inside a text has a backslash
// before it, so what is found ends a text; one too many only keeps something that could go.
func values(data []byte, key string) func(yield func([]byte) bool) {
	quoted := []byte(key + `":`)
	return func(yield func([]byte) bool) {
		for {
			at := bytes.Index(data, quoted)
			if at < 0 {
				return
			}
			before := at > 0 && data[at-1] == '"'
			data = bytes.TrimLeft(data[at+len(quoted):], " \t\r\n")
			if !before || len(data) == 0 || data[0] != '"' {
				continue
			}
			end := bytes.IndexByte(data[1:], '"')
			if end < 0 || !yield(data[1:1+end]) {
				return
			}
			data = data[1+end:]
		}
	}
}
