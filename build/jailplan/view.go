package jailplan

import (
	"path"
	"slices"
	"strings"

	"hdjail/artifact"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

// View is what a jail shows, and where that is on the host. All paths are absolute and clean.
type View struct {
	Name    string
	Mode    policies.Mode
	Policy  policies.Policy
	Scratch *jail.Scratch
	// Tree is what fills the root: the composed host packages in modes hide and fail (its zero value for none), and in
	// modes log and off the host, whose Path is "/".
	Tree hostpkgs.Tree
	// Paths are shown at their own places on top of Tree.
	Paths []Path
	// Dependencies is everything that the command may use of the store.
	Dependencies []Dependency
	// Stores are the directories of hdjail's own, the store's root and prefix: of them only Dependencies are shown.
	Stores []string
	// Shown is a store whose artifacts are visible at the paths that they know, below its prefix; nil for none.
	Shown *Shown
	// Secrets are files of the policy's never list as they exist on this host, links resolved.
	Secrets []Secret
	// Home is the caller's home directory, which mode log shows unless HideHome; it shows no other home.
	Home     string
	HideHome bool
	// HostTmp leaves /tmp and /var/tmp as the Tree has them.
	HostTmp bool
}

// Path is a file or directory of the host that is visible at its own place.
type Path struct {
	Path      string
	Directory bool
	Writable  bool
	// Link is where a symbolic link leads, empty for anything else. What is there is shown in place of the link.
	Link string
}

// Shown is a store with the directory that its public paths begin with.
type Shown struct{ Root, Prefix string }

// Secret is a path that stays hidden wherever the host is visible.
type Secret struct {
	Path      string
	Directory bool
}

// Dependency is a derivation with the trees of its chosen realizations.
type Dependency struct {
	ID artifact.DerivationID
	// Public is the path that it has in the jail, unless Many.
	Public string
	// As is the NAME of its variables; empty for one that only another dependency needs.
	As   string
	Many bool
	// Outs are the host paths of the trees, IDs their identities, in one order. Without Many there is exactly one.
	Outs []string
	IDs  []artifact.RealizationID
}

// Places in every jail.
const (
	scriptPath = "/.hdjail/script"
	manyDir    = "/deps"
)

// own are the top-level names that a jail has of its own or never shows, whatever a Tree holds.
var own = []string{"build", "deps", ".hdjail", "dev", "proc", "sys", "run"}

// homes are top-level names of the host that hold the homes of people.
var homes = []string{"home", "root"}

// empty are top-level names that a composed tree has as empty directories only, and that are absent from a jail.
var empty = []string{"boot", "home", "media", "mnt", "root", "tmp"}

// Mountpoints lists what a composed tree must have, so that entries below its directories have a place: /var/tmp, which
// every jail has, and what stores and paths need.
func Mountpoints(stores []string, paths []Path) []hostpkgs.Mountpoint {
	list := []hostpkgs.Mountpoint{{Path: "/var/tmp", Dir: true}}
	for _, store := range stores {
		list = append(list, hostpkgs.Mountpoint{Path: store, Dir: true})
	}
	for _, p := range paths {
		list = append(list, hostpkgs.Mountpoint{Path: p.Path, Dir: p.Directory})
	}
	list = slices.DeleteFunc(list, func(m hostpkgs.Mountpoint) bool { return !slices.Contains(packaged, top(m.Path)) })
	slices.SortFunc(list, func(a, b hostpkgs.Mountpoint) int { return strings.Compare(a.Path, b.Path) })
	return slices.Compact(list)
}

// packaged are the top-level directories that distribution packages install into. A mount point elsewhere is made in the
// jail's skeleton, so that the composed tree does not depend on it.
var packaged = []string{"bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "srv", "usr", "var"}

// top is the top-level name that a path begins with.
func top(p string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return first
}

// table plans the mounts. Entries of a later group replace those of an earlier one at the same target.
func (v View) table(more ...mounts.Entry) (mounts.Table, error) {
	var entries []mounts.Entry
	for _, group := range [][]mounts.Entry{v.tree(), v.home(), v.system(), v.paths(), v.shown(), more} {
		for _, e := range group {
			entries = slices.DeleteFunc(entries, func(old mounts.Entry) bool { return old.Target == e.Target })
			entries = append(entries, e)
		}
	}
	// What differs from build to build lies in directories of its own, so that the rest of the root can be shared.
	for _, store := range v.Stores {
		entries = append(entries, mounts.Entry{Target: store, Kind: mounts.Skeleton, Why: "the store, of which only dependencies are shown"})
	}
	entries = append(entries, v.secrets(entries)...)
	entries = append(entries, v.dependencies()...)
	return mounts.Plan(entries)
}

// tree shows the top-level entries of the Tree: a handful of mounts, however much is in it.
func (v View) tree() []mounts.Entry {
	composed := v.Mode.Contains()
	skipped, why := slices.Clone(own), "the host"
	switch {
	case composed:
		skipped, why = append(skipped, empty...), "host packages"
	case v.Mode == policies.ModeOff:
		skipped = slices.DeleteFunc(skipped, func(name string) bool { return name == "run" })
	default:
		skipped = append(skipped, homes...)
	}
	if !v.HostTmp {
		skipped = append(skipped, "tmp")
	}
	var entries []mounts.Entry
	for _, t := range v.Tree.Top {
		target := "/" + t.Name
		switch {
		case slices.Contains(skipped, t.Name):
		case t.Link != "":
			entries = append(entries, mounts.Entry{Target: target, Kind: mounts.Symlink, Source: t.Link, Why: why})
		default:
			entries = append(entries, mounts.Entry{Target: target, Kind: mounts.Bind, Source: path.Join(v.Tree.Path, t.Name),
				Directory: t.IsDir, Recursive: !composed && t.IsDir, Writable: v.Mode == policies.ModeOff, Why: why})
		}
	}
	return entries
}

// home shows the caller's home in mode log, and no other one beside it.
func (v View) home() (list []mounts.Entry) {
	if v.Mode != policies.ModeLog || v.Home == "" {
		return nil
	}
	if !slices.Contains(homes, top(v.Home)) {
		list = append(list, mounts.Entry{Target: path.Dir(v.Home), Kind: mounts.Skeleton, Why: "homes of others"})
	}
	if !v.HideHome {
		list = append(list, mounts.Entry{Target: v.Home, Kind: mounts.Bind, Source: v.Home, Directory: true, Recursive: true,
			Why: "the caller's home"})
	}
	return list
}

// system is what every jail has.
func (v View) system() []mounts.Entry {
	scratch := func(target, source string) mounts.Entry {
		return mounts.Entry{Target: target, Kind: mounts.Bind, Source: source, Directory: true, Writable: true, Why: "scratch"}
	}
	list := []mounts.Entry{
		scratch(jail.BuildDir, v.Scratch.Build()),
		{Target: "/proc", Kind: mounts.Proc, NoExec: true, Writable: true, Why: "processes of the jail"},
		{Target: "/dev", Kind: mounts.Dir},
		{Target: "/dev/pts", Kind: mounts.Devpts, NoExec: true, Writable: true, Device: true, Why: "terminals of the jail"},
		{Target: "/dev/shm", Kind: mounts.Tmpfs, Writable: true, Why: "shared memory of the jail"},
	}
	if !v.HostTmp {
		list = append(list, scratch("/tmp", v.Scratch.Tmp()), scratch("/var/tmp", v.Scratch.VarTmp()))
	}
	// A read-only mount lets a device be written to, and keeps root's scripts from changing the node, which is the host's.
	for _, name := range []string{"full", "null", "random", "tty", "urandom", "zero"} {
		list = append(list, mounts.Entry{Target: "/dev/" + name, Kind: mounts.Bind, Source: "/dev/" + name, Device: true, NoExec: true,
			Why: "device"})
	}
	for _, link := range [][2]string{{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"}} {
		list = append(list, mounts.Entry{Target: "/dev/" + link[0], Kind: mounts.Symlink, Source: link[1]})
	}
	return list
}

func (v View) paths() []mounts.Entry {
	var list []mounts.Entry
	for _, p := range v.Paths {
		e := mounts.Entry{Target: p.Path, Kind: mounts.Bind, Source: p.Path, Directory: p.Directory, Recursive: p.Directory,
			Writable: p.Writable, Why: "whitelisted path"}
		if p.Writable {
			e.Why = "writable path"
		}
		if p.Link != "" {
			e.Source, e.Why = p.Link, "whitelisted link"
		}
		if p.Link == "" || v.Mode.Contains() { // the host has its own links
			list = append(list, e)
		}
	}
	return list
}

// shown has public paths with what they lead to, and nothing else of the store.
func (v View) shown() (list []mounts.Entry) {
	if v.Shown == nil {
		return nil
	}
	for _, dir := range []string{"store", "realizations"} {
		list = append(list, mounts.Entry{Target: path.Join(v.Shown.Prefix, dir), Kind: mounts.Bind, Source: path.Join(v.Shown.Root, dir),
			Directory: true, Why: "artifacts of a store at another place"})
	}
	return list
}

// secrets hides the never list wherever the entries show it, but for what was asked for by name.
func (v View) secrets(entries []mounts.Entry) (list []mounts.Entry) {
	if v.Mode == policies.ModeOff {
		return nil
	}
	shown := mounts.Sorted(entries)
	for _, s := range v.Secrets {
		asked := slices.ContainsFunc(v.Paths, func(p Path) bool { return p.Path == s.Path || mounts.Below(s.Path, p.Path) })
		if asked || !shows(shown, s.Path) {
			continue
		}
		hidden := mounts.Entry{Target: s.Path, Kind: mounts.Skeleton, Covers: true, Why: "hidden by the policy"}
		if !s.Directory {
			hidden.Kind, hidden.Source = mounts.Bind, Blank(v.Scratch)
		}
		list = append(list, hidden)
	}
	return list
}

// shows reports whether the host's path can be seen in the jail at its own place.
func shows(table mounts.Table, path string) bool {
	e, found := table.Under(path + "/.") // the entry of path itself counts
	return found && e.Kind == mounts.Bind && e.Source == e.Target
}

// Blank is the path of an empty file in the scratch, which is shown in place of a hidden one and has to be there when a
// planned jail runs.
func Blank(s *jail.Scratch) string { return s.Dir + "/blank" }

func (v View) dependencies() []mounts.Entry {
	var list []mounts.Entry
	for _, d := range v.Dependencies {
		why := "dependency " + d.As
		if d.As == "" {
			why = "needed by a dependency"
		}
		for i, out := range d.Outs {
			list = append(list, mounts.Entry{Target: d.Place(i), Kind: mounts.Bind, Source: out, Directory: true, Why: why})
		}
		if d.Many {
			list = append(list, mounts.Entry{Target: manyDir + "/" + d.As + "/index.json", Kind: mounts.File, Source: d.index(), Why: why})
		}
	}
	return list
}
