package sources

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// intake is one file on its way into the store. Its bytes are collected below partial/, where they survive an
// interruption, and get their name only when they have the digest. Whoever uses one holds the lock of its digest.
type intake struct {
	s    *Store
	d    Digest
	name string
	f    *os.File
	hash hash.Hash
	n    int64 // bytes so far
}

// begin takes up what an earlier attempt left.
func (s *Store) begin(d Digest) (*intake, error) {
	name := partial + "/" + d.key()
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store source %q: %w", d, err)
	}
	in := &intake{s: s, d: d, name: name, f: f, hash: newHash(d.Algorithm)}
	if in.n, err = io.Copy(in.hash, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	return in, nil
}

// Write adds bytes; it refuses more than the limit of the store.
func (in *intake) Write(p []byte) (int, error) {
	if in.n+int64(len(p)) > in.s.o.MaxBytes {
		return 0, fmt.Errorf("store source %q: larger than %d bytes", in.d, in.s.o.MaxBytes)
	}
	n, err := in.f.Write(p)
	in.hash.Write(p[:n])
	in.n += int64(n)
	return n, err
}

// reset forgets what was collected.
func (in *intake) reset() error {
	in.s.root.Remove(in.validatorName())
	in.hash.Reset()
	in.n = 0
	if _, err := in.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return in.f.Truncate(0)
}

func (in *intake) complete() bool { return sum(in.d.Algorithm, in.hash) == in.d }

// commit gives the file its name. Content with another digest is deleted, and *DigestError says where it came from.
func (in *intake) commit(from string) error {
	if !in.complete() {
		err := &DigestError{Want: in.d.String(), Got: sum(in.d.Algorithm, in.hash).String(), URL: from}
		return errors.Join(err, in.reset())
	}
	if err := errors.Join(in.f.Chmod(0o444), in.f.Sync()); err != nil {
		return fmt.Errorf("store source %q: %w", in.d, err)
	}
	if err := in.s.root.Rename(in.name, in.d.path()); err != nil {
		return fmt.Errorf("store source %q: %w", in.d, err)
	}
	in.s.root.Remove(in.validatorName())
	return in.s.syncDir(in.d.Algorithm)
}

// close ends the attempt. An empty file is not worth keeping.
func (in *intake) close() {
	if in.n == 0 && !in.s.has(in.d) {
		in.s.root.Remove(in.name)
		in.s.root.Remove(in.validatorName())
	}
	in.f.Close()
}

func (in *intake) validatorName() string { return in.name + ".from" }

func (s *Store) syncDir(name string) error {
	dir, err := s.root.Open(name)
	if err != nil {
		return fmt.Errorf("sync %q: %w", name, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", name, err)
	}
	return nil
}

// copyIn stores the content of f, which must have the digest of in.
func (in *intake) copyIn(ctx context.Context, f *os.File, progress Progress) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := in.reset(); err != nil {
		return err
	}
	if _, err := io.Copy(in, &reader{ctx: ctx, r: f, report: func(int) { progress(in.n, info.Size()) }}); err != nil {
		return err
	}
	return in.commit(f.Name())
}

// reader tells report of every read, and stops when ctx is done.
type reader struct {
	ctx    context.Context
	r      io.Reader
	report func(n int)
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.r.Read(p)
	r.report(n)
	return n, err
}

// Add stores the file at name under its SHA-256 and returns its digests, the SHA-256 first, then the BLAKE3.
func (s *Store) Add(ctx context.Context, name string) ([]Digest, error) {
	return s.addFile(ctx, name, "sha256", "blake3")
}

// addFile stores a file under the first of the algorithms.
func (s *Store) addFile(ctx context.Context, name string, algorithms ...string) ([]Digest, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	digests, err := s.digests(ctx, f, algorithms...)
	if err != nil {
		return nil, err
	}
	d := digests[0]
	unlock, err := s.lock(ctx, d.key())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.has(d) {
		return digests, nil
	}
	in, err := s.begin(d)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("add source: %w", err)
	}
	return digests, in.copyIn(ctx, f, func(int64, int64) {})
}

// digests reads f to its end.
func (s *Store) digests(ctx context.Context, f *os.File, algorithms ...string) ([]Digest, error) {
	hashes := make([]hash.Hash, len(algorithms))
	writers := make([]io.Writer, len(algorithms))
	for i, a := range algorithms {
		hashes[i] = newHash(a)
		writers[i] = hashes[i]
	}
	if _, err := io.Copy(io.MultiWriter(writers...), &reader{ctx: ctx, r: f, report: func(int) {}}); err != nil {
		return nil, fmt.Errorf("read %q: %w", path.Base(f.Name()), err)
	}
	digests := make([]Digest, len(algorithms))
	for i, a := range algorithms {
		digests[i] = sum(a, hashes[i])
	}
	return digests, nil
}

// openRegular opens a file that is not ours, and nothing but a file: a pipe would block, a device may act.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("open %q: not a regular file", name)
	}
	return f, nil
}
