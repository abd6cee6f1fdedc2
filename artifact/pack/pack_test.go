package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// TestRoundTrip: directories, links and executable bits survive, log and audit come along, and the record tells who built it.
func TestRoundTrip(t *testing.T) {
	a := builder{Store: newStore(t, prefix), host: "there"}
	lib := a.build(t, sample("lib"), nil, files{"bin/lib": "#!/bin/sh\n", "empty/": "", "link": "-> bin/lib", "naïve \\ \x01": "x", "a/b": "1", "a-b": "2"})
	top := a.build(t, sample("top", on(lib)), with(lib), files{
		"own": "-> " + prefix + "/store/" + sample("lib").StoreName() + "/bin/lib", "rel": "-> ../" + sample("lib").StoreName() + "/bin",
		strings.Repeat("long/", 300) + "f": "deep", "host": "-> /usr/bin/env"})
	archive := packed(t, a.Store, roots(top))
	if again := packed(t, a.Store, roots(top)); !bytes.Equal(plain(t, parts(t, archive)), plain(t, parts(t, again))) {
		t.Error("the same request gave other bytes")
	}
	b := newStore(t, prefix)
	result, err := unpack(b, archive)
	must(t, err)
	if !slices.Equal(result.Results, []artifact.RealizationID{top.ID}) || result.New != 2 || result.Known != 0 {
		t.Errorf("%+v", result)
	}
	verify(t, b)
	before := contents(t, b)
	result, err = unpack(b, archive)
	must(t, err)
	if after := contents(t, b); !slices.Equal(before, after) || result.New != 0 || result.Known != 2 {
		t.Errorf("the second time: %+v\n%q\n%q", result, before, after)
	}
	r, err := b.Realization(lib.ID)
	must(t, err)
	if record := r.Records[0]; record.Purpose != "import" || record.Builder != (artifact.Builder{Host: "there", UID: 7}) || !record.Start.Equal(lib.Records[0].Start) {
		t.Errorf("%+v", record)
	}
	log, err := b.OpenLog(r.Records[0])
	must(t, err)
	defer log.Close()
	audit, err := b.OpenAudit(r.Records[0])
	must(t, err)
	defer audit.Close()
	text, err := io.ReadAll(io.MultiReader(log, audit))
	if string(text) != "building lib\naudit of lib" || err != nil {
		t.Errorf("log and audit are %q, %v", text, err)
	}
	info, err := os.Stat(b.OutPath(lib.ID) + "/bin/lib")
	if err != nil || info.Mode() != 0o555 || info.ModTime().Unix() != 1 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestBoth is the story of two sites: what is equal is stored once, what is not is there twice, each with its own log.
func TestBoth(t *testing.T) {
	a, b := builder{Store: newStore(t, prefix), host: "a"}, builder{Store: newStore(t, prefix), host: "b"}
	plot := func(s *builder) artifact.Realization {
		params := s.build(t, sample("params"), nil, files{"params": "1 2 3"})
		anneal := s.build(t, sample("anneal", on(params)), with(params), files{"score": s.host})
		return s.build(t, sample("plot", on(anneal)), with(anneal), files{"plot": s.host})
	}
	theirs, ours := plot(&a), plot(&b)
	result, err := unpack(b.Store, packed(t, a.Store, roots(theirs)))
	must(t, err)
	verify(t, b.Store)
	if result.New != 2 || result.Known != 1 {
		t.Errorf("%+v", result)
	}
	for id, want := range map[artifact.DerivationID]int{theirs.Derivation: 2, sample("params").ID(): 1} {
		list, err := b.Realizations(id)
		if err != nil || len(list) != want {
			t.Errorf("%d realizations, want %d (%v)", len(list), want, err)
		}
	}
	params, err := b.Realizations(sample("params").ID())
	must(t, err)
	// Both sites attest params; and the public path still leads to what this site built first.
	if r := params[0].Records; len(r) != 2 || r[0].Purpose != "build" || r[1].Purpose != "import" || r[1].Builder.Host != "a" {
		t.Errorf("%+v", r)
	}
	kept, err := b.OpenKept(params[0].Records[1], store.LogFile)
	must(t, err)
	kept.Close()
	if link, _ := os.Readlink(b.Root() + "/store/" + ours.Derivation.StoreName("plot", "1")); !strings.Contains(link, ours.ID.String()) {
		t.Error(link)
	}
}

// TestLatest: realizations of one derivation arrive in the order of their runs, whatever their identities are.
func TestLatest(t *testing.T) {
	a, b := builder{Store: newStore(t, prefix)}, newStore(t, prefix)
	var want []artifact.RealizationID
	for _, content := range []string{"one", "two", "three", "four", "five", "one"} {
		want = append(want, a.build(t, sample("d"), nil, files{"f": content}).ID)
	}
	_, err := unpack(b, packed(t, a.Store, Request{Roots: []store.Ref{{Derivation: sample("d").ID()}}}))
	must(t, err)
	records, err := b.Records(sample("d").ID())
	must(t, err)
	var got []artifact.RealizationID
	for _, r := range records {
		got = append(got, r.Realization)
	}
	if !slices.Equal(got, want[1:]) {
		t.Errorf("%v, want %v", got, want[1:])
	}
}

// TestCheck: what only a check made is no more than that on the other side; a build that gave the same counts.
func TestCheck(t *testing.T) {
	a, b := builder{Store: newStore(t, prefix), purpose: "check"}, newStore(t, prefix)
	a.build(t, sample("d"), nil, files{"f": "1"})
	a.build(t, sample("d"), nil, files{"f": "2"})
	a.purpose = "build"
	built := a.build(t, sample("d"), nil, files{"f": "2"})
	_, err := unpack(b, packed(t, a.Store, Request{Roots: []store.Ref{{Derivation: built.Derivation}}}))
	must(t, err)
	list, err := b.Realizations(built.Derivation)
	must(t, err)
	for _, r := range list {
		if want := map[bool]string{true: "import", false: "check"}[r.ID == built.ID]; len(r.Records) != 1 || r.Records[0].Purpose != want {
			t.Errorf("%+v, want %s", r.Records, want)
		}
	}
}

// TestHave: an archive without what the other side has is taken there, and refused elsewhere by the name of what it lacks.
func TestHave(t *testing.T) {
	a := builder{Store: newStore(t, prefix)}
	low := a.build(t, sample("low"), nil, files{"f": "low"})
	mid := a.build(t, sample("mid", on(low)), with(low), files{"f": "mid"})
	top := a.build(t, sample("top", on(mid)), with(mid), files{"f": "top"})
	b := newStore(t, prefix)
	_, err := unpack(b, packed(t, a.Store, roots(mid)))
	must(t, err)
	request := roots(top)
	request.Have = b.Has
	archive := packed(t, a.Store, request)
	for _, p := range parts(t, archive) {
		if strings.Contains(p.Name, low.ID.String()) || strings.Contains(p.Name, mid.ID.String()) || strings.Contains(p.Name, mid.Derivation.String()) {
			t.Error("the archive has ", p.Name)
		}
	}
	result, err := unpack(b, archive)
	if err != nil || result.New != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	verify(t, b)
	empty := newStore(t, prefix)
	_, err = unpack(empty, archive)
	var missing *MissingError
	if !errors.As(err, &missing) || missing.ID != mid.ID.String() || missing.Name != "mid-1" {
		t.Error(err)
	}
	if left := contents(t, empty); len(left) > 0 {
		t.Errorf("%q", left)
	}
	// Nothing is left to send; a list of IDs says the same as the store, and so does an archive.
	ids, err := ReadHave(context.Background(), bytes.NewReader(archive))
	must(t, err)
	text := mid.ID.String() + "  2026-01-01  mid 1\n\n" + top.ID.String() + "\n"
	listed, err := ReadHave(context.Background(), strings.NewReader(text))
	must(t, err)
	for _, have := range []map[artifact.RealizationID]bool{ids, listed} {
		request.Have = func(id artifact.RealizationID) bool { return have[id] }
		archive := packed(t, a.Store, request)
		result, err := unpack(b, archive)
		if len(parts(t, archive)) != 1 || err != nil || !slices.Equal(result.Results, []artifact.RealizationID{top.ID}) {
			t.Errorf("%d members; %+v, %v", len(parts(t, archive)), result, err)
		}
	}
	if _, err := ReadHave(context.Background(), strings.NewReader("nonsense\n")); !errors.As(err, new(*artifact.BadIDError)) {
		t.Error(err)
	}
}

// TestCopy goes from store to store, and ends when either side fails.
func TestCopy(t *testing.T) {
	a, b := builder{Store: newStore(t, prefix)}, newStore(t, prefix)
	low := a.build(t, sample("low"), nil, files{"f": strings.Repeat("low", 1<<20)})
	top := a.build(t, sample("top", on(low)), with(low), files{"f": "top"})
	request := roots(top)
	request.Have = b.Has
	selection, err := Select(t.Context(), a.Store, request)
	must(t, err)
	result, err := Copy(t.Context(), selection, b)
	if err != nil || result.New != 2 {
		t.Errorf("%+v, %v", result, err)
	}
	verify(t, b)
	var other *PrefixError
	elsewhere := newStore(t, "/elsewhere")
	if _, err := Copy(t.Context(), selection, elsewhere); !errors.As(err, &other) || other.Found != prefix || other.Want != "/elsewhere" {
		t.Error(err)
	}
	damaged := a.OutPath(low.ID)
	must(t, os.Chmod(damaged, 0o755), os.Remove(damaged+"/f"), os.WriteFile(damaged+"/f", []byte("other"), 0o444))
	var digest *DigestError
	third := newStore(t, prefix)
	if _, err := Copy(t.Context(), selection, third); !errors.As(err, &digest) || digest.What != "tree" {
		t.Error(err)
	}
	if err := selection.Write(t.Context(), io.Discard); !errors.As(err, &digest) {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Copy(cancelled, selection, third); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := contents(t, third); len(left) > 0 {
		t.Errorf("%q", left)
	}
}

// TestUnbuilt: a derivation without results goes along with those below it, and is named.
func TestUnbuilt(t *testing.T) {
	a, b := newStore(t, prefix), newStore(t, prefix)
	low, err := a.PutDerivation(sample("low"))
	must(t, err)
	top, err := a.PutDerivation(sample("top", artifact.Dependency{ID: low}))
	must(t, err)
	request := Request{Roots: []store.Ref{{Derivation: top}}}
	selection, err := Select(t.Context(), a, request)
	if err != nil || !slices.Equal(selection.Unbuilt, []string{"top-1"}) {
		t.Errorf("%v, %v", selection, err)
	}
	_, err = unpack(b, packed(t, a, request))
	must(t, err)
	for _, id := range []artifact.DerivationID{low, top} {
		if _, err := b.Derivation(id); err != nil {
			t.Error(err)
		}
	}
}

// TestSources: what a build is made from goes along when it is asked for, but for commits, which only git can judge.
func TestSources(t *testing.T) {
	const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" // of "test"
	a, b := builder{Store: newStore(t, prefix)}, newStore(t, prefix)
	local := a.OutPath(a.build(t, sample("local"), nil, files{"d/": "", "d/f": "test", "link": "-> ../anywhere"}).ID)
	digest, err := tree.DigestPath(t.Context(), local)
	must(t, err)
	treeSum := strings.TrimPrefix(digest.String(), "blake3:")
	d := sample("d")
	d.Sources = []artifact.Source{{Digest: "sha256:" + sum}, {Digest: "git:" + strings.Repeat("0", 40)}, {Digest: "tree:" + treeSum}}
	r := a.build(t, d, nil, files{"f": "x"})
	request := roots(r)
	request.Sources = true
	if _, err := Select(t.Context(), a.Store, request); !errors.As(err, new(*store.NotFoundError)) {
		t.Error(err)
	}
	must(t, os.Mkdir(a.SourcesDir()+"/sha256", 0o755), os.WriteFile(a.SourcesDir()+"/sha256/"+sum, []byte("test"), 0o444))
	must(t, os.Mkdir(a.SourcesDir()+"/tree", 0o755), os.CopyFS(a.SourcesDir()+"/tree/"+treeSum, os.DirFS(local)))
	archive := packed(t, a.Store, request)
	for range 2 {
		_, err := unpack(b, archive)
		must(t, err)
	}
	if got, err := os.ReadFile(b.SourcesDir() + "/sha256/" + sum); string(got) != "test" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := tree.DigestPath(t.Context(), b.SourcesDir()+"/tree/"+treeSum); got != digest || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, evil := range []string{sum, "d/f"} {
		list := parts(t, archive)
		find(t, list, evil).content = []byte("evil")
		refused(t, newStore(t, prefix), compress(t, plain(t, list)), map[string]string{sum: "digest source", "d/f": "digest tree"}[evil])
	}
}
