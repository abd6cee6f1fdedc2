package hostpkgs

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"hdjail/hostpkgs/index"
	"hdjail/hostpkgs/rootpath"
)

// keptIndexes is how many indexes stay in Dir: hosts with different packages may share it.
const keptIndexes = 4

// indexed is the index of one state of the host, "" for none yet.
type indexed struct {
	key   string
	index *index.Index
}

// Index returns the index of who owns which path, of the host as it is now. It is kept in Dir, and built anew when
// packages or alternatives have changed; where Dir cannot be written, only in memory.
func (h *Host) Index(ctx context.Context) (*index.Index, error) {
	if err := h.indexing.take(ctx); err != nil {
		return nil, err
	}
	defer h.indexing.giveBack()
	key, err := h.indexKey(ctx)
	if err != nil || key == h.owners.key {
		return h.owners.index, err
	}
	file := filepath.Join(h.cfg.Dir, "owners", hashOf(key))
	if data, err := os.ReadFile(file); err == nil {
		if x, err := index.Open(data, key); err == nil { // anything else is a cache to be replaced
			h.owners = indexed{key, x}
			return x, nil
		}
	}
	data, err := h.buildIndex(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("index the files of host packages: %w", err)
	}
	x, err := index.Open(data, key)
	if err != nil {
		return nil, err
	}
	// What was installed meanwhile is in part of it: good enough for now, not to be found again.
	if now, err := h.indexKey(ctx); err == nil && now == key {
		h.owners = indexed{key, x}
		keepIndex(file, data)
	}
	return x, nil
}

// indexKey describes all that an index depends on.
func (h *Host) indexKey(ctx context.Context) (string, error) {
	database, err := h.cfg.Database.Fingerprint(ctx)
	return fmt.Sprint(database, h.stamps(linkWatch), madeFiles), err
}

// keepIndex writes an index and removes old ones. Not being able to is no error of whoever wanted to know an owner.
func keepIndex(file string, data []byte) {
	dir := filepath.Dir(file)
	_ = os.Mkdir(dir, 0o755)
	if writeFile(file, data) != nil || os.Chmod(file, 0o644) != nil {
		return
	}
	entries, _ := os.ReadDir(dir)
	ages := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			ages[e.Name()] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(ages[b.Name()], ages[a.Name()]) })
	for _, e := range entries[min(keptIndexes, len(entries)):] {
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
}

// Owners returns for each path of the host, absolute, the packages that own it; see index.Index.Owners. Links in folders
// that are no package's, which the index does not know, are looked up on the host.
func (h *Host) Owners(ctx context.Context, paths []string) ([][]index.Owner, error) {
	for _, name := range paths {
		if !path.IsAbs(name) {
			return nil, fmt.Errorf("find owner of %q: not an absolute path", name)
		}
	}
	x, err := h.Index(ctx)
	if err != nil {
		return nil, err
	}
	names := rootpath.OnHost(h.cfg.Root)
	all := make([][]index.Owner, len(paths))
	for i, name := range paths {
		if all[i] = x.Owners(name); len(all[i]) > 0 {
			continue
		}
		if chain := names.Chain(name); len(chain) > 1 {
			all[i] = x.Owners(chain[len(chain)-1])
		}
	}
	return all, nil
}

// Owner returns the installed package that owns a path of the host, named as Pin takes it, and whether there is one; of
// several the first by name. A link that no package owns, like one of update-alternatives, belongs to the package that
// owns what it points to. The answer is remembered while the database and the path are what they were.
func (h *Host) Owner(ctx context.Context, name string) (string, bool, error) {
	database, err := h.cfg.Database.Fingerprint(ctx)
	if err != nil {
		return "", false, err
	}
	// Reading an index takes longer than starting a build does otherwise.
	file := h.cacheFile(hashOf("owner", name))
	var known ownerEntry
	if load(file, &known) && known.Path == name && known.Database == database && known.Stamp == h.stamp(name) {
		return known.Name, known.Owned, nil
	}
	known = ownerEntry{Path: name, Database: database, Stamp: h.stamp(name)}
	all, err := h.Owners(ctx, []string{name})
	if err != nil {
		return "", false, err
	}
	if known.Owned = len(all[0]) > 0; known.Owned {
		known.Name = all[0][0].Package
	}
	if known.Owned { // so what is remembered is bounded by what packages own, whoever asks
		_ = save(file, known) // not being able to is no error of whoever asked
	}
	return known.Name, known.Owned, nil
}
