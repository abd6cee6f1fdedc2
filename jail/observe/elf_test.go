package observe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"
)

// elfHeader is the beginning of a program with an interpreter, or without one.
func elfHeader(interpreter string) []byte {
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Phoff: 64, Phentsize: 56, Phnum: 2}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}))
	var out bytes.Buffer
	binary.Write(&out, binary.LittleEndian, h)
	binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD)})
	p := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 2*56, Filesz: uint64(len(interpreter) + 1)}
	if interpreter == "" {
		p = elf.Prog64{Type: uint32(elf.PT_NOTE)}
	}
	binary.Write(&out, binary.LittleEndian, p)
	out.WriteString(interpreter + "\x00")
	return out.Bytes()
}

func TestInterpreter(t *testing.T) {
	for _, test := range []struct {
		header, name string
		script       bool
	}{
		{"#!/bin/sh\necho\n", "/bin/sh", true},
		{"#! \t/bin/sh -e \n", "/bin/sh", true},
		{"#!/bin/sh", "/bin/sh", true},
		{"#!\n", "", true},
		{"#!", "", true},
		{"#!sh\x00x\n", "sh", true},
		{"#!" + strings.Repeat("x", 300), strings.Repeat("x", 254), true},
		{"", "", false},
		{"echo\n", "", false},
		{string(elfHeader("/lib/ld.so")), "/lib/ld.so", false},
		{string(elfHeader("")), "", false},
		{string(elfHeader("/lib/ld.so"))[:100], "", false},
	} {
		if name, script := interpreter([]byte(test.header)); name != test.name || script != test.script {
			t.Errorf("%.20q: %q, script %v", test.header, name, script)
		}
	}
}

// TestElfInterpreterOfPrograms compares with the standard library on real programs.
func TestElfInterpreterOfPrograms(t *testing.T) {
	for _, name := range []string{"/bin/sh", "/usr/bin/env", "/proc/self/exe"} {
		file, err := elf.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		want := ""
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP {
				text, err := io.ReadAll(p.Open())
				if err != nil {
					t.Fatal(err)
				}
				want = strings.TrimRight(string(text), "\x00")
			}
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := elfInterpreter(content[:4096]); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzElfInterpreter(f *testing.F) {
	f.Add(elfHeader("/lib/ld.so"))
	f.Add(elfHeader(""))
	narrow := elfHeader("/lib/ld.so")
	narrow[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	f.Add(narrow)
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		name, script := interpreter(header)
		if !bytes.Contains(header, []byte(name)) {
			t.Errorf("%q is not in the file", name)
		}
		if strings.ContainsAny(name, "\x00") || script && strings.ContainsAny(name, " \t\n") {
			t.Errorf("%q is no name", name)
		}
	})
}
