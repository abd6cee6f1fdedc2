package tree

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zeebo/blake3"

	"hdjail/artifact"
)

// Writer makes a canonical tree from entries that come one after the other, and digests it on the way: what it wrote is not
// read again. Names, targets and content may be foreign bytes. It is for one goroutine.
type Writer struct {
	made    *scaffold // nil when the tree is only digested
	encoder *Encoder
	hash    *blake3.Hasher
	buf     []byte
}

// NewWriter begins a tree below the empty directory dst, which stays the caller's and keeps its mode and time. A nil dst
// makes nothing: the entries are checked and digested only. The caller calls Close.
func NewWriter(dst *os.File) *Writer {
	w := &Writer{encoder: NewEncoder(nil), hash: blake3.New(), buf: make([]byte, block)}
	if dst != nil {
		w.made = newScaffold(dst)
	}
	return w
}

// Add makes one entry, in the order of an encoding; another order, a duplicate, an entry without its directory, or a path
// that is not clean gives *OrderError, and nothing was made. Of a file, e.Size bytes of content are taken, fewer give
// io.ErrUnexpectedEOF; e.Content need not be set. An error of content is returned as it is.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if err := w.encoder.check(e); err != nil {
		return err
	}
	var err error
	switch {
	case e.Kind == File || e.Kind == Executable:
		err = w.file(&e, content)
	case w.made == nil:
	case e.Kind == Directory:
		err = w.made.mkdir(e.Path)
	default:
		err = w.made.symlink(e.Path, e.Target)
	}
	if err != nil {
		return err
	}
	return w.encoder.Add(e)
}

func (w *Writer) file(e *Entry, content io.Reader) error {
	w.hash.Reset()
	fill := func(to io.Writer) error { return w.fill(e, content, to) }
	if w.made == nil {
		if err := fill(w.hash); err != nil {
			return err
		}
	} else if err := w.made.file(e.Path, e.Kind, func(f *os.File) error { return fill(io.MultiWriter(w.hash, f)) }); err != nil {
		return err
	}
	w.hash.Sum(e.Content[:0])
	return nil
}

// fill copies the content of an entry, in pieces.
func (w *Writer) fill(e *Entry, content io.Reader, to io.Writer) error {
	for left := e.Size; left > 0; {
		n, err := content.Read(w.buf[:min(left, int64(len(w.buf)))])
		if _, failed := to.Write(w.buf[:n]); failed != nil {
			return fmt.Errorf("write %q: %w", e.Path, failed)
		}
		left -= int64(n)
		if errors.Is(err, io.EOF) && left > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// Sum finishes the tree and returns its digest.
func (w *Writer) Sum() (artifact.TreeDigest, error) {
	if w.made != nil {
		if err := w.made.climb(""); err != nil {
			return artifact.TreeDigest{}, err
		}
	}
	return w.encoder.Sum()
}

// Close releases what the Writer holds; what it made stays.
func (w *Writer) Close() {
	if w.made != nil {
		w.made.close()
	}
}
