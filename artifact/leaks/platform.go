package leaks

import (
	"debug/elf"
	"slices"
	"strings"
)

// platform is what the dynamic linker of a machine has built in.
type platform struct {
	// triplets name the multiarch directories of Debian, libs the directories of others, in /lib's place.
	triplets []string
	libs     []string
	// name replaces $PLATFORM.
	name string
}

var (
	lib64 = []string{"lib64", "lib"}
	lib32 = []string{"lib", "lib32"}
)

// platforms are by machine, for both byte orders if data is not stated.
var platforms = map[machine]platform{
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_X86_64}:    {[]string{"x86_64-linux-gnu"}, lib64, "x86_64"},
	{elf.ELFCLASS32, elf.ELFDATANONE, elf.EM_X86_64}:    {[]string{"x86_64-linux-gnux32"}, []string{"libx32", "lib"}, "x86_64"},
	{elf.ELFCLASS32, elf.ELFDATANONE, elf.EM_386}:       {[]string{"i386-linux-gnu"}, lib32, "i686"},
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_AARCH64}:   {[]string{"aarch64-linux-gnu"}, lib64, "aarch64"},
	{elf.ELFCLASS32, elf.ELFDATANONE, elf.EM_ARM}:       {[]string{"arm-linux-gnueabihf", "arm-linux-gnueabi"}, lib32, "v7l"},
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_PPC64}:     {[]string{"powerpc64le-linux-gnu"}, lib64, "power8"},
	{elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_PPC64}:     {[]string{"powerpc64-linux-gnu"}, lib64, "power4"},
	{elf.ELFCLASS32, elf.ELFDATANONE, elf.EM_PPC}:       {[]string{"powerpc-linux-gnu"}, lib32, "ppc"},
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_S390}:      {[]string{"s390x-linux-gnu"}, lib64, "z900"},
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_RISCV}:     {[]string{"riscv64-linux-gnu"}, []string{"lib64/lp64d", "lib64", "lib"}, "riscv64"},
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_LOONGARCH}: {[]string{"loongarch64-linux-gnu"}, []string{"lib64", "lib"}, "loongarch64"},
	{elf.ELFCLASS64, elf.ELFDATANONE, elf.EM_SPARCV9}:   {[]string{"sparc64-linux-gnu"}, lib64, "sparcv9"},
	{elf.ELFCLASS32, elf.ELFDATA2LSB, elf.EM_MIPS}:      {[]string{"mipsel-linux-gnu"}, lib32, "mips"},
	{elf.ELFCLASS32, elf.ELFDATA2MSB, elf.EM_MIPS}:      {[]string{"mips-linux-gnu"}, lib32, "mips"},
	{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.EM_MIPS}:      {[]string{"mips64el-linux-gnuabi64"}, lib64, "mips"},
	{elf.ELFCLASS64, elf.ELFDATA2MSB, elf.EM_MIPS}:      {[]string{"mips64-linux-gnuabi64"}, lib64, "mips"},
}

// platform returns what is known of a machine; of an unknown one that it has a /lib.
func (m machine) platform() platform {
	if p, ok := platforms[m]; ok {
		return p
	}
	m.data = elf.ELFDATANONE
	if p, ok := platforms[m]; ok {
		return p
	}
	return platform{libs: []string{"lib"}}
}

// defaults are the directories that the dynamic linker searches unasked.
func (p platform) defaults() []string {
	var dirs []string
	for _, triplet := range p.triplets {
		dirs = append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	for _, lib := range p.libs {
		dirs = append(dirs, "/"+lib, "/usr/"+lib)
	}
	return dirs
}

// expand replaces $ORIGIN, $LIB and $PLATFORM, also in braces, as ld.so(8) says. $LIB has several values, of which the
// linker of one distribution has one. Other text stays as it is. What becomes too long for a path is left out.
func (p platform) expand(text, origin string) []string {
	if !strings.Contains(text, "$") {
		return []string{text} // too long or not
	}
	var libs []string
	for _, triplet := range p.triplets {
		libs = append(libs, "lib/"+triplet)
	}
	libs = append(libs, p.libs...)
	var list []string
	for _, lib := range libs {
		one := replace(text, [][2]string{{"ORIGIN", origin}, {"LIB", lib}, {"PLATFORM", p.name}})
		if len(one) <= maxPath && !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

// replace puts values in the place of variables, and ends when the result is too long for a path.
func replace(text string, values [][2]string) string {
	var out strings.Builder
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			break
		}
		text = after
		if value, length := variable(text, values); length > 0 {
			out.WriteString(value)
			text = text[length:]
		} else {
			out.WriteByte('$')
		}
		if out.Len() > maxPath {
			break
		}
	}
	return out.String()
}

// variable returns the value of the variable that text begins with, and the length of its name.
func variable(text string, values [][2]string) (string, int) {
	name, braces := strings.CutPrefix(text, "{")
	for _, v := range values {
		rest, ok := strings.CutPrefix(name, v[0])
		switch {
		case !ok:
		case braces && strings.HasPrefix(rest, "}"):
			return v[1], len(v[0]) + 2
		case !braces && (rest == "" || !isWord(rest[0])):
			return v[1], len(v[0])
		}
	}
	return "", 0
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
