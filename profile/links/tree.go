package links

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Dir is the Tree of a real directory. Nothing outside it is ever reached, whatever its links say. It does not own Root.
type Dir struct{ Root *os.Root }

// ReadDir implements Tree.
func (d Dir) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := d.Root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, absent(name, err)
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// Lstat implements Tree.
func (d Dir) Lstat(name string) (fs.FileInfo, error) {
	info, err := d.Root.Lstat(name)
	return info, absent(name, err)
}

// absent turns what os.Root says of a name that is not in the tree into fs.ErrNotExist. A name that leaves the tree gives
// the one error of os.Root that carries no error number.
func absent(name string, err error) error {
	var number syscall.Errno
	if err == nil || errors.Is(err, fs.ErrClosed) || errors.As(err, &number) && number != syscall.ENOTDIR && number != syscall.ELOOP {
		return err
	}
	return &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
}
