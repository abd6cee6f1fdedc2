package pack

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"hdjail/artifact"
)

// FuzzTake reads foreign bytes as an archive, without compression, so that they come far. They are taken whole, and then
// every realization is what it says, or leave nothing.
func FuzzTake(f *testing.F) {
	archive := honest(f)
	f.Add(plain(f, parts(f, archive)))
	for _, test := range hostile {
		if data := plain(f, test.change(f, parts(f, archive))); len(data) < 64<<10 {
			f.Add(data)
		}
	}
	s := newStore(f, prefix)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := contents(t, s)
		_, err := take(t.Context(), s, newArchive(&meter{r: bytes.NewReader(data), allowed: 1 << 20}))
		if err != nil {
			if after := contents(t, s); !slices.Equal(after, before) {
				t.Errorf("%v, but there is %q", err, after)
			}
			return
		}
		verify(t, s)
	})
}

// FuzzHeader: what is accepted as a header is written the same way.
func FuzzHeader(f *testing.F) {
	f.Add(find(f, parts(f, honest(f)), headerName).content)
	f.Add([]byte(`{"hdjail_archive": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := decodeHeader(data)
		if err != nil {
			return
		}
		again, err := encode(h)
		if err != nil || !bytes.Equal(again, data) || !json.Valid(data) {
			t.Errorf("%q, %v", again, err)
		}
	})
}

// FuzzManifest: what is accepted as a manifest has an identity that does not depend on how it was written.
func FuzzManifest(f *testing.F) {
	f.Add(find(f, parts(f, honest(f)), manifestName).content)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Manifest
		if decode(manifestName, data, &m) != nil {
			return
		}
		var again Manifest
		if err := json.Unmarshal(data, &again); err != nil ||
			artifact.NewRealizationID(m.Derivation, m.Context, m.Tree) != artifact.NewRealizationID(again.Derivation, again.Context, again.Tree) {
			t.Errorf("%v", err)
		}
	})
}
