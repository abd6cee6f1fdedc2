package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"hdjail/artifact/tree"
)

// Limits of every archive.
const (
	maxMembers = 4 << 20
	// maxJSON bounds one JSON member, maxManifests all manifests together, which are held in memory.
	maxJSON      = 64 << 20
	maxManifests = 512 << 20
	// maxWindow is what the decompressor may keep.
	maxWindow = 32 << 20
	// Unless the caller allows more, an archive may unpack to maxBytes, and to maxRatio times its own size or freeBytes.
	maxBytes  = 64 << 30
	maxRatio  = 1000
	freeBytes = 256 << 20
)

// archive is a stream of members that is being read.
type archive struct {
	tar   *tar.Reader
	in    *meter
	last  string
	count int
	// name and kind are those of the member that was read last; its content is in tar.
	name string
	kind tree.Kind
	h    *tar.Header
	// peeked is set while next has yet to tell of that member; ahead is what it will return.
	peeked bool
	ahead  error
}

// decompress opens the stream of a compressed archive. The caller calls the function. allowed is how many bytes it may hold,
// 0 for the limits above.
func decompress(ctx context.Context, r io.Reader, allowed int64) (*archive, func(), error) {
	compressed := &counter{ctx: ctx, r: r}
	decoder, err := zstd.NewReader(compressed, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, nil, err
	}
	in := &meter{r: decoder, allowed: maxBytes, free: freeBytes, compressed: compressed}
	if allowed > 0 {
		in.allowed, in.compressed = allowed, nil
	}
	return newArchive(in), decoder.Close, nil
}

func newArchive(in *meter) *archive { return &archive{tar: tar.NewReader(in), in: in} }

// next reads the header of the next member; io.EOF is the end of the archive, with nothing behind it.
func (a *archive) next() error {
	if a.peeked {
		a.peeked = false
		return a.ahead
	}
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		return a.end()
	}
	if err != nil && !(errors.Is(err, tar.ErrInsecurePath) && h != nil) {
		return a.unreadable(err)
	}
	if a.count++; a.count > maxMembers {
		return &RefusedError{h.Name, "limit", fmt.Sprintf("there are more than %d members", maxMembers)}
	}
	kind, name, err := kindOf(h)
	if err != nil {
		return err
	}
	if a.last != "" && tree.ComparePaths(a.last, name) >= 0 {
		return &RefusedError{name, "order", fmt.Sprintf("it cannot come after %q", a.last)}
	}
	a.last, a.name, a.kind, a.h = name, name, kind, h
	return nil
}

// end reads what is left, for the sake of the checksum of the compressed stream, and refuses it if it is anything. A tar
// without the two empty blocks at its end was cut off.
func (a *archive) end() error {
	complete := a.in.zeros >= 1024
	n, err := io.Copy(io.Discard, io.LimitReader(a.in, 1))
	switch {
	case err != nil:
		return a.unreadable(err)
	case n > 0:
		return &RefusedError{"", "archive", "something follows its end"}
	case !complete:
		return &RefusedError{"", "archive", "it ends too soon"}
	}
	return io.EOF
}

// inside tells whether the next member is below dir, which ends in a slash, and where.
func (a *archive) inside(dir string) (rest string, ok bool, err error) {
	if !a.peeked {
		a.ahead = a.next()
		a.peeked = true
	}
	if errors.Is(a.ahead, io.EOF) {
		return "", false, nil
	}
	rest, ok = strings.CutPrefix(a.name, dir)
	return rest, ok, a.ahead
}

// expect reads the next member, which has to be the file with the name.
func (a *archive) expect(name string) error {
	if err := a.next(); err != nil {
		return ended(err, name)
	}
	return a.is(name)
}

// ended makes the end of an archive an error, where a member has to be.
func ended(err error, name string) error {
	if errors.Is(err, io.EOF) {
		return &RefusedError{"", "archive", fmt.Sprintf("it ends before its member %q", name)}
	}
	return err
}

// is refuses the member unless it is the file with the name.
func (a *archive) is(name string) error {
	if a.name != name || a.kind != tree.File {
		return &RefusedError{a.name, "name", fmt.Sprintf("the file %q has to be there", name)}
	}
	return nil
}

// json reads the member, which is a JSON file, into value, and returns its length.
func (a *archive) json(value any) (int64, error) {
	if a.h.Size > maxJSON {
		return 0, &RefusedError{a.name, "limit", fmt.Sprintf("it has more than %d bytes", maxJSON)}
	}
	data, err := io.ReadAll(a.content())
	if err != nil {
		return 0, err
	}
	if h, ok := value.(*Header); ok {
		read, err := decodeHeader(data)
		if err == nil {
			*h = *read
		}
		return a.h.Size, err
	}
	return a.h.Size, decode(a.name, data, value)
}

// content is what the member holds. Its errors are those of the archive.
func (a *archive) content() io.Reader { return contentReader{a} }

type contentReader struct{ a *archive }

func (c contentReader) Read(p []byte) (int, error) {
	n, err := c.a.tar.Read(p)
	if err != nil && err != io.EOF {
		err = c.a.unreadable(err)
	}
	return n, err
}

// unreadable makes an error of reading one of the archive, but for a cancelled context, which is no fault of it.
func (a *archive) unreadable(err error) error {
	var refused *RefusedError
	switch {
	case errors.As(err, &refused), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, new(*sourceError)):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &RefusedError{"", "archive", "it ends too soon"}
	}
	return &RefusedError{"", "archive", "it cannot be read: " + err.Error()}
}

// sourceError is an error of where an archive comes from.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read archive: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// counter counts what is read of the compressed archive, and stops when ctx is done.
type counter struct {
	ctx context.Context
	r   io.Reader
	n   atomic.Int64 // the decompressor reads in a goroutine of its own
}

func (c *counter) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	if err != nil && err != io.EOF {
		err = &sourceError{err}
	}
	return n, err
}

// meter gives no more than what an archive may hold: allowed bytes, and beyond free bytes maxRatio times what was read of
// compressed, unless that is nil.
type meter struct {
	r          io.Reader
	n, allowed int64
	free       int64
	zeros      int // bytes that are 0 at the end of what was read
	compressed *counter
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if text := bytes.TrimRight(p[:n], "\x00"); len(text) > 0 {
		m.zeros = n - len(text)
	} else {
		m.zeros += n
	}
	if m.n > m.allowed {
		return 0, &RefusedError{"", "limit", fmt.Sprintf("it holds more than %d bytes", m.allowed)}
	}
	if m.compressed != nil && m.n > m.free && m.n/maxRatio > m.compressed.n.Load() {
		return 0, &RefusedError{"", "limit", fmt.Sprintf("it holds more than %d times its own size", maxRatio)}
	}
	return n, err
}
