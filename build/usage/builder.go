package usage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/hostpkgs"
)

// builder puts a segment together. Artifacts are added one after the other, so postings are ascending.
type builder struct {
	artifacts []Artifact
	postings  [tables]map[string][]uint32
}

func newBuilder() *builder {
	b := &builder{}
	for i := range b.postings {
		b.postings[i] = map[string][]uint32{}
	}
	return b
}

func (b *builder) add(f Facts) {
	number := uint32(len(b.artifacts))
	b.artifacts = append(b.artifacts, f.Artifact)
	post := func(table int, key string) {
		list := b.postings[table][key]
		if len(list) == 0 || list[len(list)-1] != number {
			b.postings[table][key] = append(list, number)
		}
	}
	for _, p := range f.Paths {
		post(pathTable, p)
	}
	for _, p := range f.Packages {
		post(packageTable, p)
	}
	for _, p := range f.Pins {
		post(pinTable, joined(p.Name, p.Architecture, p.Version, p.Digest))
	}
	for _, u := range f.Unused {
		post(unusedTable, joined(append([]string{u.Kind, u.Name}, u.With...)...))
	}
}

func joined(fields ...string) string { return strings.Join(fields, "\x00") }

// join adds what another segment has of the artifacts that keep wants.
func (b *builder) join(s *segment, keep func(artifact.RealizationID) bool) {
	numbers := make([]int, len(s.artifacts))
	for i, a := range s.artifacts {
		numbers[i] = -1
		if keep(a.Realization) {
			numbers[i] = len(b.artifacts)
			b.artifacts = append(b.artifacts, a)
		}
	}
	for i := range s.tables {
		t := &s.tables[i]
		for k := range t.n {
			var list []uint32
			s.each(t, k, func(number int) {
				if numbers[number] >= 0 {
					list = append(list, uint32(numbers[number]))
				}
			})
			if len(list) > 0 {
				key := t.key(k)
				b.postings[i][key] = append(b.postings[i][key], list...)
			}
		}
	}
}

var errTooLarge = errors.New("a segment has no room for so much")

func (b *builder) bytes() ([]byte, error) {
	sections := [][]byte{b.artifactBytes()}
	for _, postings := range b.postings {
		section, err := tableBytes(postings)
		if err != nil {
			return nil, err
		}
		sections = append(sections, section)
	}
	data := append([]byte(magic), 0, 0, 0, 0)
	for _, s := range sections {
		data = binary.LittleEndian.AppendUint64(data, uint64(len(s)))
	}
	data = append(data, slices.Concat(sections...)...)
	binary.LittleEndian.PutUint32(data[len(magic):], crc32.Checksum(data[len(magic)+4:], castagnoli))
	return data, nil
}

func (b *builder) artifactBytes() (data []byte) {
	text := func(s string) {
		data = binary.AppendUvarint(data, uint64(len(s)))
		data = append(data, s...)
	}
	for _, a := range b.artifacts {
		data = append(append(data, a.Realization[:]...), a.Derivation[:]...)
		data = binary.LittleEndian.AppendUint64(data, uint64(a.Built.Unix()))
		flags := byte(0)
		if a.Recorded {
			flags |= 1
		}
		if a.Complete {
			flags |= 2
		}
		data = append(data, flags)
		text(a.Name)
		text(a.Version)
	}
	return data
}

func tableBytes(all map[string][]uint32) ([]byte, error) {
	names := slices.Sorted(maps.Keys(all))
	keyAt, postingAt := []byte{}, []byte{}
	var keyBytes, postings []byte
	offset := func() {
		keyAt = binary.LittleEndian.AppendUint32(keyAt, uint32(len(keyBytes)))
		postingAt = binary.LittleEndian.AppendUint32(postingAt, uint32(len(postings)))
	}
	for _, name := range names {
		offset()
		keyBytes = append(keyBytes, name...)
		last := uint32(0)
		for _, number := range all[name] {
			postings = binary.AppendUvarint(postings, uint64(number-last))
			last = number
		}
	}
	offset()
	if len(names) > math.MaxInt32/8 || len(keyBytes) > math.MaxUint32 || len(postings) > math.MaxUint32 {
		return nil, errTooLarge
	}
	data := binary.LittleEndian.AppendUint32(nil, uint32(len(names)))
	return slices.Concat(data, keyAt, postingAt, keyBytes, postings), nil
}

// unusedOf is the entry that a key of the table stands for.
func unusedOf(key string) learn.Unused {
	fields := strings.Split(key, "\x00")
	u := learn.Unused{Kind: fields[0]}
	if len(fields) > 1 {
		u.Name = fields[1]
	}
	if len(fields) > 2 {
		u.With = fields[2:]
	}
	return u
}

// pinOf is the pin that a key of the table stands for.
func pinOf(key string) (p hostpkgs.Pin, ok bool) {
	fields := strings.Split(key, "\x00")
	if len(fields) != 4 {
		return p, false
	}
	return hostpkgs.Pin{Name: fields[0], Architecture: fields[1], Version: fields[2], Digest: fields[3]}, true
}
