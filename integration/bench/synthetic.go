package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// manifest is the file beside a tree, with its keys in the order in which the store writes them.
type manifest struct {
	ID         artifact.RealizationID `json:"id"`
	Derivation artifact.DerivationID  `json:"derivation"`
	Context    artifact.Context       `json:"context"`
	Tree       artifact.TreeDigest    `json:"tree"`
	Bytes      int64                  `json:"bytes,omitempty"`
	First      artifact.BuildRecord   `json:"first"`
}

// layers is how many layers a synthetic store has; each realization was built with two of the layer before.
const layers = 100

// made is a realization of a synthetic store.
type made struct {
	derivation  artifact.Derivation
	id          artifact.DerivationID
	realization artifact.RealizationID
}

// populate adds n realizations to the store at root, as if each had been built and registered, but without a build and
// without waiting for the disk. Each has a tree of two files. It returns one of the last layer.
func populate(root string, n int) (artifact.RealizationID, error) {
	var before []made
	for layer := range layers {
		now := make([]made, n/layers)
		var next atomic.Int64
		var group errgroup.Group
		for range runtime.GOMAXPROCS(0) {
			group.Go(func() error {
				for i := int(next.Add(1)) - 1; i < len(now); i = int(next.Add(1)) - 1 {
					var err error
					if now[i], err = makeRealization(root, layer, i, before); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return artifact.RealizationID{}, err
		}
		before = now
	}
	return before[0].realization, nil
}

func makeRealization(root string, layer, number int, before []made) (made, error) {
	m := made{derivation: artifact.Derivation{Layout: 2, Name: fmt.Sprintf("synthetic%d-%d", layer, number), Version: "1.0", System: "x86_64-linux",
		Prefix: root, Interpreter: []string{"/bin/sh", "-eu"}, Script: strings.Repeat("make it as it was never made\n", 10), Policy: "blake3:" + strings.Repeat("0", 64)}}
	context := artifact.Context{}
	var links [][2]string
	for i := range min(2, len(before)) {
		dep := &before[(number+i)%len(before)]
		m.derivation.Dependencies = append(m.derivation.Dependencies, artifact.Dependency{ID: dep.id, As: fmt.Sprintf("D%d", i)})
		context[dep.id] = []artifact.RealizationID{dep.realization}
		links = append(links, [2]string{dep.derivation.StoreName(), "../" + dep.realization.String() + "/out"})
	}
	m.id = m.derivation.ID()
	files := map[string]string{"bin/tool": "#!/bin/sh\necho " + m.derivation.Name + "\n", "README": strings.Repeat(m.derivation.Name+"\n", 100)}
	digest, err := digestFiles(files)
	if err != nil {
		return m, err
	}
	m.realization = artifact.NewRealizationID(m.id, context, digest)
	built := time.Unix(1700000000+int64(layer), 0).UTC()
	record := artifact.BuildRecord{Derivation: m.id, Purpose: "build", Mode: "hide", Start: built, End: built.Add(time.Second), Context: context,
		Builder: artifact.Builder{Host: "bench"}, Realization: m.realization, Tree: digest}
	return m, m.write(root, files, links, record)
}

func digestFiles(files map[string]string) (artifact.TreeDigest, error) {
	seen := map[string]bool{}
	var entries []tree.Entry
	for path, content := range files {
		if dir := filepath.Dir(path); dir != "." && !seen[dir] {
			seen[dir] = true
			entries = append(entries, tree.Entry{Path: dir, Kind: tree.Directory})
		}
		entries = append(entries, tree.Entry{Path: path, Kind: tree.File, Size: int64(len(content)), Content: blake3.Sum256([]byte(content))})
	}
	return tree.DigestEntries(entries)
}

// write puts the files of the realization where the store has them.
func (m *made) write(root string, files map[string]string, links [][2]string, record artifact.BuildRecord) error {
	id, realization := m.id.String(), filepath.Join(root, "realizations", m.realization.String())
	out, run := filepath.Join(realization, "out"), filepath.Join(root, "builds", id, "1")
	about := manifest{ID: m.realization, Derivation: m.id, Context: record.Context, Tree: record.Tree, First: record}
	for _, content := range files {
		about.Bytes += int64(len(content))
	}
	derivation, err := json.MarshalIndent(&m.derivation, "", "  ")
	errs := []error{err, os.MkdirAll(out, 0o755), os.MkdirAll(run, 0o755), writeJSON(filepath.Join(realization, "manifest.json"), about),
		writeJSON(filepath.Join(run, "record.json"), record),
		os.WriteFile(filepath.Join(root, "derivations", id+".json"), append(derivation, '\n'), 0o444),
		os.Symlink("../realizations/"+m.realization.String()+"/out", filepath.Join(root, "store", m.derivation.StoreName()))}
	for _, link := range links {
		errs = append(errs, os.Symlink(link[1], filepath.Join(realization, link[0])))
	}
	dirs := map[string]bool{out: true}
	then := time.Unix(1, 0)
	for path, content := range files {
		file := filepath.Join(out, path)
		if dir := filepath.Dir(file); !dirs[dir] {
			dirs[dir] = true
			errs = append(errs, os.Mkdir(dir, 0o755))
		}
		errs = append(errs, os.WriteFile(file, []byte(content), 0o444), os.Chtimes(file, then, then))
	}
	for dir := range dirs {
		errs = append(errs, os.Chtimes(dir, then, then), os.Chmod(dir, 0o555))
	}
	return errors.Join(errs...)
}

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o444)
}
