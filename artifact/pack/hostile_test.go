package pack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/artifact/tree"
)

// honest is the archive that the hostile ones are made from.
func honest(t tester) []byte {
	a := builder{Store: newStore(t, prefix)}
	lib := a.build(t, sample("lib"), nil, files{"bin/lib": "#!/bin/sh\n", "empty/": "", "text": "text\n", "ours": "-> text"})
	return packed(t, a.Store, roots(a.build(t, sample("top", on(lib)), with(lib), files{"f": "top"})))
}

// edit changes a JSON member as text.
func edit(end, old, new string) func(t tester, list []*part) []*part {
	return func(t tester, list []*part) []*part {
		p := find(t, list, end)
		if !bytes.Contains(p.content, []byte(old)) {
			t.Fatal("no " + old + " in " + end)
		}
		p.content = bytes.ReplaceAll(p.content, []byte(old), []byte(new))
		return list
	}
}

// header changes the header of a member.
func header(end string, change func(h *tar.Header)) func(t tester, list []*part) []*part {
	return func(t tester, list []*part) []*part {
		change(find(t, list, end).Header)
		return list
	}
}

// after puts a member behind another one.
func after(end string, h tar.Header) func(t tester, list []*part) []*part {
	return func(t tester, list []*part) []*part {
		i := slices.Index(list, find(t, list, end))
		if h.Mode == 0 {
			h.Mode = 0o444
		}
		h.ModTime = memberTime
		if strings.HasPrefix(h.Name, "out/") {
			h.Name = strings.TrimSuffix(list[i].Name, end) + h.Name
		}
		return slices.Insert(list, i+1, &part{&h, nil})
	}
}

// hostile archives, each with what refuses it: the kind of a *RefusedError, or the error's type and object.
var hostile = []struct {
	name, want string
	change     func(t tester, list []*part) []*part
}{
	{"content", "digest tree", func(t tester, list []*part) []*part {
		find(t, list, "out/text").content = []byte("Text\n")
		return list
	}},
	{"executable bit", "digest tree", header("out/text", func(h *tar.Header) { h.Mode = 0o555 })},
	{"no executable bit", "digest tree", header("bin/lib", func(h *tar.Header) { h.Mode = 0o444 })},
	{"link target", "digest tree", header("out/ours", func(h *tar.Header) { h.Linkname = "empty" })},
	{"lost directory", "digest tree", func(t tester, list []*part) []*part {
		return slices.DeleteFunc(list, func(p *part) bool { return strings.HasSuffix(p.Name, "out/empty/") })
	}},
	{"tree digest", "digest realization", func(t tester, list []*part) []*part {
		m := manifestOf(t, list)
		m.Tree[0]++
		return rewrite(t, list, manifestName, m)
	}},
	{"context", "digest realization", func(t tester, list []*part) []*part {
		m := manifestOf(t, list)
		m.Context = artifact.Context{m.Derivation: {{1}}}
		return rewrite(t, list, manifestName, m)
	}},
	{"derivation", "digest derivation", edit(derivationsDir, `"script": "true"`, `"script": "evil"`)},
	{"foreign prefix", "prefix the archive", edit(headerName, prefix, "/foreign")},
	{"newer format", "format", edit(headerName, `"hdjail_archive": 1`, `"hdjail_archive": 2`)},
	{"no format", "json", edit(headerName, `"hdjail_archive": 1`, `"hdjail_archive": 0`)},
	{"unknown field", "json", edit(headerName, `"prefix"`, `"new": 1, "prefix"`)},
	{"other form", "json", edit(headerName, `"prefix": `, `"prefix":  `)},
	{"no JSON", "json", edit(manifestName, `{`, `[`)},
	{"unsorted", "order", func(t tester, list []*part) []*part {
		i := slices.Index(list, find(t, list, "out/ours"))
		list[i], list[i+1] = list[i+1], list[i]
		return list
	}},
	{"twice", "order", after("out/text", tar.Header{Name: "out/text"})},
	{"a file as a directory", "order", after("out/text", tar.Header{Name: "out/text/x"})},
	{"through a link", "order", after("out/ours", tar.Header{Name: "out/ours/x"})},
	{"no directory", "order", after("out/text", tar.Header{Name: "out/u/x"})},
	{"parent", "order", after("out/ours", tar.Header{Name: "out/p/../../x"})},
	{"up", "order", after("out/ours", tar.Header{Name: "out/.."})},
	{"empty component", "order", after("out/ours", tar.Header{Name: "out/p//x"})},
	{"long", "order", after("out/text", tar.Header{Name: "out/" + strings.Repeat("t/", 2100) + "t"})},
	{"absolute", "order", after("text", tar.Header{Name: "/etc/x"})},
	{"elsewhere", "name", func(t tester, list []*part) []*part {
		return append(list, &part{&tar.Header{Name: "tmp/x", Mode: 0o444, ModTime: memberTime, Typeflag: tar.TypeReg}, nil})
	}},
	{"not in the header", "name", func(t tester, list []*part) []*part {
		i := slices.Index(list, find(t, list, headerName))
		p := *list[i+1]
		h := *p.Header
		h.Name = "derivations/2.json"
		return slices.Insert(list, i+1, &part{&h, p.content})
	}},
	{"device", "type", after("out/ours", tar.Header{Name: "out/p", Typeflag: tar.TypeChar, Devmajor: 1})},
	{"pipe", "type", after("out/ours", tar.Header{Name: "out/p", Typeflag: tar.TypeFifo})},
	{"hard link", "type", after("out/ours", tar.Header{Name: "out/p", Typeflag: tar.TypeLink, Linkname: "archive.json"})},
	{"set-uid", "mode", header("bin/lib", func(h *tar.Header) { h.Mode = 0o4555 })},
	{"writable", "mode", header("out/text", func(h *tar.Header) { h.Mode = 0o644 })},
	{"owner", "mode", header("out/text", func(h *tar.Header) { h.Uid = 1 })},
	{"owner's name", "mode", header("out/text", func(h *tar.Header) { h.Uname = "root" })},
	{"time", "mode", header("out/text", func(h *tar.Header) { h.ModTime = time.Unix(2, 0) })},
	{"attribute", "type", header("out/text", func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"} })},
	{"comment", "type", header("out/text", func(h *tar.Header) { h.PAXRecords = map[string]string{"comment": "y"} })},
	{"GNU", "type", header("out/text", func(h *tar.Header) { h.Format = tar.FormatGNU })},
	{"end", "archive", func(t tester, list []*part) []*part { return list[:len(list)-3] }},
	{"nothing", "archive", func(t tester, list []*part) []*part { return nil }},
	{"no header", "name", func(t tester, list []*part) []*part { return list[1:] }},
	{"header twice as long as allowed", "limit", func(t tester, list []*part) []*part {
		list[0].content = make([]byte, maxJSON+1)
		return list
	}},
	{"a root that is not there", "object", func(t tester, list []*part) []*part {
		return edit(headerName, `"realization": "`+rootOf(t, list)+`"`, `"realization": "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`)(t, list)
	}},
	{"lacking what it was built with", "object", func(t tester, list []*part) []*part { return without(t, list) }},
	{"built with nothing", "object", func(t tester, list []*part) []*part {
		return recontext(t, list, func(m *Manifest) { m.Context = nil })
	}},
	{"built with what it does not depend on", "object", func(t tester, list []*part) []*part {
		return recontext(t, list, func(m *Manifest) { m.Context[m.Derivation] = []artifact.RealizationID{{1}} })
	}},
	{"built with two results", "object", func(t tester, list []*part) []*part {
		return recontext(t, list, func(m *Manifest) {
			for id, chosen := range m.Context {
				m.Context[id] = append([]artifact.RealizationID{{}}, chosen...)
			}
		})
	}},
	{"an impossible name", "object", edit(derivationsDir, `"name": "`, `"name": "../`)},
}

func headerOf(t tester, list []*part) (h Header) {
	must(t, json.Unmarshal(find(t, list, headerName).content, &h))
	return h
}

func manifestOf(t tester, list []*part) (m Manifest) {
	must(t, json.Unmarshal(find(t, list, manifestName).content, &m))
	return m
}

// rewrite gives a JSON member another value, in the right form.
func rewrite(t tester, list []*part, end string, value any) []*part {
	data, err := encode(value)
	must(t, err)
	find(t, list, end).content = data
	return list
}

func rootOf(t tester, list []*part) string { return headerOf(t, list).Roots[0].Realization.String() }

// recontext changes the manifest of the root, and everything that follows from it: only the context is wrong then.
func recontext(t tester, list []*part, change func(m *Manifest)) []*part {
	h, old := headerOf(t, list), rootOf(t, list)
	var m Manifest
	must(t, json.Unmarshal(find(t, list, realizationsDir+old+"/"+manifestName).content, &m))
	change(&m)
	id := artifact.NewRealizationID(m.Derivation, m.Context, m.Tree)
	rewrite(t, list, realizationsDir+old+"/"+manifestName, m)
	for _, p := range list {
		p.Name = strings.Replace(p.Name, old, id.String(), 1)
	}
	h.Realizations[slices.Index(h.Realizations, h.Roots[0].Realization)] = id
	h.Roots[0].Realization = id
	slices.SortFunc(h.Realizations, compareTexts)
	slices.SortFunc(list, func(a, b *part) int {
		return tree.ComparePaths(strings.TrimSuffix(a.Name, "/"), strings.TrimSuffix(b.Name, "/"))
	})
	return rewrite(t, list, headerName, h)
}

// without takes the one realization that is no root out of an archive.
func without(t tester, list []*part) []*part {
	h := headerOf(t, list)
	i := slices.IndexFunc(h.Realizations, func(id artifact.RealizationID) bool { return id != h.Roots[0].Realization })
	gone := h.Realizations[i].String()
	h.Realizations = slices.Delete(h.Realizations, i, i+1)
	return slices.DeleteFunc(rewrite(t, list, headerName, h), func(p *part) bool { return strings.Contains(p.Name, gone) })
}

// kind names what an error says of an archive.
func kind(err error) string {
	var refused *RefusedError
	var digest *DigestError
	var other *PrefixError
	var missing *MissingError
	switch {
	case errors.As(err, &refused):
		return refused.Kind
	case errors.As(err, &digest):
		return "digest " + digest.What
	case errors.As(err, &other):
		return "prefix " + other.Of
	case errors.As(err, &missing):
		return "missing " + missing.What
	case errors.As(err, new(*FormatError)):
		return "format"
	case err != nil:
		return err.Error()
	}
	return "accepted"
}

// refused makes sure that the store refuses the archive and is as it was.
func refused(t *testing.T, s *store.Store, archive []byte, want string) {
	t.Helper()
	before := contents(t, s)
	_, err := unpack(s, archive)
	if got := kind(err); got != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	if left := contents(t, s); !slices.Equal(left, before) {
		t.Errorf("there is %q, and was %q", left, before)
	}
}

func TestHostile(t *testing.T) {
	archive, empty := honest(t), newStore(t, prefix)
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			refused(t, empty, compress(t, plain(t, test.change(t, parts(t, archive)))), test.want)
		})
	}
	_, err := unpack(empty, compress(t, plain(t, parts(t, archive))))
	must(t, err)
	verify(t, empty)
}

// TestTruncated cuts an archive off everywhere, before and after compression.
func TestTruncated(t *testing.T) {
	archive, empty := honest(t), newStore(t, prefix)
	for n := 0; n < len(archive); n += 97 {
		refused(t, empty, archive[:n], "archive")
	}
	whole := plain(t, parts(t, archive))
	for n := 0; n < len(whole)-1024; n += 512 {
		refused(t, empty, compress(t, whole[:n]), "archive")
	}
	refused(t, empty, append(slices.Clone(archive), compress(t, []byte("more"))...), "archive")
	refused(t, empty, compress(t, append(slices.Clone(whole), 1)), "archive")
	refused(t, empty, []byte("no archive"), "archive")
}

// TestSparse: a file with holes would be far larger than what was read for it.
func TestSparse(t *testing.T) {
	list := parts(t, honest(t))
	whole := plain(t, list)
	name := []byte(find(t, list, "out/text").Name)
	at := bytes.Index(whole, name)
	record := func(key, value string) string {
		text := " " + key + "=" + value + "\n"
		for n := len(text); ; n++ {
			if whole := string(appendInt(nil, n)) + text; len(whole) == n {
				return whole
			}
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	records := record("GNU.sparse.map", "0,5") + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.size", "1099511627776")
	must(t, w.WriteHeader(&tar.Header{Name: "PaxHeaders.0/x", Typeflag: tar.TypeReg, Size: int64(len(records)), Mode: 0o444, ModTime: memberTime}))
	_, err := io.WriteString(w, records)
	must(t, err, w.Flush())
	pax := b.Bytes()
	pax[156] = tar.TypeXHeader
	sum := 0
	copy(pax[148:156], "        ")
	for _, c := range pax[:512] {
		sum += int(c)
	}
	copy(pax[148:156], []byte(octal(sum)))
	hostile := slices.Concat(whole[:at], pax, whole[at:])
	_, err = unpack(newStore(t, prefix), compress(t, hostile))
	if got := kind(err); got != "type" {
		t.Errorf("%s: %v", got, err)
	}
}

func appendInt(b []byte, n int) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

func octal(n int) string {
	digits := ""
	for range 6 {
		digits = string(rune('0'+n%8)) + digits
		n /= 8
	}
	return digits + "\x00 "
}

// TestBombs: what holds far more than its own size is refused, unless the caller says so.
func TestBombs(t *testing.T) {
	a := builder{Store: newStore(t, prefix)}
	zeros := a.build(t, sample("zeros"), nil, files{"zeros": strings.Repeat("\x00", 8<<20)})
	archive, empty := packed(t, a.Store, roots(zeros)), newStore(t, prefix)
	in, done, err := decompress(t.Context(), bytes.NewReader(archive), 0)
	must(t, err)
	defer done()
	in.in.free = 1 << 20
	_, err = take(t.Context(), empty, in)
	if left := contents(t, empty); kind(err) != "limit" || len(left) > 0 {
		t.Errorf("%v; %q", err, left)
	}
	result, err := Unpack(t.Context(), empty, bytes.NewReader(archive), Options{MaxBytes: 9 << 20})
	if err != nil || result.New != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	_, err = Unpack(t.Context(), newStore(t, prefix), bytes.NewReader(honest(t)), Options{MaxBytes: 4096})
	if kind(err) != "limit" {
		t.Error(err)
	}
	// A window that takes all memory; and more members than anybody has.
	encoder, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20), zstd.WithSingleSegment(false))
	must(t, err)
	defer encoder.Close()
	var wide bytes.Buffer
	encoder.Reset(&wide)
	_, err = encoder.Write(plain(t, parts(t, honest(t))))
	must(t, err, encoder.Flush(), encoder.Close())
	refused(t, newStore(t, prefix), wide.Bytes(), "archive")
	in = newArchive(&meter{r: bytes.NewReader(plain(t, parts(t, honest(t)))), allowed: maxBytes})
	in.count = maxMembers - 5
	_, err = take(t.Context(), newStore(t, prefix), in)
	if kind(err) != "limit" {
		t.Error(err)
	}
}

// TestLinksOut: a tree whose digest is right, but with a link that no build may leave.
func TestLinksOut(t *testing.T) {
	for name, target := range map[string]string{
		"up": "../../../../etc/passwd", "other artifact": prefix + "/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-other",
		"the store": prefix + "/tmp", "sibling": "../aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-other/x", "absolute and up": "/usr/../etc/passwd", "through a link": "d/../../x",
	} {
		t.Run(name, func(t *testing.T) {
			a := builder{Store: newStore(t, prefix)}
			r := a.build(t, sample("d"), nil, files{"d": "-> e", "e/": "", "link": "-> " + target})
			refused(t, newStore(t, prefix), packed(t, a.Store, roots(r)), "link")
		})
	}
	t.Run("the root", func(t *testing.T) {
		a, b := builder{Store: newStore(t, prefix)}, newStore(t, prefix)
		refused(t, b, packed(t, a.Store, roots(a.build(t, sample("d"), nil, files{"link": "-> " + b.Root() + "/tmp"}))), "link")
	})
}

// TestInconsistent: x was built twice, and the two ways up from it meet.
func TestInconsistent(t *testing.T) {
	a := builder{Store: newStore(t, prefix)}
	x1, x2 := a.build(t, sample("x"), nil, files{"f": "1"}), a.build(t, sample("x"), nil, files{"f": "2"})
	b := a.build(t, sample("b", on(x1)), with(x1), files{"f": "b"})
	c := a.build(t, sample("c", on(x1)), with(x2), files{"f": "c"})
	d := a.build(t, sample("d", on(b), on(c)), with(b, c), files{"f": "d"})
	archive, s := packed(t, a.Store, roots(d)), newStore(t, prefix)
	_, err := unpack(s, archive)
	var e *InconsistentError
	if !errors.As(err, &e) || e.Derivation != x1.Derivation.String() || e.Root != d.ID.String() {
		t.Fatal(err)
	}
	through := map[string]string{e.FirstThrough: e.First, e.SecondThrough: e.Second}
	if through[b.ID.String()] != x1.ID.String() || through[c.ID.String()] != x2.ID.String() {
		t.Errorf("%+v", e)
	}
	if left := contents(t, s); len(left) > 0 {
		t.Errorf("%q", left)
	}
	// The halves are consistent, and then what is already there counts, too.
	_, err = unpack(s, packed(t, a.Store, roots(b, c)))
	must(t, err)
	request := roots(d)
	request.Have = s.Has
	before := contents(t, s)
	_, err = unpack(s, packed(t, a.Store, request))
	if !errors.As(err, &e) || !slices.Equal(before, contents(t, s)) {
		t.Error(err)
	}
}

// TestReadError: an error of where the archive comes from is no fault of the archive.
func TestReadError(t *testing.T) {
	archive, s := honest(t), newStore(t, prefix)
	broken := io.MultiReader(bytes.NewReader(archive[:len(archive)/2]), brokenReader{})
	_, err := Unpack(t.Context(), s, broken, Options{})
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, new(*RefusedError)) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(s.TmpDir() + "/*"); len(left) > 0 {
		t.Errorf("%q", left)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
