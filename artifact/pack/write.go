package pack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// Write writes the archive. Every tree is digested on the way, so a damaged store gives *DigestError and no whole archive.
func (s *Selection) Write(ctx context.Context, to io.Writer) error {
	encoder, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	if err != nil {
		return err
	}
	if err := s.stream(ctx, encoder); err != nil {
		encoder.Close()
		return err
	}
	return encoder.Close()
}

// stream writes the archive without compression.
func (s *Selection) stream(ctx context.Context, to io.Writer) error {
	w := &writer{Selection: s, ctx: ctx, tar: tar.NewWriter(to)}
	if err := w.json(headerName, s.Header); err != nil {
		return err
	}
	for _, id := range s.Header.Derivations {
		d, err := s.store.Derivation(id)
		if err == nil {
			err = w.json(derivationsDir+id.String()+derivationSuffix, d)
		}
		if err != nil {
			return fmt.Errorf("pack derivation %s: %w", id, err)
		}
	}
	for _, id := range s.Header.Realizations {
		if err := w.realization(s.realizations[id]); err != nil {
			return fmt.Errorf("pack realization %s: %w", id, err)
		}
	}
	for _, digest := range s.Header.Sources {
		if err := w.source(digest); err != nil {
			return fmt.Errorf("pack source %s: %w", digest, err)
		}
	}
	return w.tar.Close()
}

type writer struct {
	*Selection
	ctx context.Context
	tar *tar.Writer
}

func (w *writer) json(name string, value any) error {
	data, err := encode(value)
	if err != nil {
		return err
	}
	h := member(name, tree.File)
	h.Size = int64(len(data))
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.tar.Write(data)
	return err
}

func (w *writer) realization(r artifact.Realization) error {
	record := r.Records[0]
	for _, name := range keptNames {
		f, err := w.store.OpenKept(record, name)
		if errors.As(err, new(*store.NotFoundError)) {
			continue
		}
		if err == nil {
			err = errors.Join(w.file(pathOf(r.ID, name), f), f.Close())
		}
		if err != nil {
			return err
		}
	}
	record.Kept, record.Message = "", ""
	record.Builder.Host = strings.ToValidUTF8(record.Builder.Host, "?")
	newest := w.numbers[r.ID]
	if err := w.json(pathOf(r.ID, manifestName), Manifest{r.Derivation, r.Context, r.Tree, newest, record}); err != nil {
		return err
	}
	return w.tree(pathOf(r.ID, outName), w.store.OutPath(r.ID), r.Tree)
}

// file writes a whole file.
func (w *writer) file(name string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := member(name, tree.File)
	h.Size = info.Size()
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w.tar, f)
	return err
}

// tree writes the tree at a path, as the member top and what is below it.
func (w *writer) tree(top, path string, want artifact.TreeDigest) error {
	root, err := tree.Open(path, false)
	if err != nil {
		return err
	}
	defer root.Close()
	digest := tree.NewWriter(nil)
	defer digest.Close()
	visit := func(n *tree.Node) error {
		name := top
		if n.Path != "" {
			name += "/" + n.Path
		}
		h := member(name, n.Kind)
		h.Linkname = n.Target
		entry := tree.Entry{Path: n.Path, Kind: n.Kind, Target: n.Target}
		if n.Kind != tree.File && n.Kind != tree.Executable {
			if err := w.tar.WriteHeader(h); err != nil || n.Path == "" {
				return err
			}
			return digest.Add(entry, nil)
		}
		f, err := n.Open()
		if err != nil {
			return err
		}
		defer f.Close()
		h.Size, entry.Size = n.Stat.Size, n.Stat.Size
		if err := w.tar.WriteHeader(h); err != nil {
			return err
		}
		return digest.Add(entry, io.TeeReader(f, w.tar))
	}
	if err := tree.Walk(w.ctx, root, false, visit); err != nil {
		return err
	}
	found, err := digest.Sum()
	if err == nil && found != want {
		err = &DigestError{"tree", top, want.String(), found.String()}
	}
	return err
}

// source writes an input of a build.
func (w *writer) source(digest string) error {
	s, _ := parseSource(digest) // it was selected
	path := w.store.SourcesDir() + "/" + s.path()
	if s.isTree() {
		return w.tree(sourcesDir+s.path(), path, s.tree())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.file(sourcesDir+s.path(), f)
}
