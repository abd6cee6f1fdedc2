package gc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/store"
)

// synthetic is how many realizations BenchmarkPreview has; kept names a directory for them that stays.
var (
	synthetic = flag.Int("realizations", 100_000, "how many realizations the store of BenchmarkPreview has")
	kept      = flag.String("synthetic", "", "make the store of BenchmarkPreview in `DIR`, unless it is there, and leave it")
)

// BenchmarkPreview is a dry run in a store with many realizations, of which pins keep none, half or all.
func BenchmarkPreview(b *testing.B) {
	s := synthesize(b, *synthetic)
	for _, share := range []int{0, 50, 100} {
		b.Run(fmt.Sprint(share, "%kept"), func(b *testing.B) {
			ids, err := s.RealizationIDs()
			must(b, err)
			var roots []store.Root
			for _, id := range ids[:len(ids)*share/100] {
				roots = append(roots, store.Root{Kind: "profile", Realization: id})
			}
			for b.Loop() {
				plan, err := Preview(context.Background(), s, all, func() ([]store.Root, error) { return roots, nil })
				must(b, err)
				b.ReportMetric(float64(len(plan.Steps)), "steps")
			}
		})
	}
}

// layer is how many builds of a synthetic graph do not depend on one another; each uses two of the layer before.
const layer = 1000

// synthesize writes a store of n realizations with small trees, each of a derivation of its own with a closure of 40 host
// packages: as registrations would, but without their syncs.
func synthesize(b *testing.B, n int) *store.Store {
	root := *kept
	if root == "" {
		root = filepath.Join(openStore(b).Root())
	}
	s, err := store.Open(root, store.Options{})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	if found, err := s.RealizationIDs(); err == nil && len(found) == n {
		return s
	}
	type made struct {
		d artifact.DerivationID
		r artifact.RealizationID
	}
	var before []made
	for first := 0; first < n; first += layer {
		now := make([]made, min(layer, n-first))
		var group errgroup.Group
		group.SetLimit(4)
		for i := range now {
			group.Go(func() error {
				d, c := sample(fmt.Sprint("synthetic", first+i)), artifact.Context{}
				for k := range min(2, len(before)) {
					dep := before[(i+k)%len(before)]
					c[dep.d] = []artifact.RealizationID{dep.r}
					d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: dep.d})
				}
				var err error
				now[i].r, err = plant(s.Root(), d, c, first+i)
				now[i].d = d.ID()
				return err
			})
		}
		must(b, group.Wait())
		before = now
	}
	return s
}

// plant writes what a registration of d leaves.
func plant(root string, d *artifact.Derivation, c artifact.Context, number int) (artifact.RealizationID, error) {
	for i := range 40 {
		p := artifact.HostPackage{Name: fmt.Sprint("package", i), Architecture: "amd64", Version: "1.2.3-4+deb12u1"}
		binary.LittleEndian.PutUint64(p.Digest[:], uint64(i))
		d.HostPackages = append(d.HostPackages, p)
	}
	var digest artifact.TreeDigest
	binary.LittleEndian.PutUint64(digest[:], uint64(number))
	id := artifact.NewRealizationID(d.ID(), c, digest)
	record := artifact.BuildRecord{Derivation: d.ID(), Purpose: "build", Mode: "hide", Start: time.Unix(1_700_000_000, 0), End: time.Unix(1_700_000_100, 0),
		Context: c, Realization: id, Tree: digest, Limits: map[string]float64{"pids": 4096, "wall": 86400e9}}
	manifest := struct {
		ID         artifact.RealizationID `json:"id"`
		Derivation artifact.DerivationID  `json:"derivation"`
		Context    artifact.Context       `json:"context"`
		Tree       artifact.TreeDigest    `json:"tree"`
		Bytes      int64                  `json:"bytes"`
		First      artifact.BuildRecord   `json:"first"`
	}{id, d.ID(), c, digest, 12345, record}
	derivation, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return id, err
	}
	write := func(value any, elem ...string) {
		data, isBytes := value.([]byte)
		if !isBytes && err == nil {
			data, err = json.Marshal(value)
		}
		file := filepath.Join(append([]string{root}, elem...)...)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(file), 0o755)
		}
		if err == nil {
			err = os.WriteFile(file, data, 0o444)
		}
	}
	write(derivation, "derivations", d.ID().String()+".json")
	write(manifest, "realizations", id.String(), "manifest.json")
	write([]byte("content"), "realizations", id.String(), "out", "f")
	write(record, "builds", d.ID().String(), "1", "record.json")
	if err == nil {
		err = os.Symlink("../realizations/"+id.String()+"/out", filepath.Join(root, "store", d.StoreName()))
	}
	return id, err
}
