package ldcache

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// x86 and arm are the kinds of the 64-bit linkers of these machines.
const (
	x86 Kind = 0x0303
	arm Kind = 0x0a03
)

// library returns a shared library with nothing in it but a soname, "" for none.
func library(machine elf.Machine, kind elf.Type, soname string) []byte {
	text := "\x00" + soname + "\x00"
	dynamic := []uint64{uint64(elf.DT_SONAME), 1, 0, 0}
	if soname == "" {
		dynamic = dynamic[2:]
	}
	h := elf.Header64{Type: uint16(kind), Machine: uint16(machine), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shoff: 64, Shstrndx: 2}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}))
	start := uint64(64 + 3*64)
	sections := []elf.Section64{
		{},
		{Type: uint32(elf.SHT_DYNAMIC), Off: start, Size: uint64(8 * len(dynamic)), Link: 2, Entsize: 16},
		{Type: uint32(elf.SHT_STRTAB), Off: start + uint64(8*len(dynamic)), Size: uint64(len(text))},
	}
	var out bytes.Buffer
	for _, part := range []any{h, sections, dynamic, []byte(text)} {
		_ = binary.Write(&out, binary.LittleEndian, part)
	}
	return out.Bytes()
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		what   string
		data   []byte
		soname string
		kind   Kind
	}{
		{"x86-64", library(elf.EM_X86_64, elf.ET_DYN, "libx.so.1"), "libx.so.1", x86},
		{"aarch64", library(elf.EM_AARCH64, elf.ET_DYN, "libx.so.1"), "libx.so.1", arm},
		{"no soname", library(elf.EM_X86_64, elf.ET_DYN, ""), "file.so", x86},
		{"a program", library(elf.EM_X86_64, elf.ET_EXEC, ""), "", 0},
		{"another machine", library(elf.EM_RISCV, elf.ET_DYN, "libx.so.1"), "", 0},
		{"a linker script", []byte("/* GNU ld script */"), "", 0},
		{"cut short", library(elf.EM_X86_64, elf.ET_DYN, "libx.so.1")[:100], "", 0},
	} {
		soname, kind, ok := Read(bytes.NewReader(c.data), "file.so")
		if soname != c.soname || kind != c.kind || ok != (c.kind != 0) {
			t.Errorf("%s: %q, %#x, %v; want %q, %#x", c.what, soname, kind, ok, c.soname, c.kind)
		}
	}
}

func TestCompareNames(t *testing.T) {
	ordered := []string{"", "liba", "libb.so", "libc.so.6", "libc.so.10", "libc10", "libca", "libm2", "libm2.so", "libm10"}
	slices.SortFunc(ordered, compareNames)
	// A digit sorts behind every other byte, and numbers by value.
	want := []string{"", "liba", "libb.so", "libc.so.6", "libc.so.10", "libca", "libc10", "libm2", "libm2.so", "libm10"}
	if !slices.Equal(ordered, want) {
		t.Errorf("order %q, want %q", ordered, want)
	}
}

var sample = []Library{
	{"/lib/x86_64-linux-gnu", "libz.so.1", x86}, {"/opt/lib", "libz.so.1", x86}, {"/lib", "libz.so.1", 0x0003},
	{"/lib/x86_64-linux-gnu", "libc.so.6", x86}, {"/lib/x86_64-linux-gnu", "libfoo.so.10", x86},
	{"/lib/x86_64-linux-gnu", "libfoo.so.9", x86}, {"/usr/lib", "libarm.so", arm},
}

func TestEncode(t *testing.T) {
	got := Encode(sample[:1])
	want := "676c6962632d6c642e736f2e6361636865312e31" + // glibc-ld.so.cache1.1
		"01000000" + "20000000" + "02000000" + "00000000" + "000000000000000000000000" +
		"03030000" + "5e000000" + "48000000" + "00000000" + "0000000000000000" +
		hex.EncodeToString([]byte("/lib/x86_64-linux-gnu/libz.so.1\x00"))
	if hex.EncodeToString(got) != want {
		t.Errorf("one library encodes to\n%x, want\n%s", got, want)
	}
	if empty := Encode(nil); len(empty) != 48 {
		t.Errorf("no libraries encode to %d bytes, want 48", len(empty))
	}
	moved := append(slices.Clone(sample[3:]), sample[:3]...)
	if !bytes.Equal(Encode(sample), Encode(moved)) {
		t.Error("the order of different sonames changes the file")
	}
}

// TestLdconfigReads has the real ldconfig list what Encode wrote.
func TestLdconfigReads(t *testing.T) {
	ldconfig := "/sbin/ldconfig"
	if _, err := os.Stat(ldconfig); err != nil {
		t.Skipf("needs ldconfig: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ld.so.cache")
	if err := os.WriteFile(file, Encode(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command(ldconfig, "-p", "-C", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ldconfig: %v\n%s", err, output)
	}
	var got []string
	for line := range strings.Lines(string(output)) {
		if strings.HasPrefix(line, "\t") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		"libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1",
		"libz.so.1 (libc6,x86-64) => /opt/lib/libz.so.1",
		"libz.so.1 (libc6) => /lib/libz.so.1",
		"libfoo.so.10 (libc6,x86-64) => /lib/x86_64-linux-gnu/libfoo.so.10",
		"libfoo.so.9 (libc6,x86-64) => /lib/x86_64-linux-gnu/libfoo.so.9",
		"libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6",
		"libarm.so (libc6,AArch64) => /usr/lib/libarm.so",
	}
	if !slices.Equal(got, want) {
		t.Errorf("ldconfig lists\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzRead(f *testing.F) {
	f.Add(library(elf.EM_X86_64, elf.ET_DYN, "libx.so.1"))
	f.Add(library(elf.EM_AARCH64, elf.ET_DYN, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		if soname, kind, ok := Read(bytes.NewReader(data), "name"); !ok && (soname != "" || kind != 0) {
			t.Errorf("no library has soname %q and kind %#x", soname, kind)
		}
	})
}

func FuzzCompareNames(f *testing.F) {
	f.Add("libc.so.6", "libc.so.10", "libc10")
	f.Add("a99999999999999", "a1", "a01")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if compareNames(a, b) != -compareNames(b, a) {
			t.Errorf("%q and %q have no order", a, b)
		}
		if compareNames(a, b) < 0 && compareNames(b, c) < 0 && compareNames(a, c) >= 0 {
			t.Errorf("%q < %q < %q is no order", a, b, c)
		}
	})
}
