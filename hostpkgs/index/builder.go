package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"path"
	"slices"
)

// Builder collects what an index knows. Paths are absolute and clean, and none of their folders is a link. It is used
// from one goroutine at a time.
type Builder struct {
	meta    meta
	folders [][]record
	byPath  map[string]uint32 // folders
	names   []byte
	at      map[string]uint32 // of each name, where it is in names
	sets    map[string]uint32
}

// record is one thing that is known of a name in a folder. Of a package that owns it, owner is the number and one more.
type record struct {
	name   uint32
	length uint16
	kind   uint16
	owner  uint32
	ref    uint32
}

// NewBuilder returns a Builder that knows nothing.
func NewBuilder() *Builder {
	return &Builder{folders: make([][]record, 1), byPath: map[string]uint32{"/": 0}, at: map[string]uint32{},
		meta: meta{Sets: [][]uint32{{}}}, sets: map[string]uint32{"": 0}}
}

// Package adds a package and returns its number. They are added in the order in which owners of one path are reported.
func (b *Builder) Package(p Package) int {
	b.meta.Packages = append(b.meta.Packages, p)
	return len(b.meta.Packages) - 1
}

// Own adds that a package, by its number, lists a path.
func (b *Builder) Own(number int, name string) {
	b.add(name, record{kind: isFile, owner: uint32(number) + 1})
}

// Link adds that a path is a symbolic link.
func (b *Builder) Link(name, target string) {
	ref := uint32(len(b.names))
	b.names = binary.AppendUvarint(b.names, uint64(len(target)))
	b.names = append(b.names, target...)
	b.add(name, record{kind: isLink, ref: ref})
}

// Folder adds that a path is a folder, if a package lists it. Folders that hold something are known to be ones.
func (b *Builder) Folder(name string) {
	if _, known := b.byPath[name]; !known {
		b.add(name, record{kind: isFolder, ref: noFolder})
	}
}

// Folders returns the paths of the folders that hold something, in no order.
func (b *Builder) Folders() []string {
	list := make([]string, 0, len(b.byPath))
	for name := range b.byPath {
		list = append(list, name)
	}
	return list
}

func (b *Builder) add(name string, r record) {
	dir, base := path.Split(name)
	if base == "" || len(base) > math.MaxUint16 {
		return
	}
	folder := b.folder(path.Clean(dir))
	at, ok := b.at[base]
	if !ok {
		at = uint32(len(b.names))
		b.names = append(b.names, base...)
		b.at[string(b.names[at:])] = at // a copy: the caller's may be a part of something big
	}
	r.name, r.length = at, uint16(len(base))
	b.folders[folder] = append(b.folders[folder], r)
}

func (b *Builder) folder(name string) uint32 {
	if number, ok := b.byPath[name]; ok {
		return number
	}
	number := uint32(len(b.folders))
	b.folders = append(b.folders, nil)
	b.byPath[name] = number
	b.add(name, record{kind: isFolder, ref: number})
	return number
}

// Bytes returns the index, for Open with the same key. Call it once, at the end.
func (b *Builder) Bytes(key string) ([]byte, error) {
	var folders, entries []byte
	count := uint32(0)
	for _, records := range b.folders {
		folders = binary.LittleEndian.AppendUint32(folders, count)
		slices.SortFunc(records, func(x, y record) int {
			return cmp.Or(bytes.Compare(b.name(x), b.name(y)), cmp.Compare(x.owner, y.owner))
		})
		for len(records) > 0 {
			n := 1
			for n < len(records) && records[n].name == records[0].name {
				n++
			}
			if e := b.merge(records[:n]); e.kind != isUnknown {
				entries = appendEntry(entries, records[0], e)
				count++
			}
			records = records[n:]
		}
	}
	folders = binary.LittleEndian.AppendUint32(folders, count)
	b.meta.Key = key
	described, err := json.Marshal(b.meta)
	if err != nil {
		return nil, fmt.Errorf("build index of owners: %w", err)
	}
	data := append(make([]byte, 0, headerSize+len(described)+len(folders)+len(entries)+len(b.names)), magic...)
	for _, n := range []int{0, len(described), len(b.folders), int(count)} {
		data = binary.LittleEndian.AppendUint32(data, uint32(n))
	}
	for _, part := range [][]byte{described, folders, entries, b.names} {
		data = append(data, part...)
	}
	binary.LittleEndian.PutUint32(data[len(magic):], crc32.Checksum(data[len(magic)+4:], castagnoli))
	return data, nil
}

func (b *Builder) name(r record) []byte { return b.names[r.name : r.name+uint32(r.length)] }

// merge makes one entry of all that is known of a name. The records of a path are sorted by owner. Nothing is to be kept
// of an empty folder that nobody owns.
func (b *Builder) merge(records []record) entry {
	e := entry{kind: isUnknown}
	var owners []uint32
	for _, r := range records {
		if r.owner > 0 && (len(owners) == 0 || owners[len(owners)-1] != r.owner-1) {
			owners = append(owners, r.owner-1)
		}
		if r.kind > e.kind || r.kind == isFolder && e.ref == noFolder {
			e.kind, e.ref = r.kind, r.ref
		}
	}
	if e.kind == isFolder && e.ref == noFolder && len(owners) == 0 {
		return entry{}
	}
	if e.kind == isFolder && len(owners) > 1 {
		owners = nil
	}
	e.owners = b.set(owners)
	return e
}

// set returns the number of a set of owners.
func (b *Builder) set(owners []uint32) uint32 {
	var key []byte
	for _, owner := range owners {
		key = binary.LittleEndian.AppendUint32(key, owner)
	}
	number, ok := b.sets[string(key)]
	if !ok {
		number = uint32(len(b.meta.Sets))
		b.meta.Sets, b.sets[string(key)] = append(b.meta.Sets, owners), number
	}
	return number
}

func appendEntry(to []byte, name record, e entry) []byte {
	to = binary.LittleEndian.AppendUint32(to, name.name)
	to = binary.LittleEndian.AppendUint16(to, name.length)
	to = binary.LittleEndian.AppendUint16(to, e.kind)
	to = binary.LittleEndian.AppendUint32(to, e.owners)
	return binary.LittleEndian.AppendUint32(to, e.ref)
}
