package leaks

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// image is an ELF file made by hand: a header, three program headers, the dynamic section, the strings. There are no
// sections.
type image struct {
	machine     machine
	interpreter string
	entries     []entryOf // values of names are put in by bytes
}

type entryOf struct {
	tag  elf.DynTag
	name string // becomes an offset into the strings
}

const imageBase = 0x10000 // where the file is in memory

func (im image) order() binary.AppendByteOrder {
	if im.machine.data == elf.ELFDATA2MSB {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

func (im image) word(b []byte, v uint64) []byte {
	if im.machine.class == elf.ELFCLASS32 {
		return im.order().AppendUint32(b, uint32(v))
	}
	return im.order().AppendUint64(b, v)
}

func (im image) bytes() []byte {
	o, head, ph, entry := im.order(), header64Size, 56, 16
	if im.machine.class == elf.ELFCLASS32 {
		head, ph, entry = header32Size, 32, 8
	}
	strings, dynamicAt := []byte{0}, head+3*ph
	stringsAt := dynamicAt + (len(im.entries)+2)*entry
	var dynamic []byte
	for _, e := range im.entries {
		dynamic = im.word(im.word(dynamic, uint64(e.tag)), uint64(len(strings)))
		strings = append(append(strings, e.name...), 0)
	}
	dynamic = im.word(im.word(dynamic, uint64(elf.DT_STRTAB)), uint64(imageBase+stringsAt))
	dynamic = im.word(im.word(dynamic, 0), 0)
	interpreterAt := stringsAt + len(strings)
	strings = append(append(strings, im.interpreter...), 0)

	b := append([]byte(elf.ELFMAG), byte(im.machine.class), byte(im.machine.data), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = o.AppendUint16(b, uint16(elf.ET_DYN))
	b = o.AppendUint16(b, uint16(im.machine.kind))
	b = o.AppendUint32(b, 1)
	b = im.word(im.word(im.word(b, 0), uint64(head)), 0)
	b = o.AppendUint32(b, 0)
	for _, v := range []int{head, ph, 3, 0, 0, 0} {
		b = o.AppendUint16(b, uint16(v))
	}
	total := stringsAt + len(strings)
	b = im.segment(b, elf.PT_LOAD, 0, total)
	b = im.segment(b, elf.PT_DYNAMIC, dynamicAt, len(dynamic))
	if im.interpreter == "" {
		b = im.segment(b, elf.PT_NOTE, 0, 0)
	} else {
		b = im.segment(b, elf.PT_INTERP, interpreterAt, len(im.interpreter)+1)
	}
	return append(append(b, dynamic...), strings...)
}

func (im image) segment(b []byte, kind elf.ProgType, offset, size int) []byte {
	at, n := uint64(offset), uint64(size)
	b = im.order().AppendUint32(b, uint32(kind))
	if im.machine.class == elf.ELFCLASS64 {
		b = im.order().AppendUint32(b, 4)
	}
	for _, v := range []uint64{at, imageBase + at, imageBase + at, n, n} {
		b = im.word(b, v)
	}
	if im.machine.class == elf.ELFCLASS32 {
		b = im.order().AppendUint32(b, 4)
	}
	return im.word(b, 1)
}

var (
	amd64   = machine{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_X86_64}
	powerpc = machine{elf.ELFCLASS32, elf.ELFDATA2MSB, elf.EM_PPC}
	s390x   = machine{elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_S390}
	i386    = machine{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_386}
)

// library is an image of a shared library with the needs.
func library(m machine, soname, runpath string, needed ...string) []byte {
	im := image{machine: m, entries: []entryOf{{elf.DT_SONAME, soname}}}
	for _, n := range needed {
		im.entries = append(im.entries, entryOf{elf.DT_NEEDED, n})
	}
	if runpath != "" {
		im.entries = append(im.entries, entryOf{elf.DT_RUNPATH, runpath})
	}
	return im.bytes()
}

func TestReadObject(t *testing.T) {
	for name, m := range map[string]machine{"amd64": amd64, "powerpc": powerpc, "s390x": s390x, "i386": i386} {
		im := image{machine: m, interpreter: "/lib/ld.so.1", entries: []entryOf{{elf.DT_NEEDED, "liba.so.1"},
			{elf.DT_SONAME, "libself.so"}, {elf.DT_RPATH, "/old"}, {elf.DT_NEEDED, "libb.so"}, {elf.DT_RUNPATH, "$ORIGIN:/x"}}}
		got, err := readObject(bytes.NewReader(im.bytes()))
		want := object{machine: m, interpreter: "/lib/ld.so.1", needed: []string{"liba.so.1", "libb.so"}, soname: "libself.so",
			rpath: "/old", runpath: "$ORIGIN:/x", hasRPath: true, hasRunpath: true}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(object{}, machine{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		// The image is one that the standard library takes, too.
		if _, err := elf.NewFile(bytes.NewReader(im.bytes())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileELF gives files that are damaged on purpose. None may panic or take memory; each is refused with a reason.
func TestHostileELF(t *testing.T) {
	base := func() []byte { return image{machine: amd64, entries: []entryOf{{elf.DT_NEEDED, "liba.so"}}}.bytes() }
	put := func(at int, v uint64) []byte {
		b := base()
		binary.LittleEndian.PutUint64(b[at:], v)
		return b
	}
	const load, dynamic, entries = header64Size, header64Size + 56, header64Size + 3*56
	many := base()
	binary.LittleEndian.PutUint16(many[56:], 0xffff)
	odd := base()
	binary.LittleEndian.PutUint16(odd[54:], 24)
	endless := image{machine: amd64}
	for range maxNeeded + 1 {
		endless.entries = append(endless.entries, entryOf{elf.DT_NEEDED, "liba.so"})
	}
	// Each entry names another end of one string that is almost too long.
	long := image{machine: amd64, entries: []entryOf{{elf.DT_NEEDED, strings.Repeat("x", maxELFString-2)}}}
	for range 64 {
		long.entries = append(long.entries, entryOf{elf.DT_NEEDED, ""})
	}
	cyclic := long.bytes()
	for i := range 64 {
		binary.LittleEndian.PutUint64(cyclic[entries+16*(i+1)+8:], uint64(i+1))
	}
	for name, b := range map[string][]byte{
		"headers beyond the end":       put(32, 1<<40),
		"headers at a negative offset": put(32, 1<<63),
		"headers at the largest":       put(32, 1<<64-1),
		"more headers than bytes":      many,
		"headers of an odd size":       odd,
		"dynamic in no segment":        put(dynamic+16, 1<<40),
		"segment beyond the end":       put(load+8, 1<<40),
		"segment offset wraps":         put(load+8, 1<<64-8),
		"string beyond the end":        put(entries+8, 1<<40),
		"string offset wraps":          put(entries+8, 1<<64-1),
		"string table nowhere":         put(entries+16+8, 1),
		"no end mark":                  base()[:entries+16],
		"too many needs":               endless.bytes(),
		"strings in strings":           cyclic,
		"cut header":                   base()[:40],
		"unknown class":                append([]byte("\x7fELF\x09\x01"), base()[6:]...),
		"unknown order":                append([]byte("\x7fELF\x02\x09"), base()[6:]...),
	} {
		var err error
		allocated := testing.AllocsPerRun(1, func() { _, err = readObject(bytes.NewReader(b)) })
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if allocated > 2*maxNeeded {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
	// A segment can say that it is larger than the file.
	if o, err := readObject(bytes.NewReader(put(load+32, 1<<62))); err != nil || len(o.needed) != 1 {
		t.Errorf("a too large segment: %v, %v", o, err)
	}
}

func FuzzReadObject(f *testing.F) {
	for _, m := range []machine{amd64, powerpc, s390x, i386} {
		f.Add(image{machine: m, interpreter: "/i", entries: []entryOf{{elf.DT_NEEDED, "a"}, {elf.DT_RPATH, "b"}}}.bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := readObject(bytes.NewReader(b))
		if total := o.size() - 16*len(o.needed) - 256; total > 2*maxELFStrings {
			t.Errorf("%d bytes of strings", total)
		}
		for _, s := range append([]string{o.interpreter, o.soname, o.rpath, o.runpath}, o.needed...) {
			if strings.Contains(s, "\x00") || !bytes.Contains(b, append([]byte(s), 0)) && s != "" {
				t.Errorf("%q is not in the file (%v)", s, err)
			}
		}
	})
}

// cacheOf encodes a cache; an entry is name, path and whether it is for particular processors.
func cacheOf(order binary.AppendByteOrder, entries ...[3]string) []byte {
	b := append([]byte(newCacheMagic), make([]byte, newHeaderSize-len(newCacheMagic))...)
	flag := byte(2)
	if order == binary.AppendByteOrder(binary.BigEndian) {
		flag = 3
	}
	b[28] = flag
	copy(b[20:], order.AppendUint32(nil, uint32(len(entries))))
	var text []byte
	base := newHeaderSize + newEntrySize*len(entries)
	for _, e := range entries {
		b = order.AppendUint32(b, 0x0303)
		for _, s := range e[:2] {
			b = order.AppendUint32(b, uint32(base+len(text)))
			text = append(append(text, s...), 0)
		}
		b = order.AppendUint32(b, 0)
		b = order.AppendUint64(b, uint64(len(e[2])))
	}
	return append(b, text...)
}

func TestDecodeCache(t *testing.T) {
	entries := [][3]string{{"liba.so.1", "/fast/liba.so.1", "v3"}, {"liba.so.1", "/lib/liba.so.1"}, {"liba.so.1", "/lib32/liba.so.1"}, {"libb.so", "/lib/libb.so"}}
	want := linkerCache{"liba.so.1": {"/lib/liba.so.1", "/lib32/liba.so.1"}, "libb.so": {"/lib/libb.so"}}
	little, big := cacheOf(binary.LittleEndian, entries...), cacheOf(binary.BigEndian, entries...)
	old := append([]byte(oldCacheMagic+"\x00"), binary.NativeEndian.AppendUint32(nil, 1)...)
	old = append(append(old, make([]byte, oldEntrySize+4)...), little...) // aligned to 8
	for name, b := range map[string][]byte{"little": little, "big": big, "after an old one": old} {
		if diff := cmp.Diff(want, decodeCache(b)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := decodeCache([]byte("garbage")); len(got) != 0 {
		t.Errorf("garbage gives %v", got)
	}
	if got := decodeCache(little[:len(little)-8]); len(got["liba.so.1"]) != 2 || len(got["libb.so"]) != 0 {
		t.Errorf("a cut cache gives %v", got)
	}
}

func FuzzDecodeCache(f *testing.F) {
	f.Add(cacheOf(binary.LittleEndian, [3]string{"a", "/a"}))
	f.Add(append([]byte(oldCacheMagic+"\x00\xff\xff\xff\xff"), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, paths := range decodeCache(b) {
			for _, p := range paths {
				if name == "" || p == "" || len(p) > maxInterpreter {
					t.Errorf("%q: %q", name, p)
				}
			}
		}
	})
}
