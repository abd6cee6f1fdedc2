package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxEntries bounds the names in one directory, so that a hostile one does not take all memory.
const maxEntries = 4 << 20

// RefusedError reports an entry that cannot be part of a tree. Kind is one of "device", "fifo", "socket", "whiteout",
// "mount" (another file system), "name" (too long or too deep), "changed" (while it was read), "count" (too many), and
// in an output also "set-id", "foreign-owner", "hard-link" or "link-leaves-tree".
type RefusedError struct{ Path, Kind, Detail string }

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refuse %q: %s: %s", e.Path, e.Kind, e.Detail)
}

// Node is one entry that a walk has reached. It is valid until the visit returns.
type Node struct {
	// Path is relative to the root, which has the empty one.
	Path string
	// Kind follows from Stat.
	Kind Kind
	Stat unix.Stat_t
	// Target is what a Link holds.
	Target string
	// Dir is the descriptor of the directory that holds the entry under Name. It belongs to the walk.
	Dir  int
	Name string
	// FD is the descriptor of the entry itself while a Settle function has it, else -1.
	FD int
}

// Walk visits the directory root and every entry below it in the order of a tree encoding. With unlock, directories that
// cannot be read are made accessible after their visit, as only their owner can. Depth costs no descriptors beyond a fixed
// number. An entry that no tree can hold gives *RefusedError; an error of visit ends the walk and is returned as it is.
func Walk(ctx context.Context, root *os.File, unlock bool, visit func(*Node) error) error {
	return walk(ctx, root, unlock, visit, func(*Node) error { return nil })
}

// walk also calls opened for every directory, with its descriptor, after its visit and before those of what it holds.
func walk(ctx context.Context, root *os.File, unlock bool, visit, opened func(*Node) error) error {
	fd := int(root.Fd())
	w := walker{ladder: newLadder(fd, unlock), visit: visit, opened: opened}
	defer w.close()
	n := Node{Kind: Directory, Dir: -1, FD: -1}
	if err := unix.Fstat(fd, &n.Stat); err != nil {
		return fmt.Errorf("stat %q: %w", root.Name(), err)
	}
	w.device = n.Stat.Dev
	if err := visit(&n); err != nil {
		return err
	}
	n.FD = fd
	if err := w.enter(&n); err != nil {
		return err
	}
	for len(w.pending) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := &w.pending[len(w.pending)-1]
		if len(*top) == 0 {
			w.leave()
			continue
		}
		name := (*top)[0]
		*top = (*top)[1:]
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

type walker struct {
	*ladder
	device  uint64
	path    string
	pending [][]string // the names not yet visited of each open directory
	visit   func(*Node) error
	opened  func(*Node) error
}

// step visits one name of the current directory, and goes into it if it is a directory.
func (w *walker) step(name string) error {
	dir, err := w.fd()
	if err != nil {
		return err
	}
	n := Node{Path: join(w.path, name), Dir: dir, Name: name, FD: -1}
	if len(n.Path) > maxPath {
		return &RefusedError{n.Path, "name", fmt.Sprintf("the path is longer than %d bytes", maxPath)}
	}
	if err := unix.Fstatat(dir, name, &n.Stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("stat %q: %w", n.Path, err)
	}
	if err := n.classify(w.device); err != nil {
		return err
	}
	if n.Kind == Link {
		if n.Target, err = readLink(dir, name, n.Stat.Size); err != nil {
			return fmt.Errorf("read link %q: %w", n.Path, err)
		}
	}
	if err := w.visit(&n); err != nil || n.Kind != Directory {
		return err
	}
	if n.FD, err = w.down(name, &n.Stat); err != nil {
		return wrap("open", n.Path, err)
	}
	w.path = n.Path
	return w.enter(&n)
}

// enter lists a directory that has just been opened.
func (w *walker) enter(n *Node) error {
	if err := w.opened(n); err != nil {
		return err
	}
	names, err := list(n.FD)
	if err != nil {
		return wrap("list", n.Path, err)
	}
	slices.Sort(names)
	w.pending = append(w.pending, names)
	return nil
}

func (w *walker) leave() {
	w.pending = w.pending[:len(w.pending)-1]
	w.up()
	w.path = w.path[:max(strings.LastIndexByte(w.path, '/'), 0)]
}

func (n *Node) classify(device uint64) error {
	refuse := func(kind, detail string) error { return &RefusedError{n.Path, kind, detail} }
	switch n.Stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.Kind = Directory
		if n.Stat.Dev != device {
			return refuse("mount", "it is on another file system")
		}
	case unix.S_IFREG:
		n.Kind = File
		if n.Stat.Mode&unix.S_IXUSR != 0 {
			n.Kind = Executable
		}
	case unix.S_IFLNK:
		n.Kind = Link
	case unix.S_IFIFO:
		return refuse("fifo", "a tree holds files, directories and links only")
	case unix.S_IFSOCK:
		return refuse("socket", "a tree holds files, directories and links only")
	case unix.S_IFCHR:
		if n.Stat.Rdev == 0 {
			return refuse("whiteout", "it is the mark of a deleted file of an overlay file system")
		}
		return refuse("device", "it is a character device")
	default:
		return refuse("device", "it is a block device")
	}
	return nil
}

// Open opens the regular file of a Node for reading, and makes sure that it is the one that was seen. It works until the
// visit returns; the file is the caller's.
func (n *Node) Open() (*os.File, error) {
	if err := n.open(false); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(n.FD), n.Path)
	n.FD = -1
	return f, nil
}

// open opens the regular file of a Node for reading, as its FD, and makes sure that it is the one that was seen. Its Stat is
// then that of the open file. With unlock, one that its owner cannot read is made readable first.
func (n *Node) open(unlock bool) error {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(n.Dir, n.Name, flags, 0)
	if unlock && errors.Is(err, unix.EACCES) {
		fd, err = openLocked(n.Dir, n.Name, &n.Stat, flags)
	}
	if err != nil {
		return wrap("open", n.Path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !same(&st, &n.Stat) {
		unix.Close(fd)
		return &RefusedError{n.Path, "changed", "another file took its name"}
	}
	n.FD, n.Stat = fd, st
	return nil
}

// Open opens the directory path, which is no link, for the other functions. With unlock, one whose mode keeps its owner out
// is made accessible first.
func Open(path string, unlock bool) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0)
	if unlock && errors.Is(err, unix.EACCES) {
		var st unix.Stat_t
		if err = unix.Lstat(path, &st); err == nil {
			fd, err = openLocked(unix.AT_FDCWD, path, &st, flags)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openLocked opens an entry whose mode keeps its owner out: by an O_PATH descriptor, so that what is checked, made
// accessible and opened is one inode.
func openLocked(dir int, name string, want *unix.Stat_t, flags int) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if !same(&st, want) {
		return -1, unix.ESTALE
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	add := uint32(0o700)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		add = 0o400 // and not the executable bit, which counts
	}
	if err := unix.Chmod(self, st.Mode&0o777|add); err != nil {
		return -1, err
	}
	return unix.Open(self, flags&^unix.O_NOFOLLOW, 0)
}

// same reports whether both are one inode of one type.
func same(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Mode&unix.S_IFMT == b.Mode&unix.S_IFMT
}

// List returns the names in the directory path, which is no link, in no order.
func List(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return list(fd)
}

func list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		if len(names) > maxEntries {
			return nil, &RefusedError{"", "count", fmt.Sprintf("a directory has more than %d entries", maxEntries)}
		}
	}
}

func readLink(dir int, name string, size int64) (string, error) {
	buf := make([]byte, min(max(size, 0), maxPath)+1)
	for {
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", err
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		if len(buf) > maxPath {
			return "", unix.ENAMETOOLONG
		}
		buf = make([]byte, maxPath+1)
	}
}

// wrap names the entry in an error; a refusal made where its path was not known gets it.
func wrap(verb, path string, err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return &RefusedError{path, refused.Kind, refused.Detail}
	}
	return fmt.Errorf("%s %q: %w", verb, path, err)
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
