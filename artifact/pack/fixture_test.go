package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/store/storetest"
	"hdjail/artifact/tree"
)

const prefix = "/hdjail"

type tester = storetest.Tester

var must = storetest.Must

func newStore(t tester, prefix string) *store.Store {
	t.Helper()
	return storetest.Open(t, storetest.Memory(), store.Options{Prefix: prefix})
}

func sample(name string, deps ...artifact.Dependency) *artifact.Derivation {
	return &artifact.Derivation{Layout: 1, Name: name, Version: "1", System: "x86_64-linux", Prefix: prefix, Script: "true", Dependencies: deps}
}

func on(r artifact.Realization) artifact.Dependency { return artifact.Dependency{ID: r.Derivation} }

func with(list ...artifact.Realization) artifact.Context {
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, r := range list {
		chosen[r.Derivation] = append(chosen[r.Derivation], r.ID)
	}
	ctx, _ := artifact.NewContext(chosen) // no list is empty
	return ctx
}

// files describes a tree: a name that ends in a slash is a directory, a content that begins with "-> " a link, one that
// begins with "#!" is executable.
type files map[string]string

// builder plays builds on one store.
type builder struct {
	*store.Store
	host    string
	purpose string
	runs    int
}

// build registers what a build leaves, without the judgement that an output has to pass.
func (b *builder) build(t tester, d *artifact.Derivation, c artifact.Context, left files) artifact.Realization {
	t.Helper()
	temp, err := b.NewTemp()
	must(t, err)
	defer temp.Close()
	out, log := temp.Dir+"/out", temp.Dir+"/log"
	must(t, os.Mkdir(out, 0o755), os.WriteFile(log, []byte("building "+d.Name+"\n"), 0o600))
	for name, content := range left {
		p := filepath.Join(out, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		target, isLink := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case isLink:
			must(t, os.Symlink(target, p))
		case strings.HasPrefix(content, "#!"):
			must(t, os.WriteFile(p, []byte(content), 0o755))
		default:
			must(t, os.WriteFile(p, []byte(content), 0o644))
		}
	}
	digest, err := tree.DigestPath(context.Background(), out)
	must(t, err)
	b.runs++
	purpose := b.purpose
	if purpose == "" {
		purpose = "build"
	}
	start := time.Unix(1_700_000_000+int64(b.runs), 0).UTC()
	r, err := b.Register(context.Background(), store.Registration{Derivation: d, Context: c, Out: out, Tree: digest, Log: log,
		Audit: []byte("audit of " + d.Name), Record: artifact.BuildRecord{Purpose: purpose, Mode: "hide", Start: start,
			End: start.Add(time.Second), Builder: artifact.Builder{Host: b.host, UID: 7}}})
	must(t, err)
	return r
}

// packed is an archive of the roots.
func packed(t tester, s *store.Store, r Request) []byte {
	t.Helper()
	selection, err := Select(context.Background(), s, r)
	must(t, err)
	var b bytes.Buffer
	must(t, selection.Write(context.Background(), &b))
	return b.Bytes()
}

func roots(list ...artifact.Realization) Request {
	r := Request{}
	for _, x := range list {
		r.Roots = append(r.Roots, store.Ref{Derivation: x.Derivation, Realization: x.ID})
	}
	return r
}

func unpack(s *store.Store, archive []byte) (Result, error) {
	return Unpack(context.Background(), s, bytes.NewReader(archive), Options{})
}

// part is one member of an archive, to be changed.
type part struct {
	*tar.Header
	content []byte
}

func parts(t tester, archive []byte) (list []*part) {
	t.Helper()
	decoder, err := zstd.NewReader(bytes.NewReader(archive))
	must(t, err)
	defer decoder.Close()
	r := tar.NewReader(decoder)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		h.Format = tar.FormatUnknown // the writer chooses
		list = append(list, &part{h, content})
	}
}

// find is the first member whose name begins or ends so.
func find(t tester, list []*part, end string) *part {
	t.Helper()
	i := slices.IndexFunc(list, func(p *part) bool { return strings.HasSuffix(p.Name, end) || strings.HasPrefix(p.Name, end) })
	if i < 0 {
		t.Fatal("no member ends in " + end)
	}
	return list[i]
}

// plain puts an archive together without compression.
func plain(t tester, list []*part) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range list {
		if p.Typeflag == tar.TypeReg {
			p.Size = int64(len(p.content))
		}
		must(t, w.WriteHeader(p.Header))
		_, err := w.Write(p.content)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func compress(t tester, data []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	must(t, err)
	defer encoder.Close()
	return encoder.EncodeAll(data, nil)
}

// contents lists what a store has: derivations, realizations, records, public paths, and what is below tmp/ and sources/.
func contents(t tester, s *store.Store) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"derivations/*", "realizations/*", "builds/*/*", "store/*", "tmp/*", "sources/*/*"} {
		names, err := filepath.Glob(s.Root() + "/" + pattern)
		must(t, err)
		for _, name := range names {
			list = append(list, strings.TrimPrefix(name, s.Root()+"/"))
		}
	}
	return list
}

// verify digests every realization, and looks at its records, its public path and the links beside it.
func verify(t tester, s *store.Store) {
	t.Helper()
	entries, err := os.ReadDir(s.Root() + "/realizations")
	must(t, err)
	for _, e := range entries {
		id, err := artifact.ParseRealizationID(e.Name())
		must(t, err)
		r, err := s.Realization(id)
		must(t, err)
		digest, err := tree.DigestPath(context.Background(), s.OutPath(id))
		must(t, err)
		d, err := s.Derivation(r.Derivation)
		must(t, err)
		public, err := os.Readlink(s.Root() + "/store/" + d.StoreName())
		must(t, err)
		if digest != r.Tree || len(r.Records) == 0 || r.Records[0].Number == 0 || !strings.HasPrefix(public, "../realizations/") {
			t.Fatal(fmt.Sprintf("%s: digest %s, want %s; records %v; public path %s", id, digest, r.Tree, r.Records, public))
		}
		for x, chosen := range r.Context {
			dep, err := s.Derivation(x)
			must(t, err)
			target, err := os.Readlink(s.Root() + "/realizations/" + id.String() + "/" + dep.StoreName())
			if len(chosen) == 1 && target != "../"+chosen[0].String()+"/out" {
				t.Fatal(id, "leads to", target, err)
			}
		}
	}
}
