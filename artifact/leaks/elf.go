package leaks

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// The standard debug/elf reads a file by its section headers, which a hostile or stripped file need not have; the kernel
// and the dynamic linker go by program headers alone, and so does this.

// Bounds of what is read of one ELF file, so that none takes much memory or time.
const (
	maxProgramHeaders = 64 << 10 // bytes; the kernel refuses more (load_elf_phdrs)
	maxDynamic        = 1 << 20  // bytes
	maxNeeded         = 4096
	maxELFString      = 64 << 10 // a RPATH can be long
	maxELFStrings     = 256 << 10
	maxInterpreter    = 4096 // the kernel's PATH_MAX
)

// machine is what the dynamic linker compares before it takes a library.
type machine struct {
	class elf.Class
	data  elf.Data
	kind  elf.Machine
}

// object is what the dynamic linker reads of an ELF file.
type object struct {
	file         string
	machine      machine
	interpreter  string
	needed       []string
	soname       string
	rpath        string
	runpath      string
	hasRPath     bool
	hasRunpath   bool
	noDefaultLib bool
}

// elfHeader is the part of Header32 and Header64 that counts.
type elfHeader struct {
	machine
	order         binary.ByteOrder
	phoff         uint64
	phsize, phnum int
}

const (
	header32Size = 52
	header64Size = 64
	machineSize  = 20 // of the header, up to the machine
)

var errNotELF = errors.New("not an ELF file")

// readMachine decodes the beginning of an ELF header, at least machineSize bytes of it.
func readMachine(b []byte) (machine, binary.ByteOrder, error) {
	if len(b) < machineSize || string(b[:4]) != elf.ELFMAG {
		return machine{}, nil, errNotELF
	}
	m := machine{class: elf.Class(b[elf.EI_CLASS]), data: elf.Data(b[elf.EI_DATA])}
	var order binary.ByteOrder
	switch m.data {
	case elf.ELFDATA2LSB:
		order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		order = binary.BigEndian
	default:
		return m, nil, errors.New("unknown byte order")
	}
	if m.class != elf.ELFCLASS32 && m.class != elf.ELFCLASS64 {
		return m, nil, errors.New("unknown class")
	}
	m.kind = elf.Machine(order.Uint16(b[18:]))
	return m, order, nil
}

func readHeader(r io.ReaderAt) (h elfHeader, err error) {
	var buf [header64Size]byte
	n, err := r.ReadAt(buf[:], 0)
	if err != nil && err != io.EOF {
		return h, err
	}
	if h.machine, h.order, err = readMachine(buf[:n]); err != nil {
		return h, err
	}
	b := buf[:n]
	if h.class == elf.ELFCLASS32 {
		if n < header32Size {
			return h, io.ErrUnexpectedEOF
		}
		h.phoff = uint64(h.order.Uint32(b[28:]))
		h.phsize, h.phnum = int(h.order.Uint16(b[42:])), int(h.order.Uint16(b[44:]))
		return h, nil
	}
	if n < header64Size {
		return h, io.ErrUnexpectedEOF
	}
	h.phoff = h.order.Uint64(b[32:])
	h.phsize, h.phnum = int(h.order.Uint16(b[54:])), int(h.order.Uint16(b[56:]))
	return h, nil
}

// segment is a program header.
type segment struct {
	kind                 elf.ProgType
	offset, vaddr, bytes uint64
}

// readSegments returns the program headers that count: PT_LOAD, PT_DYNAMIC, PT_INTERP.
func readSegments(r io.ReaderAt, h elfHeader) ([]segment, error) {
	want := 32
	if h.class == elf.ELFCLASS64 {
		want = 56
	}
	switch {
	case h.phnum == 0:
		return nil, nil
	case h.phsize != want:
		return nil, errors.New("program headers of an unknown size")
	case h.phnum*h.phsize > maxProgramHeaders:
		return nil, errors.New("too many program headers")
	}
	table := make([]byte, h.phnum*h.phsize)
	if err := readAt(r, table, h.phoff); err != nil {
		return nil, errors.New("the program headers are not in the file")
	}
	var list []segment
	for ; len(table) > 0; table = table[want:] {
		s := segment{kind: elf.ProgType(h.order.Uint32(table))}
		if h.class == elf.ELFCLASS32 {
			s.offset, s.vaddr, s.bytes = uint64(h.order.Uint32(table[4:])), uint64(h.order.Uint32(table[8:])), uint64(h.order.Uint32(table[16:]))
		} else {
			s.offset, s.vaddr, s.bytes = h.order.Uint64(table[8:]), h.order.Uint64(table[16:]), h.order.Uint64(table[32:])
		}
		if s.kind == elf.PT_LOAD || s.kind == elf.PT_DYNAMIC || s.kind == elf.PT_INTERP {
			list = append(list, s)
		}
	}
	return list, nil
}

// readAt fills b from the offset.
func readAt(r io.ReaderAt, b []byte, offset uint64) error {
	if offset > math.MaxInt64-uint64(len(b)) {
		return io.ErrUnexpectedEOF
	}
	n, err := r.ReadAt(b, int64(offset))
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readObject reads an ELF file. One that the dynamic linker has nothing to do with has no needs. Any file may be given.
func readObject(r io.ReaderAt) (object, error) {
	h, err := readHeader(r)
	if err != nil {
		return object{}, err
	}
	segments, err := readSegments(r, h)
	if err != nil {
		return object{}, err
	}
	d := dynamic{r: r, header: h, segments: segments, budget: maxELFStrings}
	o := object{machine: h.machine}
	for _, s := range segments {
		switch {
		case s.kind == elf.PT_INTERP && s.bytes > 0 && o.interpreter == "":
			if o.interpreter, err = d.text(s.offset, min(s.bytes, maxInterpreter)); err != nil {
				return object{}, errors.New("the interpreter's name is not in the file")
			}
		case s.kind == elf.PT_DYNAMIC && s.bytes > 0: // a file with debugging symbols only has none
			d.at = &s
		}
	}
	if d.at != nil {
		err = d.read(&o)
	}
	return o, err
}

// dynamic reads the dynamic section.
type dynamic struct {
	r        io.ReaderAt
	header   elfHeader
	segments []segment
	at       *segment
	strings  uint64 // address of the string table
	budget   int    // how many bytes of strings may still be read
	needed   []uint64
	rpath    *uint64
	runpath  *uint64
	soname   *uint64
	flags1   uint64
}

// file returns where in the file an address is, and how much of the segment follows.
func (d *dynamic) file(address uint64) (offset, left uint64, ok bool) {
	for _, s := range d.segments {
		if s.kind == elf.PT_LOAD && address >= s.vaddr && address-s.vaddr < s.bytes {
			skip := address - s.vaddr
			return s.offset + skip, s.bytes - skip, s.offset <= math.MaxInt64-skip
		}
	}
	return 0, 0, false
}

func (d *dynamic) read(o *object) error {
	if err := d.entries(); err != nil {
		return err
	}
	o.noDefaultLib = d.flags1&uint64(elf.DF_1_NODEFLIB) != 0
	var err error
	for _, n := range d.needed {
		name, bad := d.string(n)
		if bad != nil {
			err = bad
			continue
		}
		o.needed = append(o.needed, name)
	}
	for _, p := range []struct {
		offset *uint64
		text   *string
		has    *bool
	}{{d.rpath, &o.rpath, &o.hasRPath}, {d.runpath, &o.runpath, &o.hasRunpath}, {d.soname, &o.soname, new(bool)}} {
		if p.offset != nil {
			text, bad := d.string(*p.offset)
			if bad != nil {
				err = bad
			}
			*p.text, *p.has = text, true
		}
	}
	if err != nil {
		return errors.New("a name of the dynamic section is not in the file, or too long")
	}
	return nil
}

// entries goes through the section as far as its end mark.
func (d *dynamic) entries() error {
	offset, left, ok := d.file(d.at.vaddr)
	if !ok {
		return errors.New("the dynamic section is not in a loaded segment")
	}
	size := 16
	if d.header.class == elf.ELFCLASS32 {
		size = 8
	}
	var block [4096]byte
	for read := uint64(0); read < min(left, maxDynamic); {
		part := block[:min(uint64(len(block)), left-read)]
		n, err := d.r.ReadAt(part, int64(offset+read))
		if n < size {
			if err == nil || err == io.EOF {
				break
			}
			return err
		}
		for part = part[:n]; len(part) >= size; part = part[size:] {
			tag, value := d.entry(part)
			if tag == elf.DT_NULL {
				return nil
			}
			if err := d.take(tag, value); err != nil {
				return err
			}
			read += uint64(size)
		}
	}
	return errors.New("the dynamic section has no end")
}

func (d *dynamic) entry(b []byte) (elf.DynTag, uint64) {
	if d.header.class == elf.ELFCLASS32 {
		return elf.DynTag(int32(d.header.order.Uint32(b))), uint64(d.header.order.Uint32(b[4:]))
	}
	return elf.DynTag(d.header.order.Uint64(b)), d.header.order.Uint64(b[8:])
}

func (d *dynamic) take(tag elf.DynTag, value uint64) error {
	switch tag {
	case elf.DT_STRTAB:
		d.strings = value
	case elf.DT_NEEDED:
		if len(d.needed) == maxNeeded {
			return errors.New("too many needed libraries")
		}
		d.needed = append(d.needed, value)
	case elf.DT_RPATH:
		d.rpath = &value
	case elf.DT_RUNPATH:
		d.runpath = &value
	case elf.DT_SONAME:
		d.soname = &value
	case elf.DT_FLAGS_1:
		d.flags1 = value
	}
	return nil
}

// string returns a string of the string table.
func (d *dynamic) string(index uint64) (string, error) {
	if index > math.MaxUint64-d.strings {
		return "", io.ErrUnexpectedEOF
	}
	offset, left, ok := d.file(d.strings + index)
	if !ok {
		return "", io.ErrUnexpectedEOF
	}
	return d.text(offset, min(left, maxELFString))
}

// text reads up to a NUL, which has to be among the next limit bytes.
func (d *dynamic) text(offset, limit uint64) (string, error) {
	if offset > math.MaxInt64-limit {
		return "", io.ErrUnexpectedEOF
	}
	var text []byte
	var block [256]byte
	for uint64(len(text)) < limit && d.budget > 0 {
		n, err := d.r.ReadAt(block[:min(uint64(len(block)), limit-uint64(len(text)))], int64(offset)+int64(len(text)))
		for i, c := range block[:n] {
			if c == 0 {
				d.budget -= i + 1
				return string(append(text, block[:i]...)), nil
			}
		}
		d.budget -= n
		text = append(text, block[:n]...)
		if err != nil {
			break
		}
	}
	return "", io.ErrUnexpectedEOF
}

// size is about how much memory an object takes.
func (o *object) size() int {
	n := 256 + len(o.interpreter) + len(o.soname) + len(o.rpath) + len(o.runpath)
	for _, name := range o.needed {
		n += 16 + len(name)
	}
	return n
}
