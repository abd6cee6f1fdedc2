package sources

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

// aptStore is a store whose APT is the scripts in testdata/apt and whose host is configured as files say.
func aptStore(t *testing.T, files map[string]string) *Store {
	t.Helper()
	tools, err := filepath.Abs("testdata/apt")
	if err != nil {
		t.Fatal(err)
	}
	return newStore(t, Options{Path: tools + ":/usr/bin:/bin", Etc: write(t, files)})
}

// updates counts how often the lists were fetched.
func updates(t *testing.T, s *Store) int {
	t.Helper()
	log, err := os.ReadFile(s.dir + "/apt/log")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), " update\n")
}

func TestApt(t *testing.T) {
	s := aptStore(t, map[string]string{
		"sources.list":                 "deb [arch=amd64 signed-by=/k.gpg] http://a stable main\n",
		"sources.list.d/b.sources":     "Types: deb\nURIs: http://b\nSuites: x\nComponents: y\n",
		"sources.list.d/c.list.off":    "deb http://c x y\n",
		"sources.list.d/d.list":        "# nothing\n",
		"sources.list.d/e.sources.bak": "not read",
	})
	program, description := sha([]byte("the program")), sha([]byte("the description"))
	for digest, file := range map[string]string{program: "hello_2.10.orig.tar.gz", description: "hello_2.10-3.dsc"} {
		if err := fetch(s, digest, "debsrc:hello/"+file); err != nil {
			t.Fatal(err)
		}
	}
	if n := updates(t, s); n != 1 {
		t.Errorf("%d updates for two files", n)
	}
	list, err := os.ReadFile(s.dir + "/apt/list.sources")
	want := "Types: deb-src\nURIs: http://a\nSuites: stable\nComponents: main\nsigned-by: /k.gpg\n\n" +
		"Types: deb-src\nURIs: http://b\nSuites: x\nComponents: y\n"
	if err != nil || string(list) != want {
		t.Errorf("sources %q, %v", list, err)
	}
	// Lists that do not know the file are renewed, once.
	var missing *PackageError
	err = fetch(s, sha(content), "debsrc:hello/hello_3.tar.gz")
	if !errors.As(err, &missing) || strings.Join(missing.Have, " ") != "hello_2.10-3.dsc hello_2.10.orig.tar.gz hello_2.8.orig.tar.gz" {
		t.Errorf("error %v", err)
	}
	if n := updates(t, s); n != 2 {
		t.Errorf("%d updates", n)
	}
	// So are lists that name a file which the archive has no longer.
	if err := fetch(s, sha(content), "debsrc:hello/hello_2.8.orig.tar.gz"); err == nil || !strings.Contains(err.Error(), "E: Failed to fetch") {
		t.Errorf("error %v", err)
	}
	if n := updates(t, s); n != 3 {
		t.Errorf("%d updates", n)
	}
	if err := fetch(s, sha(content), "debsrc:none/x"); !errors.As(err, &missing) || !strings.Contains(err.Error(), "none of this name") {
		t.Errorf("error %v", err)
	}
	var wrong *DigestError
	if err := fetch(s, sha(content), "debsrc:hello/hello_2.10.orig.tar.gz"); !errors.As(err, &wrong) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(s.o.Etc+"/sources.list", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := updates(t, s)
	fetch(s, sha(content), "debsrc:hello/hello_2.10-3.dsc")
	if n := updates(t, s); n != before+1 {
		t.Errorf("%d updates after the host's sources changed", n-before)
	}
	clean(t, s)
}

func TestAptSources(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"sources.list", "", "no archive is configured"},
		{"sources.list", "deb\n", "sources.list: read apt sources: line 1"},
		{"sources.list.d/x.sources", "\n oops", "x.sources: read apt sources: line 2"},
	} {
		s := aptStore(t, map[string]string{c.name: c.text})
		if err := fetch(s, sha(content), "debsrc:hello/x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
