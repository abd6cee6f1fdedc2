package tree

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Copy writes the tree below the directory src into the empty directory dst, canonically: files 0444 or 0555, directories
// 0555, all times 1. Only dst itself keeps its mode and time. What no tree can hold gives *RefusedError. A failed copy
// leaves what it wrote.
func Copy(ctx context.Context, src, dst *os.File) error {
	c := copier{dst: newLadder(int(dst.Fd()), false)}
	defer c.dst.close()
	if err := Walk(ctx, src, false, c.visit); err != nil {
		return err
	}
	return c.climb("")
}

type copier struct {
	dst  *ladder
	path string // of the ladder's lowest directory
}

func (c *copier) visit(n *Node) error {
	if n.Path == "" {
		return nil
	}
	if err := c.climb(n.Path[:len(n.Path)-len(n.Name)]); err != nil {
		return err
	}
	dir, err := c.dst.fd()
	if err != nil {
		return wrap("copy", n.Path, err)
	}
	switch n.Kind {
	case Directory:
		err = c.descend(dir, n)
	case Link:
		if err = unix.Symlinkat(n.Target, dir, n.Name); err == nil {
			err = SetTime(dir, n.Name)
		}
	default:
		return copyFile(dir, n)
	}
	if err != nil {
		return &fs.PathError{Op: "copy", Path: n.Path, Err: err}
	}
	return nil
}

func (c *copier) descend(dir int, n *Node) error {
	if err := unix.Mkdirat(dir, n.Name, 0o700); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, n.Name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if _, err := c.dst.down(n.Name, &st); err != nil {
		return err
	}
	c.path = n.Path + "/"
	return nil
}

// climb goes up to the directory with the path, "" or one that ends in a slash, and finishes those that it leaves.
func (c *copier) climb(path string) error {
	for c.path != path {
		fd, err := c.dst.fd()
		if err == nil {
			err = Seal(fd, 0o555)
		}
		if err != nil {
			return &fs.PathError{Op: "copy", Path: c.path, Err: err}
		}
		c.dst.up()
		parent := c.path[:len(c.path)-1]
		for parent != "" && parent[len(parent)-1] != '/' {
			parent = parent[:len(parent)-1]
		}
		c.path = parent
	}
	return nil
}

func copyFile(dir int, n *Node) error {
	if err := n.open(false); err != nil {
		return err
	}
	from := os.NewFile(uintptr(n.FD), n.Path)
	n.FD = -1
	defer from.Close()
	fd, err := unix.Openat(dir, n.Name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "copy", Path: n.Path, Err: err}
	}
	to := os.NewFile(uintptr(fd), n.Path)
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return fmt.Errorf("copy %q: %w", n.Path, err)
	}
	mode := uint32(0o444)
	if n.Kind == Executable {
		mode = 0o555
	}
	if err := Seal(fd, mode); err != nil {
		return &fs.PathError{Op: "copy", Path: n.Path, Err: err}
	}
	return to.Close()
}

// canonicalTimes are what every entry of a canonical tree has: 1970-01-01 00:00:01, and the access time with it.
var canonicalTimes = [2]unix.Timespec{{Sec: 1}, {Sec: 1}}

// Seal gives an open file or directory a canonical mode and time.
func Seal(fd int, mode uint32) error {
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	// A null path is futimens(3); AT_EMPTY_PATH would need Linux 5.8.
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&canonicalTimes)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// SetTime gives the entry name of a directory, such as a link, the canonical time.
func SetTime(dir int, name string) error {
	return unix.UtimesNanoAt(dir, name, canonicalTimes[:], unix.AT_SYMLINK_NOFOLLOW)
}
