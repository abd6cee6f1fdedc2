package store

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// FormatError reports a store that was made by a newer version.
type FormatError struct {
	Root             string
	Found, Supported int
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("open store %q: its format is %d, and this program knows formats up to %d", e.Root, e.Found, e.Supported)
}

// AccessError reports a store that this process may not write to.
type AccessError struct {
	Root, Path string
	Err        error
}

// Error implements error.
func (e *AccessError) Error() string {
	return fmt.Sprintf("write to store %q: %s: %v", e.Root, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.Err }

// SpaceError reports a file system without space or a quota that is used up. What was published before is whole.
type SpaceError struct {
	Root, Path string
	Err        error
	// FileSystem is where the file system of Path is mounted; Free and Size are in bytes, Inodes counts those that are
	// free. All are zero when nobody can tell.
	FileSystem         string
	Free, Size, Inodes uint64
}

// Error implements error. A quota may be used up where much is free, so what is free is told of the file system.
func (e *SpaceError) Error() string {
	text := fmt.Sprintf("write %q: %v", e.Path, e.Err)
	if e.Size > 0 {
		text += fmt.Sprintf(": the file system at %s has %s of %s free", e.FileSystem, bytesText(e.Free), bytesText(e.Size))
	}
	if e.Size > 0 && e.Inodes < fewInodes {
		text += fmt.Sprintf(", and %d inodes", e.Inodes)
	}
	return text
}

// fewInodes is so few that they are worth telling.
const fewInodes = 100

func bytesText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strconv.FormatFloat(math.Floor(value*10)/10, 'f', -1, 64) + " " + units[unit]
}

// NewSpaceError makes a *SpaceError of a write below root that failed with err, and looks at the file system.
func NewSpaceError(root, path string, err error) *SpaceError {
	e := &SpaceError{Root: root, Path: path, Err: rootCause(err)}
	var st unix.Statfs_t
	if unix.Statfs(root, &st) == nil {
		block := uint64(cmp.Or(st.Frsize, st.Bsize))
		e.FileSystem, e.Free, e.Size, e.Inodes = mountPoint(root), st.Bavail*block, st.Blocks*block, st.Ffree
		if st.Files == 0 { // it counts none
			e.Inodes = math.MaxUint64
		}
	}
	return e
}

// mountPoint is the highest directory above a path that is on the same device.
func mountPoint(at string) string {
	var here, above unix.Stat_t
	if unix.Stat(at, &here) != nil {
		return at
	}
	for at != "/" && unix.Stat(path.Dir(at), &above) == nil && above.Dev == here.Dev {
		at = path.Dir(at)
	}
	return at
}

// Unwrap returns the cause.
func (e *SpaceError) Unwrap() error { return e.Err }

// NotFoundError reports an object that the store does not have. What is "derivation", "realization", "build record",
// "log" or "audit".
type NotFoundError struct{ What, Name string }

// Error implements error.
func (e *NotFoundError) Error() string { return fmt.Sprintf("the store has no %s %q", e.What, e.Name) }

// AmbiguousError reports text that several identities begin with. Matches lists them, sorted.
type AmbiguousError struct {
	Text    string
	Matches []string
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%q is ambiguous: it may be %s", e.Text, strings.Join(e.Matches, ", "))
}

// denied makes an error of a write typed: *SpaceError, *AccessError, or err with the path.
func (s *Store) denied(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*SpaceError)), errors.As(err, new(*AccessError)), errors.As(err, new(*tree.AncestorError)):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return NewSpaceError(s.root, name, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return &AccessError{s.root, name, rootCause(err)}
	}
	return fmt.Errorf("write to store %q: %w", s.root, err)
}

// rootCause is the system's answer inside err, which does not repeat the path.
func rootCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
