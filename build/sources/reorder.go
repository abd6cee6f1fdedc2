package sources

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// errFixed ends a walk through directories whose order cannot be changed.
var errFixed = errors.New("the file system has an order of its own")

// Reorder makes every directory below dir, which nobody else changes, list its entries in another order: as if they had
// been made in another one, which follows from seed. Contents and times stay. It reports false when nothing changed, because no directory has
// several entries, or because the file system orders them by their names, as ext4 does.
func Reorder(ctx context.Context, dir *os.File, seed byte) (changed bool, err error) {
	err = tree.Walk(ctx, dir, false, func(n *tree.Node) error {
		if n.Kind != tree.Directory {
			return nil
		}
		at, name := n.Dir, n.Name
		if n.Path == "" {
			at, name = int(dir.Fd()), "."
		}
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), n.Path)
		defer f.Close()
		moved, err := reorderOne(f, seed)
		changed = changed || moved
		return errors.Join(err, unix.UtimesNanoAt(fd, ".", []unix.Timespec{n.Stat.Atim, n.Stat.Mtim}, 0))
	})
	if errors.Is(err, errFixed) {
		return changed, nil
	}
	if err != nil {
		return changed, fmt.Errorf("reorder sources: %w", err)
	}
	return changed, nil
}

// reorderOne takes every entry out of a directory and puts it back: in an order that has nothing to do with the one in which
// they are listed, or in the opposite one if that happens to be how they were made.
func reorderOne(dir *os.File, seed byte) (changed bool, err error) {
	before, err := listed(dir)
	if err != nil || len(before) < 2 {
		return false, err
	}
	order := slices.Clone(before)
	slices.SortFunc(order, func(a, b string) int {
		x, y := blake3.Sum256(append([]byte{seed}, a...)), blake3.Sum256(append([]byte{seed}, b...))
		return bytes.Compare(x[:], y[:])
	})
	for range 2 {
		if err := putBack(dir, order); err != nil {
			return false, err
		}
		after, err := listed(dir)
		if err != nil || !slices.Equal(before, after) {
			return true, err
		}
		slices.Reverse(order)
	}
	return false, errFixed
}

// listed are the names in a directory, in its own order.
func listed(dir *os.File) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	return dir.Readdirnames(-1)
}

// putBack moves entries away and back, in this order.
func putBack(dir *os.File, names []string) (err error) {
	var random [8]byte
	rand.Read(random[:]) // never fails
	fd, aside := int(dir.Fd()), ".hdjail-"+hex.EncodeToString(random[:])
	if err := unix.Mkdirat(fd, aside, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Unlinkat(fd, aside, unix.AT_REMOVEDIR)) }()
	for _, name := range names {
		if err := unix.Renameat(fd, name, fd, aside+"/entry"); err != nil {
			return err
		}
		if err := unix.Renameat(fd, aside+"/entry", fd, name); err != nil {
			return err
		}
	}
	return nil
}
