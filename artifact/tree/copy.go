package tree

import (
	"context"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Copy writes the tree below the directory src into the empty directory dst, canonically: files 0444 or 0555, directories
// 0555, all times 1. Only dst itself keeps its mode and time. What no tree can hold gives *RefusedError. A failed copy
// leaves what it wrote.
func Copy(ctx context.Context, src, dst *os.File) error {
	made := newScaffold(dst)
	defer made.close()
	visit := func(n *Node) error {
		switch {
		case n.Path == "":
			return nil
		case n.Kind == Directory:
			return made.mkdir(n.Path)
		case n.Kind == Link:
			return made.symlink(n.Path, n.Target)
		}
		from, err := n.Open()
		if err != nil {
			return err
		}
		defer from.Close()
		return made.file(n.Path, n.Kind, func(to *os.File) error {
			if _, err := io.Copy(to, from); err != nil {
				return fmt.Errorf("copy %q: %w", n.Path, err)
			}
			return nil
		})
	}
	if err := Walk(ctx, src, false, visit); err != nil {
		return err
	}
	return made.climb("")
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
