package tree

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Remove deletes the entry name of the directory parent, and everything below it. Links are deleted, not followed; what is
// mounted below is left and is an error. Directories that are not accessible are made so, as far as their owner can. However
// deep the tree is, two descriptors are open: a directory found inside one is first moved up to the top. An entry that
// does not exist is no error.
func Remove(parent *os.File, name string) error {
	if !isName(name) {
		return fmt.Errorf("remove %q: it is not the name of an entry", name)
	}
	r := remover{}
	err := r.remove(int(parent.Fd()), name, r.empty)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %q in %q: %w", name, parent.Name(), err)
	}
	return nil
}

// remover counts the names that it gives directories that it moves to the top.
type remover struct{ moved int }

// remove deletes one entry. A directory that is not empty is opened and given to clear, and has to be empty then.
func (r *remover) remove(dir int, name string, clear func(fd int) error) error {
	err := unix.Unlinkat(dir, name, 0)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	fd, err := openDir(dir, name, &st, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := clear(fd); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// empty deletes everything in the top directory, until a pass over it finds nothing. It goes on after an error, and gives
// up after a pass that deleted nothing.
func (r *remover) empty(top int) error {
	for {
		names, err := list(top)
		if err != nil || len(names) == 0 {
			return err
		}
		var first error
		progress := false
		for _, name := range names {
			err := r.remove(top, name, func(fd int) error { return r.flatten(fd, top) })
			if err != nil && first == nil {
				first = err
			}
			progress = progress || err == nil
		}
		if first != nil && !progress {
			return first
		}
	}
}

// flatten empties dir: it deletes files and empty directories and moves the others to the top.
func (r *remover) flatten(dir, top int) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	var first error
	for _, name := range names {
		err := r.remove(dir, name, func(int) error { return unix.ENOTEMPTY })
		if errors.Is(err, unix.ENOTEMPTY) {
			err = r.lift(dir, name, top)
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// lift moves a directory to the top under a name that is free there.
func (r *remover) lift(dir int, name string, top int) error {
	for {
		r.moved++
		err := unix.Renameat(dir, name, top, ".removed-"+strconv.Itoa(r.moved))
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		return err
	}
}
