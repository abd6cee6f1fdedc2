package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"strings"
)

// Archive unpacks the archive in the first size bytes of r into t, without the leading directories that all members
// share. It reads r twice: the members decide what is shared before the first one is written.
func Archive(ctx context.Context, r io.ReaderAt, size int64, t *Tree) error {
	t.left = min(t.left, max(freeBytes, size*maxRatio))
	a := &archive{ctx: ctx, r: r, size: size, format: Detect(r), limit: t.left}
	var s survey
	if err := a.each(s.add); err != nil {
		return err
	}
	if s.members == 0 {
		return a.unreadable(errors.New("no members"))
	}
	w := writer{tree: t, prefix: s.prefix()}
	if s.links {
		w.files, w.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	}
	return a.each(w.add)
}

// Stream unpacks a tar stream into t as it comes, nothing stripped.
func Stream(ctx context.Context, r io.Reader, t *Tree) error {
	a := &archive{ctx: ctx}
	w := writer{tree: t}
	return a.eachTar(r, w.add)
}

// member is one entry of an archive, whatever the format.
type member struct {
	name string
	kind byte // a type flag of archive/tar: TypeReg, TypeDir, TypeSymlink or TypeLink
	link string
	Content
	// counts says whether the name takes part in finding the shared prefix.
	counts bool
}

// survey is the first reading: it looks at names only.
type survey struct {
	lead    []string
	counted bool
	links   bool
	members int
}

func (s *survey) add(m member) error {
	if s.members++; s.members > maxEntries {
		return refuse("limit", m.name)
	}
	if _, err := split(m.name); err != nil {
		return err
	}
	s.links = s.links || m.kind == tar.TypeLink
	if !m.counts {
		return nil
	}
	lead := strings.Split(m.name, "/")
	lead = lead[:len(lead)-1]
	if !s.counted {
		s.lead, s.counted = lead, true
	}
	n := 0
	for n < len(lead) && n < len(s.lead) && lead[n] == s.lead[n] {
		n++
	}
	s.lead = s.lead[:n]
	return nil
}

func (s *survey) prefix() string {
	if len(s.lead) == 0 {
		return ""
	}
	return strings.Join(s.lead, "/") + "/"
}

// writer is the second reading.
type writer struct {
	tree   *Tree
	prefix string
	// files holds hashes of the names of earlier files, when the archive has hard links. A hash that collides by chance
	// lets a link name another file of the tree, which harms nobody.
	files map[uint64]struct{}
	seed  maphash.Seed
}

func (w *writer) add(m member) error {
	name, ok := strings.CutPrefix(m.name, w.prefix)
	if !ok || name == "" {
		return nil
	}
	switch m.kind {
	case tar.TypeDir:
		return w.tree.Dir(name)
	case tar.TypeSymlink:
		return w.tree.Symlink(name, m.link)
	case tar.TypeLink:
		old, ok := strings.CutPrefix(m.link, w.prefix)
		if _, known := w.files[maphash.String(w.seed, m.link)]; !ok || !known {
			return refuse("link-outside", m.name)
		}
		return w.tree.Copy(name, old)
	}
	if w.files != nil {
		w.files[maphash.String(w.seed, m.name)] = struct{}{}
	}
	return w.tree.File(name, m.Content)
}

type archive struct {
	ctx    context.Context
	r      io.ReaderAt
	size   int64
	format string
	limit  int64 // of decompressed bytes
}

// each calls f with every member, in order. A member's content can be read until f returns.
func (a *archive) each(f func(member) error) error {
	if a.format == "zip" {
		return a.eachZip(f)
	}
	r, closer, err := a.decompress()
	if err != nil {
		return a.unreadable(err)
	}
	defer closer()
	limited := &limitReader{r, a.limit}
	if err := a.eachTar(limited, f); err != nil {
		return err
	}
	// What follows the end of the tar is read for the sake of the checksums of the compressed stream.
	_, err = io.Copy(io.Discard, limited)
	return a.unreadable(err)
}

func (a *archive) eachTar(r io.Reader, f func(member) error) error {
	tr := tar.NewReader(&contextReader{a.ctx, r})
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil && !(errors.Is(err, tar.ErrInsecurePath) && h != nil) {
			return a.unreadable(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		m := member{name: h.Name, kind: h.Typeflag, link: h.Linkname, counts: h.Typeflag != tar.TypeDir}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
			m.kind = tar.TypeReg
			m.Content = Content{&memberReader{a, tr}, h.Size, h.Mode&0o111 != 0}
		case tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		default:
			return refuse("special", h.Name)
		}
		if m.name == "" {
			return refuse("name", "")
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// unreadable turns an error of reading into a Refusal, but for a cancelled context, which is no fault of the archive.
func (a *archive) unreadable(err error) error {
	if err == nil {
		return nil
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Kind: "archive", Err: err}
}

// memberReader marks errors as the archive's, so that they are not taken for errors of writing.
type memberReader struct {
	a *archive
	r io.Reader
}

func (m *memberReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if err != nil && err != io.EOF {
		err = m.a.unreadable(err)
	}
	return n, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// limitReader refuses to give more than left bytes.
type limitReader struct {
	r    io.Reader
	left int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, refuse("limit", "")
	}
	return n, err
}
