package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// derivation reads a derivation into a file of the temporary directory.
func (t *intake) derivation(id artifact.DerivationID) error {
	if err := t.in.expect(derivationsDir + id.String() + derivationSuffix); err != nil {
		return err
	}
	d := new(artifact.Derivation)
	if _, err := t.in.json(d); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return malformed(t.in.name, err)
	}
	if found := d.ID(); found != id {
		return &DigestError{"derivation", d.Label(), id.String(), found.String()}
	}
	if d.Prefix != t.header.Prefix {
		return &PrefixError{"derivation " + id.String(), d.Prefix, "the archive", t.header.Prefix}
	}
	t.derivations[id] = &artifact.Derivation{Name: d.Name, Version: d.Version, Prefix: d.Prefix, Dependencies: d.Dependencies}
	data, err := encode(d)
	if err != nil {
		return err
	}
	return t.file(t.staged(id), func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// staged is where a derivation waits.
func (t *intake) staged(id artifact.DerivationID) string {
	return t.temp.Dir + "/" + id.String() + derivationSuffix
}

// realization reads a realization into a directory of its own. What the store has is digested only.
func (t *intake) realization(id artifact.RealizationID) error {
	dir := t.temp.Dir + "/" + id.String()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var m Manifest
	if err := t.beside(id, dir, &m); err != nil {
		return err
	}
	d := t.derivations[m.Derivation]
	if d == nil {
		return &RefusedError{t.in.name, "object", "the archive does not have its derivation " + m.Derivation.String()}
	}
	if m.Context == nil {
		m.Context = artifact.Context{}
	}
	a := &store.Arrival{Derivation: m.Derivation, Context: m.Context, Tree: m.Tree, Record: m.Record, Dir: dir}
	if found := a.ID(); found != id {
		return &DigestError{"realization", "of " + d.Label(), id.String(), found.String()}
	}
	t.arrivals[id], t.numbers[id] = a, m.Number
	out := ""
	if !t.store.Has(id) {
		out = dir + "/" + outName
	}
	links, err := t.tree(pathOf(id, outName), out, a.Tree)
	if links && out != "" {
		t.linked = append(t.linked, id)
	}
	return err
}

// beside reads what comes before the tree of a realization.
func (t *intake) beside(id artifact.RealizationID, dir string, m *Manifest) error {
	for {
		if err := t.in.next(); err != nil {
			return ended(err, pathOf(id, manifestName))
		}
		i := slices.IndexFunc(keptNames, func(name string) bool { return t.in.name == pathOf(id, name) })
		if i < 0 {
			break
		}
		if err := t.in.is(pathOf(id, keptNames[i])); err != nil {
			return err
		}
		err := t.file(dir+"/"+keptNames[i], func(to io.Writer) error {
			_, err := io.Copy(to, t.in.content())
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := t.in.is(pathOf(id, manifestName)); err != nil {
		return err
	}
	n, err := t.in.json(m)
	if t.manifests += n; err == nil && t.manifests > maxManifests {
		err = &RefusedError{t.in.name, "limit", fmt.Sprintf("the manifests have more than %d bytes", maxManifests)}
	}
	return err
}

// tree reads the tree that is the member top into the directory dir, which it makes; without one it is only digested. It
// tells whether there are symbolic links. The member that follows is left to be read.
func (t *intake) tree(top, dir string, want artifact.TreeDigest) (links bool, err error) {
	if err := t.in.next(); err != nil {
		return false, ended(err, top)
	}
	if t.in.name != top || t.in.kind != tree.Directory {
		return false, &RefusedError{t.in.name, "name", fmt.Sprintf("the directory %q has to be there", top)}
	}
	var dst *os.File
	if dir != "" {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return false, err
		}
		if dst, err = tree.Open(dir, false); err != nil {
			return false, err
		}
		defer dst.Close()
	}
	w := tree.NewWriter(dst)
	defer w.Close()
	for {
		rest, inside, err := t.in.inside(top + "/")
		if err != nil {
			return links, err
		}
		if !inside {
			break
		}
		if err := t.in.next(); err != nil {
			return links, err
		}
		e := tree.Entry{Path: rest, Kind: t.in.kind, Size: t.in.h.Size, Target: t.in.h.Linkname}
		links = links || e.Kind == tree.Link
		if err := w.Add(e, t.in.content()); err != nil {
			return links, t.entryError(err)
		}
	}
	found, err := w.Sum()
	if err == nil && found != want {
		err = &DigestError{"tree", top, want.String(), found.String()}
	}
	return links, err
}

// entryError makes what a tree refuses an error of the archive.
func (t *intake) entryError(err error) error {
	if order := (*tree.OrderError)(nil); errors.As(err, &order) {
		return &RefusedError{t.in.name, "order", order.Reason}
	}
	return err
}

// source reads an input of a build into the temporary directory.
func (t *intake) source(digest string) error {
	s, _ := parseSource(digest) // begin did
	if s.isTree() {
		_, err := t.tree(sourcesDir+s.path(), t.stagedSource(s), s.tree())
		return err
	}
	if err := t.in.expect(sourcesDir + s.path()); err != nil {
		return err
	}
	return t.file(t.stagedSource(s), func(to io.Writer) error { return s.copyFile(to, t.in.content()) })
}

// stagedSource is where a source waits.
func (t *intake) stagedSource(s source) string {
	return t.temp.Dir + "/" + s.algorithm + "-" + s.digits
}

// publishSources moves the sources to where builds look for them. One that is there already stays.
func (t *intake) publishSources() error {
	for _, digest := range t.header.Sources {
		s, _ := parseSource(digest) // begin did
		target := t.store.SourcesDir() + "/" + s.path()
		if err := os.Mkdir(path.Dir(target), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if _, err := os.Lstat(target); err == nil {
			continue
		}
		err := os.Rename(t.stagedSource(s), target)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
			continue
		}
		if err == nil && s.isTree() {
			err = os.Chmod(target, 0o555) // one that nobody may write to could not have been moved
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file makes a new file, 0444, whose path is ours.
func (t *intake) file(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o444), f.Close())
}
