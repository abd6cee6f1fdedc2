package differ

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// makeTree makes a tree: contents by path; "->" begins the text of a link, "#" that of an executable, "/" is a directory.
func makeTree(t *testing.T, entries map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range entries {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, isLink := strings.CutPrefix(text, "->")
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case text == "/":
			err = os.MkdirAll(path, 0o755)
		case strings.HasPrefix(text, "#"):
			err = os.WriteFile(path, []byte(text), 0o755)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTrees(t *testing.T) {
	first := makeTree(t, map[string]string{"same": "x", "text": "one\ntwo\nthree\n", "link": "->a", "dir/a": "1", "dir/b": "2", "dir-x": "1",
		"kind": "file", "run": "#!/bin/sh\n", "empty": "/", "longer": "abc", "bin": "\x00\x01\x02"})
	second := makeTree(t, map[string]string{"same": "x", "text": "one\n2\nthree\n", "link": "->b", "dir-x": "1", "kind/f": "dir",
		"run": "!!/bin/sh\n", "empty": "/", "longer": "abcdef", "more/deep/x": "1", "bin": "\x00\x01\x03"})
	got, more, err := Trees(context.Background(), first, second)
	if err != nil || more {
		t.Fatal(more, err)
	}
	want := []Difference{
		{Path: "bin", Kind: Content, Offset: 2, Sizes: [2]int64{3, 3}},
		{Path: "dir", Kind: OnlyFirst, First: "directory"},
		{Path: "kind", Kind: Type, First: "file", Second: "directory"},
		{Path: "link", Kind: LinkText, First: "a", Second: "b"},
		{Path: "longer", Kind: Content, Offset: 3, Sizes: [2]int64{3, 6}, Place: []string{"line 1"}, First: "abc", Second: "abcdef"},
		{Path: "more", Kind: OnlySecond, Second: "directory"},
		{Path: "run", Kind: Executable, First: "executable", Second: "not executable"},
		{Path: "run", Kind: Content, Sizes: [2]int64{10, 10}, Place: []string{"line 1"}, First: "#!/bin/sh", Second: "!!/bin/sh"},
		{Path: "text", Kind: Content, Offset: 4, Sizes: [2]int64{14, 12}, Place: []string{"line 2"}, First: "two", Second: "2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, _, err := Trees(context.Background(), first, first); err != nil || len(got) != 0 {
		t.Errorf("a tree and itself: %v, %v", got, err)
	}
}

// smallELF is an ELF file with these sections, one after the other.
func smallELF(order binary.ByteOrder, wide bool, names []string, bodies [][]byte) []byte {
	head := make([]byte, 64)
	copy(head, elf.ELFMAG)
	head[elf.EI_CLASS], head[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	if order == binary.BigEndian {
		head[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	entry, sizes := 64, 58
	if !wide {
		head[elf.EI_CLASS], entry, sizes = byte(elf.ELFCLASS32), 40, 46
	}
	text := []byte{0}
	table := make([]byte, entry)
	put := func(name string, kind elf.SectionType, offset, size int) {
		e := make([]byte, entry)
		order.PutUint32(e, uint32(len(text)))
		order.PutUint32(e[4:], uint32(kind))
		if wide {
			order.PutUint64(e[24:], uint64(offset))
			order.PutUint64(e[32:], uint64(size))
		} else {
			order.PutUint32(e[16:], uint32(offset))
			order.PutUint32(e[20:], uint32(size))
		}
		table = append(table, e...)
		text = append(append(text, name...), 0)
	}
	file := head
	for i, name := range names {
		put(name, elf.SHT_PROGBITS, len(file), len(bodies[i]))
		file = append(file, bodies[i]...)
	}
	put(".bss", elf.SHT_NOBITS, 0, 1<<30)
	length := len(text) + len(".shstrtab") + 1
	put(".shstrtab", elf.SHT_STRTAB, len(file), length)
	file = append(file, text...)
	if wide {
		order.PutUint64(file[40:], uint64(len(file)))
	} else {
		order.PutUint32(file[32:], uint32(len(file)))
	}
	order.PutUint16(file[sizes:], uint16(entry))
	order.PutUint16(file[sizes+2:], uint16(len(table)/entry))
	order.PutUint16(file[sizes+4:], uint16(len(table)/entry-1))
	return append(file, table...)
}

func date(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func tarOf(t *testing.T, when time.Time, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		h := tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o644, ModTime: when, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(members[i+1]))
	}
	w.Close()
	return b.Bytes()
}

func zipOf(t *testing.T, when time.Time, members ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: members[i], Modified: when, Method: zip.Deflate})
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(members[i+1]))
	}
	w.Close()
	return b.Bytes()
}

func gzipOf(when time.Time, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.ModTime = when
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zstdOf(data []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(data, nil)
}

func arOf(when int, members ...string) []byte {
	file := "!<arch>\n"
	long := "a_name_that_is_too_long.o/\n"
	file += fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10d`\n%s", "//", "", "", "", "", len(long), long)
	if len(long)%2 == 1 {
		file += "\n"
	}
	for i := 0; i < len(members); i += 2 {
		name := members[i] + "/"
		if members[i]+"/\n" == long {
			name = "/0"
		}
		file += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", name, when, 0, 0, "100644", len(members[i+1]), members[i+1])
		if len(members[i+1])%2 == 1 {
			file += "\n"
		}
	}
	return []byte(file)
}

func locateIn(t *testing.T, a, b []byte) Difference {
	t.Helper()
	d, differ, err := contents(context.Background(), content{bytes.NewReader(a), int64(len(a))}, content{bytes.NewReader(b), int64(len(b))})
	if err != nil || !differ {
		t.Fatalf("differ %v, error %v", differ, err)
	}
	return d
}

func TestPlace(t *testing.T) {
	sections := []string{".note.gnu.build-id", ".text", ".rodata"}
	program := func(order binary.ByteOrder, wide bool, id, text, data string) []byte {
		return smallELF(order, wide, sections, [][]byte{[]byte(id), []byte(text), []byte(data)})
	}
	little := func(id, data string) []byte { return program(binary.LittleEndian, true, id, "code", data) }
	for _, test := range []struct {
		name          string
		a, b          []byte
		place         string
		first, second string
		sections      []string
	}{
		{name: "ELF", a: little("id-1", "12:00:01"), b: little("id-2", "12:00:02"), place: "ELF section .note.gnu.build-id",
			sections: []string{".note.gnu.build-id", ".rodata"}},
		{name: "ELF, 32 bits, big", a: program(binary.BigEndian, false, "id", "code", "1"), b: program(binary.BigEndian, false, "id", "code", "2"),
			place: "ELF section .rodata", sections: []string{".rodata"}},
		{name: "gzip header", a: gzipOf(date(1e9), []byte("x")), b: gzipOf(date(1e9+1), []byte("x")), place: "gzip header, modification time",
			first: "2001-09-09 01:46:40 +0000 UTC", second: "2001-09-09 01:46:41 +0000 UTC"},
		{name: "gzip", a: gzipOf(date(0), []byte("a\nb\n")), b: gzipOf(date(0), []byte("a\nc\n")), place: "gzip, line 2", first: "b", second: "c"},
		{name: "zstd", a: zstdOf([]byte("a\x00b")), b: zstdOf([]byte("a\x00c")), place: "zstd, byte 2"},
		{name: "tar time", a: tarOf(t, date(5), "x", "1"), b: tarOf(t, date(6), "x", "1"), place: `member "x", modification time`,
			first: "1970-01-01 00:00:05 +0000 UTC", second: "1970-01-01 00:00:06 +0000 UTC"},
		{name: "tar order", a: tarOf(t, date(5), "x", "1", "y", "2"), b: tarOf(t, date(5), "y", "2", "x", "1"), place: "order or names of members",
			first: "x", second: "y"},
		{name: "tar, one more", a: tarOf(t, date(5), "x", "1"), b: tarOf(t, date(5), "x", "1", "y", "2"), place: "further member", first: "none", second: "y"},
		{name: "an ELF file in a tar in a gzip", a: gzipOf(date(0), tarOf(t, date(5), "bin/x", string(little("i", "1")))),
			b: gzipOf(date(0), tarOf(t, date(5), "bin/x", string(little("i", "2")))), place: `gzip, member "bin/x", ELF section .rodata`, sections: []string{".rodata"}},
		{name: "zip time", a: zipOf(t, date(1e9), "x", "1"), b: zipOf(t, date(1e9+4), "x", "1"), place: `member "x", modification time`,
			first: "2001-09-09 01:46:40 +0000 UTC", second: "2001-09-09 01:46:44 +0000 UTC"},
		{name: "zip", a: zipOf(t, date(1e9), "x", "1", "y", "a\nb"), b: zipOf(t, date(1e9), "x", "1", "y", "a\nc"), place: `member "y", line 2`, first: "b", second: "c"},
		{name: "ar time", a: arOf(5, "a.o", "1"), b: arOf(6, "a.o", "1"), place: `member "a.o", modification time`, first: "5", second: "6"},
		{name: "ar", a: arOf(5, "a.o", "123", "a_name_that_is_too_long.o", string(little("i", "1"))),
			b: arOf(5, "a.o", "123", "a_name_that_is_too_long.o", string(little("i", "2"))), place: `member "a_name_that_is_too_long.o", ELF section .rodata`,
			sections: []string{".rodata"}},
		{name: "ELF and text", a: little("i", "1"), b: []byte("#!/bin/sh\n"), place: ""},
		{name: "a long line", a: []byte(strings.Repeat("x", 5000) + "1"), b: []byte(strings.Repeat("x", 5000) + "2"), place: "line 1",
			first: "…" + strings.Repeat("x", 50) + "1", second: "…" + strings.Repeat("x", 50) + "2"},
	} {
		d := locateIn(t, test.a, test.b)
		if place := strings.Join(d.Place, ", "); place != test.place || d.First != test.first || d.Second != test.second || !slices.Equal(d.Sections, test.sections) {
			t.Errorf("%s: place %q, first %q, second %q, sections %q; want %q, %q, %q, %q", test.name, place, d.First, d.Second, d.Sections,
				test.place, test.first, test.second, test.sections)
		}
	}
}

// TestHostile changes bytes of files of every format, and cuts them: whatever comes out, it is no panic, and little work.
func TestHostile(t *testing.T) {
	program := smallELF(binary.LittleEndian, true, []string{".text", ".data"}, [][]byte{[]byte("code"), []byte("data")})
	files := [][]byte{program, arOf(5, "a.o", "123", "a_name_that_is_too_long.o", "1"), gzipOf(date(1), tarOf(t, date(5), "x", string(program))),
		tarOf(t, date(5), "x", "1"), zipOf(t, date(1e9), "x", "1"), zstdOf([]byte("abc"))}
	random := rand.New(rand.NewSource(1))
	for _, file := range files {
		for range 3000 {
			a, b := slices.Clone(file), slices.Clone(file)
			for range 1 + random.Intn(4) {
				a[random.Intn(len(a))] = byte(random.Intn(256))
				b[random.Intn(len(b))] = byte(random.Intn(256))
			}
			b = b[:random.Intn(len(b)+1)]
			contents(context.Background(), content{bytes.NewReader(a), int64(len(a))}, content{bytes.NewReader(b), int64(len(b))})
		}
	}
}
