package leaks

import (
	"debug/elf"
	"io"
)

// Binary is what an ELF file says of itself.
type Binary struct {
	// System is the kind of machine that it is for, like "x86_64-linux"; empty for one that has no name here.
	System string
	// Soname is the name that a library goes by, empty for none.
	Soname string
}

// systems are the names of machines, as derivations have them.
var systems = map[machine]string{
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_X86_64}:    "x86_64-linux",
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_AARCH64}:   "aarch64-linux",
	{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_386}:       "i686-linux",
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_PPC64}:     "powerpc64le-linux",
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_RISCV}:     "riscv64-linux",
	{elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_S390}:      "s390x-linux",
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_LOONGARCH}: "loong64-linux",
	{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_ARM}:       "arm-linux",
}

// Identify reads an ELF file, which may be hostile. What is none, or a damaged one, is an error.
func Identify(r io.ReaderAt) (Binary, error) {
	o, err := readObject(r)
	return Binary{System: systems[o.machine], Soname: o.soname}, err
}
