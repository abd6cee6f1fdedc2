package usage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sort"
	"time"
)

// A segment is, little-endian: magic; CRC-32C of all that follows; the lengths of its five sections; the sections. The first
// is the artifacts: realization and derivation (20 bytes each), time (seconds, 8 bytes), flags (1), name and version (each a
// length as a varint, and bytes). The others are tables: number of keys n; n+1 offsets of keys; n+1 offsets of postings; the
// keys, sorted; the postings, for each key the numbers of artifacts that have it, ascending, as varints of the differences.
const magic = "hdjail usage 1\n\x00"

// The tables of a segment, and what their keys are.
const (
	pathTable    = iota
	packageTable // name, and :architecture
	pinTable     // fields of a Pin, separated by NUL
	unusedTable  // kind, name and further packages of an Unused, separated by NUL
	tables
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errMalformed says that a file is no segment, or a damaged one.
var errMalformed = errors.New("malformed segment")

// segment is an open one. It does not change.
type segment struct {
	artifacts []Artifact
	tables    [tables]table
}

// table is a sorted list of keys with their postings.
type table struct {
	n                  int
	keyAt, postingAt   []byte // offsets
	keyBytes, postings []byte
}

const head = len(magic) + 4 + 8*(1+tables)

func openSegment(data []byte) (*segment, error) {
	if len(data) < head || string(data[:len(magic)]) != magic ||
		binary.LittleEndian.Uint32(data[len(magic):]) != crc32.Checksum(data[len(magic)+4:], castagnoli) {
		return nil, errMalformed
	}
	sections := make([][]byte, 1+tables)
	rest := data[head:]
	for i := range sections {
		length := binary.LittleEndian.Uint64(data[len(magic)+4+8*i:])
		if length > uint64(len(rest)) {
			return nil, errMalformed
		}
		sections[i], rest = rest[:length], rest[length:]
	}
	s := &segment{}
	if !s.readArtifacts(sections[0]) {
		return nil, errMalformed
	}
	for i := range s.tables {
		if !s.tables[i].read(sections[1+i]) {
			return nil, errMalformed
		}
	}
	return s, nil
}

func (s *segment) readArtifacts(data []byte) bool {
	text := func() (string, bool) {
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return "", false
		}
		found := string(data[n : n+int(length)])
		data = data[n+int(length):]
		return found, true
	}
	for len(data) > 0 {
		if len(data) < 49 {
			return false
		}
		var a Artifact
		copy(a.Realization[:], data)
		copy(a.Derivation[:], data[20:])
		a.Built = time.Unix(int64(binary.LittleEndian.Uint64(data[40:])), 0).UTC()
		a.Recorded, a.Complete = data[48]&1 != 0, data[48]&2 != 0
		data = data[49:]
		var ok1, ok2 bool
		a.Name, ok1 = text()
		a.Version, ok2 = text()
		if !ok1 || !ok2 {
			return false
		}
		s.artifacts = append(s.artifacts, a)
	}
	return true
}

func (t *table) read(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	n := int(binary.LittleEndian.Uint32(data))
	offsets := 4 * (n + 1)
	if n < 0 || len(data) < 4+2*offsets {
		return false
	}
	t.n, t.keyAt, t.postingAt = n, data[4:4+offsets], data[4+offsets:4+2*offsets]
	rest := data[4+2*offsets:]
	end := int(at(t.keyAt, n))
	if end > len(rest) || int(at(t.postingAt, n)) != len(rest)-end {
		return false
	}
	t.keyBytes, t.postings = rest[:end], rest[end:]
	for i := range n {
		if at(t.keyAt, i) > at(t.keyAt, i+1) || at(t.postingAt, i) > at(t.postingAt, i+1) {
			return false
		}
	}
	return true
}

func at(offsets []byte, i int) uint32 { return binary.LittleEndian.Uint32(offsets[4*i:]) }

func (t *table) key(i int) string { return string(t.keyBytes[at(t.keyAt, i):at(t.keyAt, i+1)]) }

// search returns the number of the first key that is not less than the text.
func (t *table) search(text string) int {
	return sort.Search(t.n, func(i int) bool { return string(t.keyBytes[at(t.keyAt, i):at(t.keyAt, i+1)]) >= text })
}

// each calls visit with the artifacts of a key; numbers that there are not end it.
func (s *segment) each(t *table, i int, visit func(number int)) {
	data := t.postings[at(t.postingAt, i):at(t.postingAt, i+1)]
	number := uint64(0)
	for len(data) > 0 {
		delta, n := binary.Uvarint(data)
		if n <= 0 || number+delta >= uint64(len(s.artifacts)) || delta > uint64(len(s.artifacts)) {
			return
		}
		number += delta
		visit(int(number))
		data = data[n:]
	}
}
