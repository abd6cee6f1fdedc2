package sources

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/build/sources/unpack"
)

// TestAptForReal asks the archives of this host, which takes a network; so only when HDJAIL_TEST_APT=1.
func TestAptForReal(t *testing.T) {
	if os.Getenv("HDJAIL_TEST_APT") != "1" {
		t.Skip("HDJAIL_TEST_APT is not 1")
	}
	s := newStore(t, Options{})
	ctx := context.Background()
	w, err := s.newWork()
	if err != nil {
		t.Fatal(err)
	}
	defer w.remove()
	for _, pkg := range []string{"hello", "zlib", "libpng1.6", "lua5.4"} {
		// The first attempt with a file that nobody has tells the names.
		var missing *PackageError
		if err := s.aptSource(ctx, w, pkg, "nothing.tar"); !errors.As(err, &missing) || len(missing.Have) < 3 {
			t.Fatalf("%s: %v", pkg, err)
		}
		for _, file := range missing.Have {
			if !strings.Contains(file, ".orig.") || strings.HasSuffix(file, ".asc") {
				continue
			}
			if err := s.aptSource(ctx, w, pkg, file); err != nil {
				t.Fatal(err)
			}
			f, err := openRegular(w.path() + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			if format := unpack.Detect(f); !strings.HasPrefix(format, "tar.") {
				t.Errorf("%s is %q", file, format)
			}
			digests, err := s.digests(ctx, f, "sha256")
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			t.Log(pkg, file, digests[0])
			r := Request{digests[0].String(), []string{"debsrc:" + pkg + "/" + file}}
			if err := s.Fetch(ctx, r, nil); err != nil || !s.Has(r.Digest) {
				t.Errorf("%s: %v", file, err)
			}
			build := t.TempDir()
			if err := place(t, s, build, artifact.Source{Digest: r.Digest, Unpack: true}); err != nil || len(read(t, build)) < 50 {
				t.Errorf("%s: %d files, %v", file, len(read(t, build)), err)
			}
			r.Digest = "sha256:" + strings.Repeat("0", 64)
			var wrong *DigestError
			if err := s.Fetch(ctx, r, nil); !errors.As(err, &wrong) {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
