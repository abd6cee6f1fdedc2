package hostpkgs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"hdjail/hostpkgs/alternatives"
	"hdjail/hostpkgs/tree"
)

// alternativesDBs are where dpkg and chkconfig record alternatives.
var alternativesDBs = []string{"/var/lib/dpkg/alternatives", "/var/lib/alternatives"}

// linkWatch is what changes with the links that no package owns.
var linkWatch = append(slices.Clone(alternativesDBs), alternatives.Dir)

// mergedNames are the names of the root folder that may be links into /usr (file-hierarchy(7)).
var mergedNames = regexp.MustCompile(`^(bin|sbin|lib[0-9a-z]*)$`)

// hostLinks returns the links of the host that no package owns and a closure needs, sorted by path, which is real: those
// of a merged /usr, and the alternatives that the snapshots in dirs serve.
func (h *Host) hostLinks(dirs []string) ([]alternatives.Link, error) {
	links, err := h.mergedLinks()
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		return path.IsAbs(name) && slices.ContainsFunc(dirs, func(dir string) bool {
			_, err := os.Lstat(filepath.Join(dir, h.names.Name(name).Path))
			return err == nil
		})
	}
	for _, db := range alternativesDBs {
		entries, err := os.ReadDir(filepath.Join(h.cfg.Root, db))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			name := filepath.Join(h.cfg.Root, db, e.Name())
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			a, err := alternatives.Parse(e.Name(), string(text))
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", name, err)
			}
			current, _ := os.Readlink(filepath.Join(h.cfg.Root, alternatives.Dir, a.Name))
			for _, l := range a.Links(current, has) {
				links = append(links, alternatives.Link{Path: h.names.Name(l.Path).Path, Target: l.Target})
			}
		}
	}
	slices.SortStableFunc(links, func(a, b alternatives.Link) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(links, func(a, b alternatives.Link) bool { return a.Path == b.Path }), nil
}

func (h *Host) mergedLinks() ([]alternatives.Link, error) {
	entries, err := os.ReadDir(h.cfg.Root)
	if err != nil {
		return nil, err
	}
	var links []alternatives.Link
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink || !mergedNames.MatchString(e.Name()) {
			continue
		}
		target, err := os.Readlink(filepath.Join(h.cfg.Root, e.Name()))
		if err != nil {
			return nil, err
		}
		links = append(links, alternatives.Link{Path: "/" + e.Name(), Target: target})
	}
	return links, nil
}

// writeLinks makes a tree of links in the new folder dst.
func writeLinks(dst string, links []alternatives.Link) error {
	out, err := tree.NewWriter(dst)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := out.Symlink(l.Path, l.Target); err != nil {
			return err
		}
	}
	return out.Seal()
}
