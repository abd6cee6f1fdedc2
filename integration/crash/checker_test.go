package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"hdjail/artifact"
	"hdjail/artifact/tree"
)

// checker walks a store by its layout and collects what is wrong with it.
type checker struct {
	root string
	// settled tells that a command has ended since the last crash: nothing temporary may be left, and nothing half done.
	settled bool
	// linkless tells that the file system has no hard links. There a lock may be left without content, for an hour.
	linkless bool
	// digested are the realizations whose trees were found right by an earlier check of this store, which saves time.
	digested map[string]bool

	wrong        []string
	derivations  map[string]*artifact.Derivation
	realizations map[string]*found
}

// found is a realization, as its directory tells.
type found struct {
	Manifest struct {
		ID         artifact.RealizationID `json:"id"`
		Derivation artifact.DerivationID  `json:"derivation"`
		Context    artifact.Context       `json:"context"`
		Tree       artifact.TreeDigest    `json:"tree"`
	}
	records int
}

// check returns what is wrong with the store.
func (c *checker) check() []string {
	c.wrong, c.derivations, c.realizations = nil, map[string]*artifact.Derivation{}, map[string]*found{}
	c.each("derivations", c.derivation)
	c.each("realizations", c.realization)
	c.each("builds", c.records)
	c.each("store", c.public)
	c.each("profiles", c.profile)
	for id, r := range c.realizations {
		c.relations(id, r)
	}
	if c.settled {
		for _, dir := range []string{"tmp", "locks", "sources/partial", "host/tmp"} {
			c.each(dir, c.left)
		}
	}
	return c.wrong
}

func (c *checker) left(path string) {
	info, err := os.Lstat(path)
	if c.linkless && filepath.Base(filepath.Dir(path)) == "locks" && err == nil && info.Size() == 0 {
		return
	}
	c.complain("%s is left (%v)", path, err)
}

func (c *checker) complain(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) each(dir string, look func(path string)) {
	entries, err := os.ReadDir(filepath.Join(c.root, dir))
	if err != nil && (c.settled || !os.IsNotExist(err)) && dir != "host/tmp" {
		c.complain("%v", err)
	}
	for _, e := range entries {
		look(filepath.Join(c.root, dir, e.Name()))
	}
}

func (c *checker) read(path string, into any) bool {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		c.complain("%s: %v", path, err)
	}
	return err == nil
}

func (c *checker) derivation(path string) {
	d := new(artifact.Derivation)
	if !c.read(path, d) {
		return
	}
	if d.ID().String()+".json" != filepath.Base(path) {
		c.complain("%s has the content of %s", path, d.ID())
	}
	c.derivations[d.ID().String()] = d
}

func (c *checker) realization(path string) {
	r, name := new(found), filepath.Base(path)
	if !c.read(path+"/manifest.json", &r.Manifest) {
		return
	}
	c.realizations[name] = r
	m := r.Manifest
	if m.ID.String() != name || artifact.NewRealizationID(m.Derivation, m.Context, m.Tree) != m.ID {
		c.complain("%s: the manifest has another identity", path)
	}
	c.decompress(path + "/audit.jsonl.zst")
	if log := c.decompress(path + "/log.zst"); log != "built\n" { // which is what each script says
		c.complain("%s: the log is %q", path, log)
	}
	if c.digested[name] {
		return
	}
	digest, err := tree.DigestPath(context.Background(), path+"/out")
	if err != nil || digest != m.Tree {
		c.complain("%s: the tree has the digest %s (%v)", path, digest, err)
	} else if c.digested != nil {
		c.digested[name] = true
	}
}

func (c *checker) decompress(path string) string {
	f, err := os.Open(path)
	if err != nil {
		c.complain("%v", err)
		return ""
	}
	defer f.Close()
	decoder, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		c.complain("%s: %v", path, err)
		return ""
	}
	defer decoder.Close()
	text, err := io.ReadAll(decoder)
	if err != nil {
		c.complain("%s: %v", path, err)
	}
	return string(text)
}

// records looks at the records of one derivation.
func (c *checker) records(path string) {
	name := filepath.Base(path)
	if strings.HasPrefix(name, "last") { // a hint only
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		c.complain("%v", err)
	}
	for _, e := range entries {
		var r artifact.BuildRecord
		if !c.read(filepath.Join(path, e.Name(), "record.json"), &r) {
			continue
		}
		if r.Derivation.String() != name {
			c.complain("%s/%s is of %s", path, e.Name(), r.Derivation)
		}
		if r.Failure != "" {
			continue
		}
		if r.Realization != artifact.NewRealizationID(r.Derivation, r.Context, r.Tree) {
			c.complain("%s/%s: its realization does not follow", path, e.Name())
		}
		if f := c.realizations[r.Realization.String()]; f == nil {
			c.complain("%s/%s: its realization %s is gone", path, e.Name(), r.Realization)
		} else {
			f.records++
		}
	}
}

// public looks at a public path.
func (c *checker) public(path string) {
	target, err := os.Readlink(path)
	rid := filepath.Base(filepath.Dir(target))
	r := c.realizations[rid]
	if err != nil || r == nil || target != "../realizations/"+rid+"/out" {
		c.complain("%s leads to %q (%v)", path, target, err)
		return
	}
	if d := c.derivations[r.Manifest.Derivation.String()]; d == nil || d.StoreName() != filepath.Base(path) {
		c.complain("%s leads to a realization of %s", path, r.Manifest.Derivation)
	}
}

// relations looks at what belongs to a realization.
func (c *checker) relations(id string, r *found) {
	d := c.derivations[r.Manifest.Derivation.String()]
	if d == nil {
		c.complain("realization %s: its derivation is gone", id)
		return
	}
	if len(r.Manifest.Context) != len(d.Dependencies) {
		c.complain("realization %s: its context has %d dependencies, not %d", id, len(r.Manifest.Context), len(d.Dependencies))
	}
	for dep, chosen := range r.Manifest.Context {
		for _, rid := range chosen {
			if other := c.realizations[rid.String()]; other == nil || other.Manifest.Derivation != dep {
				c.complain("realization %s: %s of its context is not there", id, rid)
			}
		}
	}
	if !c.settled {
		return
	}
	if r.records == 0 {
		c.complain("realization %s has no record", id)
	}
	if _, err := os.Lstat(filepath.Join(c.root, "store", d.StoreName())); err != nil {
		c.complain("realization %s: %v", id, err)
	}
}

// profile looks at all generations of a profile: each link leads somewhere.
func (c *checker) profile(path string) {
	if _, err := os.Lstat(path + "/current"); err == nil { // else its first generation was not finished
		if _, err := os.Stat(path + "/current/"); err != nil {
			c.complain("%v", err)
		}
	}
	generations, _ := filepath.Glob(path + "/generations/[0-9]*")
	for _, generation := range generations {
		var g struct{ Number int }
		if c.read(generation+"/generation.json", &g) && fmt.Sprint(g.Number) != filepath.Base(generation) {
			c.complain("%s is generation %d", generation, g.Number)
		}
		err := filepath.WalkDir(generation+"/tree", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type() == fs.ModeSymlink {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			c.complain("%v", err)
		}
	}
}
