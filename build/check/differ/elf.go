package differ

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"slices"
)

// Bounds of what is believed of an ELF file's section table.
const (
	maxSections     = 10000
	maxSectionNames = 1 << 20
	maxNamed        = 32
)

// section is one of an ELF file that has bytes in the file.
type section struct {
	name         string
	offset, size int64
}

func (s section) has(at int64) bool { return s.offset <= at && at < s.offset+s.size }

func isELF(head []byte) bool { return len(head) >= 64 && bytes.HasPrefix(head, []byte(elf.ELFMAG)) }

func locateELF(ctx context.Context, d *Difference, p pair, _ int) {
	first, second := sections(p.a), sections(p.b)
	place := "outside all ELF sections"
	for _, s := range first {
		if s.has(p.offset) {
			place = "ELF section " + s.name
			break
		}
	}
	if p.offset < int64(len(p.a.head())) && p.offset < 64 {
		place = "ELF header"
	}
	d.in("%s", place)
	named := map[string][]section{}
	for _, s := range second {
		named[s.name] = append(named[s.name], s)
	}
	for _, s := range first {
		if len(d.Sections) == maxNamed || ctx.Err() != nil {
			return
		}
		t := section{}
		if list := named[s.name]; len(list) > 0 { // several of one name are in order
			t, named[s.name] = list[0], list[1:]
		}
		if s.size == t.size {
			if _, same, err := firstDifference(ctx, p.a.part(s.offset, s.size), p.b.part(t.offset, t.size)); same || err != nil {
				continue
			}
		}
		if !slices.Contains(d.Sections, s.name) {
			d.Sections = append(d.Sections, s.name)
		}
	}
}

// sections reads the section table (elf(5)); nil where there is none, or one that makes no sense. The standard debug/elf reads
// what a file claims to hold, however much, and may panic on a hostile one.
func sections(c content) []section {
	head := c.head()
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64
	table, sizes, entrySize := int64(order.Uint32(head[32:])), 46, 40
	if wide {
		table, sizes, entrySize = int64(order.Uint64(head[40:])), 58, 64
	}
	size, count, names := int(order.Uint16(head[sizes:])), int(order.Uint16(head[sizes+2:])), int(order.Uint16(head[sizes+4:]))
	if size != entrySize || count == 0 || count > maxSections || names >= count || table < 0 || table > c.size-int64(size*count) {
		return nil
	}
	raw := make([]byte, size*count)
	if readFull(c, raw, table) != nil {
		return nil
	}
	at := func(i int) (name uint32, kind elf.SectionType, offset, length int64) {
		e := raw[i*size:]
		if wide {
			return order.Uint32(e), elf.SectionType(order.Uint32(e[4:])), int64(order.Uint64(e[24:])), int64(order.Uint64(e[32:]))
		}
		return order.Uint32(e), elf.SectionType(order.Uint32(e[4:])), int64(order.Uint32(e[16:])), int64(order.Uint32(e[20:]))
	}
	inFile := func(offset, length int64) bool {
		return offset >= 0 && length >= 0 && length <= c.size && offset <= c.size-length
	}
	_, _, offset, length := at(names)
	if !inFile(offset, length) || length > maxSectionNames {
		return nil
	}
	text := make([]byte, length)
	if readFull(c, text, offset) != nil {
		return nil
	}
	var list []section
	for i := range count {
		name, kind, offset, length := at(i)
		if kind == elf.SHT_NOBITS || kind == elf.SHT_NULL || !inFile(offset, length) || int64(name) >= int64(len(text)) {
			continue
		}
		label, _, _ := bytes.Cut(text[name:], []byte{0})
		list = append(list, section{string(label), offset, length})
	}
	return list
}
