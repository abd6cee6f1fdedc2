package usage

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/hostpkgs"
)

func small(t testing.TB) []byte {
	t.Helper()
	b := newBuilder()
	b.add(Facts{Artifact: Artifact{Realization: artifact.RealizationID{1}, Name: "a", Version: "1", Built: time.Unix(5, 0), Recorded: true},
		Paths: []string{"/a", "/b"}, Packages: []string{"p:amd64"}, Pins: []hostpkgs.Pin{pin("p", "amd64", "1", "d")}, Unused: []learn.Unused{{Kind: "package", Name: "u", With: []string{"v"}}}})
	b.add(Facts{Artifact: Artifact{Realization: artifact.RealizationID{2}, Name: "b"}, Paths: []string{"/b"}})
	data, err := b.bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzSegment: a file that was made up, with a checksum that fits, is refused or answers something; it never breaks.
func FuzzSegment(f *testing.F) {
	f.Add(small(f))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= head {
			copy(data, magic)
			binary.LittleEndian.PutUint32(data[len(magic):], crc32.Checksum(data[len(magic)+4:], castagnoli))
		}
		s, err := openSegment(data)
		if err != nil {
			return
		}
		x := &Index{segments: []*segment{s}, home: map[artifact.RealizationID]*segment{}}
		for _, a := range s.artifacts {
			x.home[a.Realization] = s
		}
		x.Readers([]string{"/", "/b"}, time.Time{})
		x.PackageReaders("p", time.Time{})
		x.Idle()
		b := newBuilder()
		b.join(s, func(artifact.RealizationID) bool { return true })
		again, err := b.bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openSegment(again); err != nil && len(s.artifacts) > 0 {
			t.Fatalf("what was joined cannot be opened: %v", err)
		}
	})
}

// TestSegment: what goes in comes out.
func TestSegment(t *testing.T) {
	s, err := openSegment(small(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.artifacts) != 2 || s.artifacts[0].Name != "a" || !s.artifacts[0].Recorded || s.artifacts[1].Recorded || s.tables[pathTable].n != 2 {
		t.Errorf("%+v", s)
	}
	if u := unusedOf(s.tables[unusedTable].key(0)); u.Name != "u" || len(u.With) != 1 {
		t.Errorf("%+v", u)
	}
	if p, ok := pinOf(s.tables[pinTable].key(0)); !ok || p != pin("p", "amd64", "1", "d") {
		t.Errorf("%+v", p)
	}
	if _, ok := pinOf("p"); ok {
		t.Error("half a pin is one")
	}
}

func pin(name, architecture, version, digest string) hostpkgs.Pin {
	return hostpkgs.Pin{Name: name, Architecture: architecture, Version: version, Digest: digest}
}
