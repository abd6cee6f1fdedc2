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
	"strconv"
	"strings"
)

// alternative is a generic name that one of several packages serves (update-alternatives(1)): Link points to
// /etc/alternatives/Name, and that to the Path of a choice. Followers are switched with it.
type alternative struct {
	Name, Link string
	Followers  []link
	Choices    []choice
}

// choice is a candidate. Targets are those of the followers, in their order, "" for none.
type choice struct {
	Path     string
	Priority int
	Targets  []string
}

// link is a symbolic link. Of a follower, Path is the generic name and Target the name below /etc/alternatives.
type link struct{ Path, Target string }

const alternativesDir = "/etc/alternatives"

// alternativesDBs are where dpkg and chkconfig record alternatives.
var alternativesDBs = []string{"/var/lib/dpkg/alternatives", "/var/lib/alternatives"}

// mergedNames are the names of the root folder that may be links into /usr (file-hierarchy(7)).
var mergedNames = regexp.MustCompile(`^(bin|sbin|lib[0-9a-z]*)$`)

// parseAlternative reads a file of an alternatives database: mode, link, pairs of follower name and link, a blank line;
// then choices of path, priority and one line a follower; a blank line. chkconfig (alternatives.c) may put "@family@"
// before a path and an init script behind a priority.
func parseAlternative(name, text string) (alternative, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	bad := func(i int) (alternative, error) { return alternative{}, fmt.Errorf("line %d: malformed", i+1) }
	if len(lines) < 2 || !path.IsAbs(lines[1]) {
		return bad(min(len(lines)-1, 1))
	}
	a := alternative{Name: name, Link: path.Clean(lines[1])}
	i := 2
	for ; i < len(lines) && lines[i] != ""; i += 2 {
		if i+1 >= len(lines) || strings.Contains(lines[i], "/") || !path.IsAbs(lines[i+1]) {
			return bad(i)
		}
		a.Followers = append(a.Followers, link{path.Clean(lines[i+1]), lines[i]})
	}
	for i++; i < len(lines) && lines[i] != ""; i += 2 + len(a.Followers) {
		if i+2+len(a.Followers) > len(lines) {
			return bad(i)
		}
		target := lines[i]
		if family, ok := strings.CutPrefix(target, "@"); ok {
			_, target, _ = strings.Cut(family, "@")
		}
		number, _, _ := strings.Cut(lines[i+1], " ")
		priority, err := strconv.Atoi(number)
		if err != nil || !path.IsAbs(target) {
			return bad(i)
		}
		a.Choices = append(a.Choices, choice{target, priority, lines[i+2 : i+2+len(a.Followers)]})
	}
	return a, nil
}

// links returns the links of the alternative as they are when current is chosen, or, if has does not know current, the
// candidate of the highest priority that it knows; without one there are none.
func (a alternative) links(current string, has func(string) bool) []link {
	var chosen *choice
	if has(current) {
		chosen = &choice{Path: current}
		if i := slices.IndexFunc(a.Choices, func(c choice) bool { return c.Path == current }); i >= 0 {
			chosen = &a.Choices[i]
		}
	} else {
		for i, c := range a.Choices {
			if has(c.Path) && (chosen == nil || c.Priority > chosen.Priority) {
				chosen = &a.Choices[i]
			}
		}
	}
	if chosen == nil {
		return nil
	}
	pair := func(generic, name, target string) []link {
		name = path.Join(alternativesDir, name)
		return []link{{generic, name}, {name, target}}
	}
	links := pair(a.Link, a.Name, chosen.Path)
	for i, target := range chosen.Targets {
		if target != "" && has(target) {
			links = append(links, pair(a.Followers[i].Path, a.Followers[i].Target, target)...)
		}
	}
	return links
}

// hostLinks returns the links of the host that no package owns and a closure needs, sorted by path, which is real: those
// of a merged /usr, and the alternatives that the snapshots in dirs serve.
func (h *Host) hostLinks(dirs []string) ([]link, error) {
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
			a, err := parseAlternative(e.Name(), string(text))
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", name, err)
			}
			current, _ := os.Readlink(filepath.Join(h.cfg.Root, alternativesDir, a.Name))
			for _, l := range a.links(current, has) {
				links = append(links, link{h.names.Name(l.Path).Path, l.Target})
			}
		}
	}
	slices.SortStableFunc(links, func(a, b link) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(links, func(a, b link) bool { return a.Path == b.Path }), nil
}

func (h *Host) mergedLinks() ([]link, error) {
	entries, err := os.ReadDir(h.cfg.Root)
	if err != nil {
		return nil, err
	}
	var links []link
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink || !mergedNames.MatchString(e.Name()) {
			continue
		}
		target, err := os.Readlink(filepath.Join(h.cfg.Root, e.Name()))
		if err != nil {
			return nil, err
		}
		links = append(links, link{"/" + e.Name(), target})
	}
	return links, nil
}

// writeLinks makes a tree of links in the new folder dst.
func writeLinks(dst string, links []link) error {
	out, err := newWriter(dst)
	if err != nil {
		return err
	}
	for _, l := range links {
		if err := out.symlink(l.Path, l.Target); err != nil {
			return err
		}
	}
	return out.seal()
}
