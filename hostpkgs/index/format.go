package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"
)

// The file is a header, the rest of meta as JSON, a table of folders, a table of entries, and the bytes of names. Numbers
// are little-endian and of 32 bits where nothing else is said.
//
//	header   magic; CRC-32C of all that follows it; length of meta; number of folders; number of entries
//	folder   number of its first entry; there is one folder more than there are, so that each ends where the next begins.
//	         Folder 0 is the root
//	entry    where its name begins; its length (16 bits); its kind (16 bits); number of its set of owners; of a folder its
//	         number, of a link where its target begins: a length as a varint, then the bytes. Those of a folder are sorted
const (
	magic      = "hdjail owners 1\n"
	headerSize = len(magic) + 4*4
	folderSize = 4
	entrySize  = 16
)

// meta is what is read whole. Sets holds the different sets of owners, as numbers of packages.
type meta struct {
	Key      string     `json:"key"`
	Packages []Package  `json:"packages"`
	Sets     [][]uint32 `json:"sets"`
}

// Kinds of entries.
const (
	isUnknown uint16 = iota
	isFile
	isLink
	isFolder
)

// entry is a name in a folder. A folder with nothing in it that is known refers to no table: its ref is noFolder.
type entry struct {
	kind   uint16
	owners uint32
	ref    uint32
}

const noFolder = ^uint32(0)

// errKey says that an index is of another state of the host.
var errKey = errors.New("of another state of the host")

// errMalformed says that a file is no index.
var errMalformed = errors.New("malformed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open returns the index in data, which it keeps: the caller does not write to it again. What is malformed, or was built
// with another key, gives an error.
func Open(data []byte, key string) (*Index, error) {
	if len(data) < headerSize || string(data[:len(magic)]) != magic {
		return nil, fmt.Errorf("open index of owners: %w", errMalformed)
	}
	number := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(data[len(magic)+4*i:])) }
	metaEnd := uint64(headerSize) + number(1)
	foldersEnd := metaEnd + (number(2)+1)*folderSize
	entriesEnd := foldersEnd + number(3)*entrySize
	if entriesEnd > uint64(len(data)) || uint64(crc32.Checksum(data[len(magic)+4:], castagnoli)) != number(0) {
		return nil, fmt.Errorf("open index of owners: %w", errMalformed)
	}
	var m meta
	if err := json.Unmarshal(data[headerSize:metaEnd], &m); err != nil {
		return nil, fmt.Errorf("open index of owners: %w", err)
	}
	if m.Key != key {
		return nil, fmt.Errorf("open index of owners: %w", errKey)
	}
	x := &Index{packages: m.Packages, folders: data[metaEnd:foldersEnd], entries: data[foldersEnd:entriesEnd], names: data[entriesEnd:]}
	for _, set := range m.Sets {
		var owners []Owner
		for _, p := range set {
			if uint64(p) >= uint64(len(m.Packages)) {
				return nil, fmt.Errorf("open index of owners: %w", errMalformed)
			}
			owners = append(owners, m.Packages[p].Owner)
		}
		x.owners = append(x.owners, owners)
	}
	x.collect()
	return x, nil
}

// child finds a name in a folder. What is out of bounds, in a file that was made up, does not exist.
func (x *Index) child(folder uint32, name string) (entry, bool) {
	at := uint64(folder) * folderSize
	if at+2*folderSize > uint64(len(x.folders)) {
		return entry{}, false
	}
	first := binary.LittleEndian.Uint32(x.folders[at:])
	end := min(binary.LittleEndian.Uint32(x.folders[at+folderSize:]), uint32(len(x.entries)/entrySize))
	if first >= end {
		return entry{}, false
	}
	wanted := []byte(name)
	i, found := sort.Find(int(end-first), func(i int) int { return bytes.Compare(wanted, x.name(first+uint32(i))) })
	if !found {
		return entry{}, false
	}
	record := x.record(first + uint32(i))
	return entry{
		kind:   binary.LittleEndian.Uint16(record[6:]),
		owners: binary.LittleEndian.Uint32(record[8:]),
		ref:    binary.LittleEndian.Uint32(record[12:]),
	}, true
}

func (x *Index) record(i uint32) []byte { return x.entries[int(i)*entrySize : int(i+1)*entrySize] }

func (x *Index) name(i uint32) []byte {
	record := x.record(i)
	at, length := uint64(binary.LittleEndian.Uint32(record)), uint64(binary.LittleEndian.Uint16(record[4:]))
	return x.bytes(at, length)
}

func (x *Index) bytes(at, length uint64) []byte {
	if at > uint64(len(x.names)) || length > uint64(len(x.names))-at {
		return nil
	}
	return x.names[at : at+length]
}

// target returns where a link points to.
func (x *Index) target(link entry) string {
	if uint64(link.ref) >= uint64(len(x.names)) {
		return ""
	}
	length, n := binary.Uvarint(x.names[link.ref:])
	if n <= 0 {
		return ""
	}
	return string(x.bytes(uint64(link.ref)+uint64(n), length))
}

func (x *Index) ownersOf(e entry) []Owner {
	if uint64(e.owners) >= uint64(len(x.owners)) {
		return nil
	}
	return x.owners[e.owners]
}
