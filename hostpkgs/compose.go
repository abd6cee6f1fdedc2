package hostpkgs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"hdjail/hostpkgs/rootpath"
	"hdjail/hostpkgs/tree"
)

// generated are the files of /etc that every tree has instead of the host's. The users are those of the jail.
var generated = map[string]string{
	"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" +
		"build:x:1000:1000:build:/tmp/home:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"/etc/group":         "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n",
}

// neverShown are files that tell one host from another.
var neverShown = []string{"/etc/machine-id", "/etc/resolv.conf"}

// LostSnapshotError reports a pinned package whose snapshot was removed and that the host does not have any more in that
// state. Found is the digest of what it has instead, "" if the package is not installed in that version.
type LostSnapshotError struct {
	Pinned Pinned
	Found  string
}

// Error implements error.
func (e *LostSnapshotError) Error() string {
	has := "the host has it no more"
	if e.Found != "" {
		has = "the host now has " + e.Found
	}
	return fmt.Sprintf("compose host package %q: snapshot %s of version %s is gone and %s", e.Pinned.Name, e.Pinned.Digest, e.Pinned.Version, has)
}

// Compose returns the tree that shows pins, a result of Pin, and nothing else of the host; it makes it if there is none.
// The tree has the generated files of /etc and every mountpoint. It depends on its arguments alone. A snapshot that was
// removed is taken again; if that gives another digest, the error is *LostSnapshotError. A mountpoint that is in the way
// of a package's file gives *tree.MountpointError. No pins give a tree with the generated /etc and the mountpoints.
func (h *Host) Compose(ctx context.Context, pins []Pinned, mountpoints []Mountpoint) (Tree, error) {
	if i := slices.IndexFunc(pins, func(p Pinned) bool { return !isDigest(p.Digest) }); i >= 0 {
		return Tree{}, fmt.Errorf("compose host package %q: malformed digest %q", pins[i].Name, pins[i].Digest)
	}
	path := filepath.Join(h.cfg.Dir, "trees", treeKey(pins, mountpoints))
	if found, err := openTree(path); !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	if err := h.busy.take(ctx); err != nil {
		return Tree{}, err
	}
	defer h.busy.giveBack()
	if found, err := openTree(path); !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	s, err := h.newScratch()
	if err != nil {
		return Tree{}, fmt.Errorf("compose host packages: %w", err)
	}
	defer s.remove()
	if err := h.restore(ctx, pins, s.path); err != nil {
		return Tree{}, err
	}
	plan, err := h.planTree(pins, mountpoints)
	if err != nil {
		return Tree{}, err
	}
	dst := filepath.Join(s.path, "tree")
	for _, step := range []func() error{
		func() error { return plan.Write(dst) }, h.sync, func() error { return publish(dst, path) },
	} {
		if err := step(); err != nil {
			return Tree{}, fmt.Errorf("compose host packages: %w", err)
		}
	}
	return openTree(path)
}

func treeKey(pins []Pinned, mountpoints []Mountpoint) string {
	var texts []string
	for _, p := range pins {
		texts = append(texts, p.Digest)
	}
	points := slices.Clone(mountpoints)
	slices.SortFunc(points, func(a, b Mountpoint) int { return tree.ComparePaths(a.Path, b.Path) })
	for _, m := range slices.Compact(points) {
		texts = append(texts, strconv.FormatBool(m.Dir), m.Path)
	}
	return hashOf(texts...)
}

// openTree describes a finished tree; an error for which errors.Is(err, fs.ErrNotExist) holds says that there is none.
func openTree(dir string) (Tree, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Tree{}, fmt.Errorf("open composed tree: %w", err)
	}
	t := Tree{Path: dir}
	for _, e := range entries {
		top := TopEntry{Name: e.Name(), IsDir: e.IsDir()}
		if e.Type() == fs.ModeSymlink {
			if top.Link, err = os.Readlink(filepath.Join(dir, e.Name())); err != nil {
				return Tree{}, fmt.Errorf("open composed tree: %w", err)
			}
		}
		t.Top = append(t.Top, top)
	}
	return t, nil
}

// planTree decides what a tree holds.
func (h *Host) planTree(pins []Pinned, mountpoints []Mountpoint) (tree.Plan, error) {
	p := tree.Plan{}
	for _, pin := range pins {
		if err := p.Merge(h.snapshotDir(pin.Digest)); err != nil {
			return nil, fmt.Errorf("compose host package %q: %w", pin.Name, err)
		}
	}
	for _, name := range neverShown {
		delete(p, name)
	}
	for name, content := range generated {
		if err := p.File(name, content); err != nil {
			return nil, err
		}
	}
	if err := p.AddLinkerCache(); err != nil {
		return nil, err
	}
	for _, m := range mountpoints {
		if err := p.Mountpoint(m.Path, m.Dir); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// restore takes those snapshots again that were removed. HostLinks comes last, because it follows from the others.
func (h *Host) restore(ctx context.Context, pins []Pinned, scratch string) error {
	var lost []Pinned
	var all []taken
	for _, p := range pins {
		dir := h.snapshotDir(p.Digest)
		if _, err := os.Lstat(dir); err != nil {
			lost = append(lost, p)
		} else if p.Name != HostLinks {
			all = append(all, taken{pin: p, dir: dir})
		}
	}
	if len(lost) == 0 {
		return nil
	}
	h.names = rootpath.OnHost(h.cfg.Root)
	installed, err := h.cfg.Database.Packages(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(lost, func(p Pinned) bool { return p.Name == HostLinks }); i >= 0 {
		links := lost[i]
		lost = append(slices.Delete(lost, i, i+1), links)
	}
	for i, p := range lost {
		dst := filepath.Join(scratch, strconv.Itoa(i))
		t, err := h.retake(ctx, p, installed, all, dst)
		if err != nil {
			return err
		}
		if t.pin.Digest != p.Digest {
			return &LostSnapshotError{Pinned: p, Found: t.pin.Digest}
		}
		all = append(all, t)
	}
	return h.commit(all)
}

// retake makes a snapshot of what the host has now of a pinned package.
func (h *Host) retake(ctx context.Context, p Pinned, installed []Package, others []taken, dst string) (taken, error) {
	if p.Name == HostLinks {
		return h.takeLinks(ctx, others, dst)
	}
	for _, candidate := range installed {
		if candidate.Name == p.Name && candidate.Architecture == p.Architecture && candidate.Version == p.Version {
			return h.take(ctx, candidate, dst)
		}
	}
	return taken{}, &LostSnapshotError{Pinned: p}
}
