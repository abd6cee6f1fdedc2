package observe

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// elfInterpreter reads PT_INTERP (elf(5)) from the beginning of a file; empty where there is none in what was read.
func elfInterpreter(header []byte) string {
	if len(header) < 64 || !bytes.HasPrefix(header, []byte(elf.ELFMAG)) {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(header[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := elf.Class(header[elf.EI_CLASS]) == elf.ELFCLASS64
	word := func(at uint64) uint64 {
		switch {
		case at > uint64(len(header)) || at+8 > uint64(len(header)):
			return 0
		case wide:
			return order.Uint64(header[at:])
		}
		return uint64(order.Uint32(header[at:]))
	}
	// Offsets of e_phoff, e_phentsize, and of p_offset and p_filesz in an entry, whose size the kernel wants to be right.
	table, sizes, offset, length, want := uint64(32), uint64(54), uint64(8), uint64(32), uint64(56)
	if !wide {
		table, sizes, offset, length, want = 28, 42, 4, 16, 32
	}
	size, count := uint64(order.Uint16(header[sizes:])), uint64(order.Uint16(header[sizes+2:]))
	if size != want {
		return ""
	}
	for i := range count {
		entry := word(table) + i*size
		if entry > uint64(len(header)) || entry+size > uint64(len(header)) {
			return ""
		}
		if order.Uint32(header[entry:]) != uint32(elf.PT_INTERP) {
			continue
		}
		start, n := word(entry+offset), word(entry+length)
		if start > uint64(len(header)) || n > uint64(len(header))-start {
			return ""
		}
		name, _, _ := bytes.Cut(header[start:start+n], []byte{0})
		return string(name)
	}
	return ""
}
