package tree

import (
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links may be on the way, as in path_resolution(7).
const maxLinks = 40

// AncestorError reports a directory that another user could replace, so that nothing below it can be trusted.
type AncestorError struct{ Directory, Reason string }

// Error implements error.
func (e *AncestorError) Error() string {
	return fmt.Sprintf("trust directory %q: it %s", e.Directory, e.Reason)
}

// Trust says what OpenTrusted accepts, and whether it makes what is missing, 0755.
type Trust struct {
	Create bool
	// Group accepts directories that their group can write to.
	Group bool
	// Owner accepts directories of any owner, not only of root and the caller: for who only reads.
	Owner bool
}

// OpenTrusted opens the directory at the absolute path root, component by component from "/". A component that another
// user could replace, by its owner or its mode, gives *AncestorError; everyone may write to one above root that is sticky.
// The name of the result is the path without links.
func OpenTrusted(root string, accept Trust) (*os.File, error) {
	t := trusted{accept: accept, at: "/"}
	var err error
	if t.fd, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open %q: %w", "/", err)
	}
	defer func() { unix.Close(t.fd) }()
	t.rest = split(root)
	for links := 0; len(t.rest) > 0; {
		name := t.rest[0]
		t.rest = t.rest[1:]
		err := t.enter(name)
		if err == unix.ELOOP || err == unix.ENOTDIR {
			if links++; links > maxLinks {
				return nil, fmt.Errorf("open %q: %w", path.Join(t.at, name), unix.ELOOP)
			}
			err = t.follow(name)
		}
		if err != nil {
			return nil, err
		}
	}
	fd, err := unix.Openat(t.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: t.at, Err: err}
	}
	return os.NewFile(uintptr(fd), t.at), nil
}

type trusted struct {
	accept Trust
	fd     int
	at     string   // where fd is
	rest   []string // the components still to enter
}

func (t *trusted) enter(name string) error {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	full := path.Join(t.at, name)
	if name == ".." { // of a link's target; "/.." is "/"
		full = path.Dir(t.at)
	}
	fd, err := unix.Openat(t.fd, name, flags, 0)
	if err == unix.ENOENT && t.accept.Create {
		fd, err = t.make(name, flags)
	}
	if err == unix.ELOOP || err == unix.ENOTDIR {
		return err
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: full, Err: err}
	}
	unix.Close(t.fd)
	t.fd, t.at = fd, full
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: full, Err: err}
	}
	if reason := t.judge(&st); reason != "" {
		return &AncestorError{full, reason}
	}
	return nil
}

// make makes a directory, 0755 whatever the umask, and opens it.
func (t *trusted) make(name string, flags int) (int, error) {
	err := unix.Mkdirat(t.fd, name, 0o755)
	if err == nil {
		err = unix.Fchmodat(t.fd, name, 0o755, 0) // nobody but us can have replaced it
	}
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return unix.Openat(t.fd, name, flags, 0)
}

// follow puts the target of a link before the components that are left.
func (t *trusted) follow(name string) error {
	full := path.Join(t.at, name)
	var st unix.Stat_t
	if err := unix.Fstatat(t.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: full, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return &os.PathError{Op: "open", Path: full, Err: unix.ENOTDIR}
	}
	if !t.ours(&st) {
		return &AncestorError{full, "is a link of " + owner(&st)}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(t.fd, name, buf)
	if err != nil {
		return &os.PathError{Op: "read link", Path: full, Err: err}
	}
	target := string(buf[:n])
	if path.IsAbs(target) {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: "/", Err: err}
		}
		unix.Close(t.fd)
		t.fd, t.at = fd, "/"
	}
	t.rest = append(split(target), t.rest...)
	return nil
}

// judge tells why the directory cannot be trusted, or nothing.
func (t *trusted) judge(st *unix.Stat_t) string {
	sticky := st.Mode&unix.S_ISVTX != 0 && len(t.rest) > 0 // others may fill /tmp, but not the root itself
	switch {
	case !t.ours(st):
		return "belongs to " + owner(st)
	case st.Mode&unix.S_IWOTH != 0 && !sticky:
		return "can be written by everyone"
	case st.Mode&unix.S_IWGRP != 0 && !sticky && !t.accept.Group:
		return fmt.Sprintf("can be written by group %d", st.Gid)
	}
	return ""
}

// ours reports whether the owner may decide what is there.
func (t *trusted) ours(st *unix.Stat_t) bool {
	return st.Uid == 0 || int(st.Uid) == os.Geteuid() || t.accept.Owner
}

func owner(st *unix.Stat_t) string { return fmt.Sprintf("user %d", st.Uid) }

func split(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}
