package mounts

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Kind says what an Entry puts at its Target.
type Kind string

const (
	// Bind shows a file or directory of the host.
	Bind Kind = "bind"
	// Tmpfs is an empty file system in memory.
	Tmpfs Kind = "tmpfs"
	// Proc is a new proc of the jail's own pid namespace.
	Proc Kind = "proc"
	// Devpts is a new devpts instance.
	Devpts Kind = "devpts"
	// Skeleton shows a generated read-only directory over what a Bind has there, to hold the entries below it.
	Skeleton Kind = "skeleton"

	// Dir is a directory of the skeleton, which holds other entries.
	Dir Kind = "dir"
	// File is a generated read-only file of the skeleton.
	File Kind = "file"
	// Symlink is a symbolic link of the skeleton.
	Symlink Kind = "symlink"
)

// Entry is one line of a mount table. Target is absolute in the jail and clean. Source is absolute on the host for Bind,
// the link's text for Symlink, the content for File, and empty otherwise.
type Entry struct {
	Target string `json:"target"`
	Kind   Kind   `json:"kind"`
	Source string `json:"source,omitempty"`
	// Directory tells whether a Bind shows a directory, so that its mount point is one.
	Directory bool `json:"directory,omitempty"`
	// Writable is false for a read-only mount, the default.
	Writable bool `json:"writable,omitempty"`
	// Recursive takes the mounts below Source too, read-only like the top one.
	Recursive bool `json:"recursive,omitempty"`
	// Device keeps device files working; everywhere else they are dead (nodev).
	Device bool `json:"device,omitempty"`
	// NoExec forbids running programs from here.
	NoExec bool `json:"noexec,omitempty"`
	// Size is the limit of a Tmpfs in bytes, 0 for the kernel's default (tmpfs(5)).
	Size int64 `json:"size,omitempty"`
	// Covers tells that the entry stands in place of something that the policy hides.
	Covers bool `json:"covers,omitempty"`
	// Why says in a few words what the entry is there for.
	Why string `json:"why,omitempty"`
}

// Table is a planned mount table: sorted so that parents precede children, one Entry a Target. The zero Table is empty.
type Table struct {
	Entries []Entry `json:"entries"`
}

// ConflictError reports two entries that want the same target.
type ConflictError struct{ Target, First, Second string }

// Error implements error, in one line.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("plan mounts: %s is wanted twice, for %s and for %s", e.Target, e.First, e.Second)
}

// TargetError reports an entry that cannot be planned, and why.
type TargetError struct{ Target, Reason string }

// Error implements error, in one line.
func (e *TargetError) Error() string {
	return fmt.Sprintf("plan mounts: target %q %s", e.Target, e.Reason)
}

// Plan orders the mounts of one jail: parents before children, one Entry a Target. It opens nothing. Two entries on one
// Target give *ConflictError, unless they are equal; a Target that is not absolute and clean, or that lies below a File,
// Symlink or Bind of a file, gives *TargetError. Safe for concurrent use.
func Plan(entries []Entry) (Table, error) {
	planned := make([]Entry, 0, len(entries))
	leaf := map[string]bool{}
	for _, e := range Sorted(entries).Entries {
		if err := checkTarget(e); err != nil {
			return Table{}, err
		}
		if n := len(planned); n > 0 && planned[n-1].Target == e.Target {
			if planned[n-1] == e {
				continue
			}
			return Table{}, &ConflictError{e.Target, describe(planned[n-1]), describe(e)}
		}
		for dir := path.Dir(e.Target); dir != "/"; dir = path.Dir(dir) {
			if leaf[dir] {
				return Table{}, &TargetError{e.Target, "lies below " + dir + ", which is no directory"}
			}
		}
		leaf[e.Target] = !e.IsDir()
		planned = append(planned, e)
	}
	return Table{Entries: planned}, nil
}

// IsDir reports whether the entry's mount point is a directory.
func (e Entry) IsDir() bool {
	switch e.Kind {
	case File, Symlink:
		return false
	case Bind:
		return e.Directory
	}
	return true
}

// Mounted reports whether the entry is a mount, and not a part of the skeleton.
func (e Entry) Mounted() bool { return e.Kind != Dir && e.Kind != File && e.Kind != Symlink }

// Sorted returns the entries in the order of a Table, without the checks of Plan: a directory before everything below it,
// and siblings by component.
func Sorted(entries []Entry) Table {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return compareTargets(a.Target, b.Target) })
	return Table{Entries: sorted}
}

// Under returns the innermost mount that target lies below, and whether there is one. The root of the jail is none.
func (t Table) Under(target string) (Entry, bool) {
	for end := strings.LastIndexByte(target, '/'); end > 0; end = strings.LastIndexByte(target[:end], '/') {
		dir := target[:end]
		at, found := slices.BinarySearchFunc(t.Entries, dir, func(e Entry, dir string) int { return compareTargets(e.Target, dir) })
		if found && t.Entries[at].Mounted() {
			return t.Entries[at], true
		}
	}
	return Entry{}, false
}

// Below reports whether target lies strictly below dir, by path component. Both are clean and absolute.
func Below(dir, target string) bool {
	if dir == "/" {
		return target != "/"
	}
	return strings.HasPrefix(target, dir) && len(target) > len(dir) && target[len(dir)] == '/'
}

func checkTarget(e Entry) error {
	switch {
	case !path.IsAbs(e.Target) || path.Clean(e.Target) != e.Target || strings.ContainsRune(e.Target, 0):
		return &TargetError{e.Target, "is not an absolute, clean path"}
	case e.Target == "/":
		return &TargetError{e.Target, "is the root of the jail"}
	case e.Kind == Bind && (!path.IsAbs(e.Source) || path.Clean(e.Source) != e.Source):
		return &TargetError{e.Target, fmt.Sprintf("has the source %q, which is not an absolute, clean path", e.Source)}
	}
	return nil
}

// compareTargets compares as strings.Compare does, but that a slash is less than anything else.
func compareTargets(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
			continue
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func describe(e Entry) string {
	if e.Why != "" {
		return e.Why
	}
	return string(e.Kind) + " " + e.Source
}
