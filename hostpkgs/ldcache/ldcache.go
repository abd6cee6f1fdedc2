// Package ldcache writes the cache of the dynamic linker, /etc/ld.so.cache, from a list of libraries. It is pure, so the
// same libraries give the same bytes everywhere; ldconfig(8) is not needed, and nothing need be mounted for it.
package ldcache

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"io"
	"slices"
)

// Library is an entry: the linker finds Soname at Dir/Soname. Of two entries with one Soname and Kind it takes the first.
type Library struct {
	Dir    string
	Soname string
	Kind   Kind
}

// Kind is the flags of an entry (glibc, sysdeps/generic/ldconfig.h): a linker takes only entries of its own kind.
type Kind uint32

// kinds are the little-endian machines whose linker wants a kind other than none.
var kinds = map[machine]Kind{
	{elf.EM_386, elf.ELFCLASS32}:     0x0003,
	{elf.EM_X86_64, elf.ELFCLASS64}:  0x0303,
	{elf.EM_X86_64, elf.ELFCLASS32}:  0x0803,
	{elf.EM_AARCH64, elf.ELFCLASS64}: 0x0a03,
	{elf.EM_PPC64, elf.ELFCLASS64}:   0x0503,
}

type machine struct {
	elf.Machine
	elf.Class
}

// Read returns the soname and kind of a shared library; name is its file name, which stands in for a soname that is
// missing. What is no library for a known linker gives false.
func Read(file io.ReaderAt, name string) (soname string, kind Kind, ok bool) {
	f, err := elf.NewFile(file)
	if err != nil || f.Type != elf.ET_DYN || f.ByteOrder != binary.LittleEndian {
		return "", 0, false
	}
	kind, ok = kinds[machine{f.Machine, f.Class}]
	if !ok {
		return "", 0, false
	}
	soname = name
	if names, err := f.DynString(elf.DT_SONAME); err == nil && len(names) == 1 {
		soname = names[0]
	}
	return soname, kind, true
}

// Layout of the format "glibc-ld.so.cache1.1" (glibc, sysdeps/generic/dl-cache.h): this header, the entries, the strings.
// Offsets of strings count from the start of the file.
type header struct {
	Magic       [20]byte
	Entries     uint32
	StringBytes uint32
	Endian      uint8
	_           [3]uint8
	Extension   uint32
	_           [3]uint32
}

type entry struct {
	Kind       Kind
	Key, Value uint32 // soname and path
	_          uint32 // oldest kernel, no longer read
	_          uint64 // hardware capabilities: none, so that all machines load the same files
}

const littleEndian = 2

// Encode returns the file. The order of libraries counts only among those of one soname.
func Encode(libraries []Library) []byte {
	sorted := slices.Clone(libraries)
	slices.SortStableFunc(sorted, func(a, b Library) int {
		return cmp.Or(compareNames(b.Soname, a.Soname), cmp.Compare(b.Kind, a.Kind))
	})
	h := header{Entries: uint32(len(sorted)), Endian: littleEndian}
	copy(h.Magic[:], "glibc-ld.so.cache1.1")
	base := binary.Size(h) + len(sorted)*binary.Size(entry{})
	entries := make([]entry, len(sorted))
	var text bytes.Buffer
	for i, l := range sorted {
		start := base + text.Len()
		text.WriteString(l.Dir + "/" + l.Soname + "\x00")
		entries[i] = entry{Kind: l.Kind, Key: uint32(start + len(l.Dir) + 1), Value: uint32(start)}
	}
	h.StringBytes = uint32(text.Len())
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, h) // a bytes.Buffer does not fail
	_ = binary.Write(&out, binary.LittleEndian, entries)
	out.Write(text.Bytes())
	return out.Bytes()
}

// compareNames orders names as the linker's binary search expects (glibc, _dl_cache_libcmp): runs of digits by value, a
// digit after everything else, other bytes by value.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		switch digitA, digitB := isDigit(a[0]), isDigit(b[0]); {
		case digitA && digitB:
			var x, y int32 // wraps as it does there
			x, a = number(a)
			y, b = number(b)
			if x != y {
				return cmp.Compare(x, y)
			}
		case digitA:
			return 1
		case digitB:
			return -1
		case a[0] != b[0]:
			return cmp.Compare(a[0], b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	return cmp.Compare(len(a), len(b))
}

func number(s string) (int32, string) {
	var n int32
	for s != "" && isDigit(s[0]) {
		n = n*10 + int32(s[0]-'0')
		s = s[1:]
	}
	return n, s
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
