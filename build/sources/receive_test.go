package sources

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// A tree that is packed and received is the tree that AddLocal would have stored.
func TestReceiveTree(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("long/", 60)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, long), 0o755), os.WriteFile(filepath.Join(dir, long, "f\xff\n"), []byte("content"), 0o644),
		os.WriteFile(filepath.Join(dir, "run"), []byte("#!"), 0o755), os.Mkdir(filepath.Join(dir, "empty"), 0o700),
		os.Symlink("../outside", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	want, err := newStore(t, Options{}).AddLocal(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, Options{})
	send := func(digest string) error {
		src, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var group errgroup.Group
		group.Go(func() error { return errors.Join(Pack(ctx, src, w), w.Close()) })
		err = s.Receive(ctx, digest, r)
		r.Close()
		packed := group.Wait()
		if err == nil && packed != nil {
			t.Error(packed)
		}
		return err
	}
	other := "tree:" + strings.Repeat("0", 64)
	if err := send(other); !errors.As(err, new(*DigestError)) || s.Has(other) || s.Has(want) {
		t.Errorf("under another digest: %v", err)
	}
	if err := send(want); err != nil || !s.Has(want) {
		t.Errorf("received: %v", err)
	}
	if n, err := s.Size(ctx, want); n != 9 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
}

func TestReceiveFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, s := t.Context(), newStore(t, Options{MaxBytes: 100})
	digests, err := newStore(t, Options{}).Add(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	receive := func(digest string) error {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return s.Receive(ctx, digest, f)
	}
	for _, d := range digests {
		if err := receive(d.String()); err != nil || !s.Has(d.String()) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if n, err := s.Size(ctx, digests[0].String()); n != 7 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if err := receive("sha256:" + strings.Repeat("0", 64)); !errors.As(err, new(*DigestError)) {
		t.Errorf("another digest: %v", err)
	}
	if err := receive("git:" + strings.Repeat("0", 40)); err == nil {
		t.Error("a commit was received")
	}
	if err := os.WriteFile(name, make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := receive("sha256:" + strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "larger than 100") {
		t.Errorf("too large: %v", err)
	}
}
