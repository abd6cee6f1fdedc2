package store

import (
	"errors"
	"fmt"
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

// SpaceError reports a file system without space or a quota that is used up. The store is as it was before.
type SpaceError struct {
	Root, Path string
	Err        error
}

// Error implements error.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("write %q: %v: free space on the file system of %s, or enlarge it", e.Path, e.Err, e.Root)
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
func (s *Store) denied(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*SpaceError)), errors.As(err, new(*AccessError)), errors.As(err, new(*tree.AncestorError)):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return &SpaceError{s.root, path, rootCause(err)}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return &AccessError{s.root, path, rootCause(err)}
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
