// Package tree makes canonical trees on disk: files 0444 or 0555, folders 0555, all of one time. A Writer makes one name
// after the other; a Plan is a tree that is decided on before anything is written.
package tree

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Time is the modification time of everything in a tree.
var Time = time.Unix(1, 0)

// Writer makes a tree. Names are absolute in the tree; the folders of a name are made as needed. Seal comes last. It is
// for one goroutine.
type Writer struct {
	root  string
	dirs  map[string]bool
	order []string
}

// NewWriter makes the folder root, which must not exist.
func NewWriter(root string) (*Writer, error) {
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	return &Writer{root: root, dirs: map[string]bool{"/": true}}, nil
}

// Path returns where a name is on disk.
func (w *Writer) Path(name string) string { return filepath.Join(w.root, name) }

// Dir makes a folder, once.
func (w *Writer) Dir(name string) error {
	if w.dirs[name] {
		return nil
	}
	if err := w.Dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.Mkdir(w.Path(name), 0o755); err != nil {
		return err
	}
	w.dirs[name] = true
	w.order = append(w.order, name)
	return nil
}

// File copies src and returns the bytes, sharing its blocks where the file system can (ioctl_ficlone(2)), else in the kernel
// (copy_file_range(2), by io.Copy).
func (w *Writer) File(name string, src *os.File, executable bool) (int64, error) {
	return w.create(name, executable, func(dst *os.File) (int64, error) {
		if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
			info, err := dst.Stat()
			if err != nil {
				return 0, err
			}
			return info.Size(), nil
		}
		return io.Copy(dst, src)
	})
}

// Data makes a file with the given content.
func (w *Writer) Data(name string, content []byte) error {
	_, err := w.create(name, false, func(dst *os.File) (int64, error) {
		n, err := dst.Write(content)
		return int64(n), err
	})
	return err
}

func (w *Writer) create(name string, executable bool, fill func(*os.File) (int64, error)) (int64, error) {
	if err := w.Dir(path.Dir(name)); err != nil {
		return 0, err
	}
	dst, err := os.OpenFile(w.Path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer dst.Close()
	size, err := fill(dst)
	if err != nil {
		return 0, err
	}
	mode := os.FileMode(0o444)
	if executable {
		mode = 0o555
	}
	if err := dst.Chmod(mode); err != nil {
		return 0, err
	}
	times := []unix.Timeval{unix.NsecToTimeval(Time.UnixNano()), unix.NsecToTimeval(Time.UnixNano())}
	if err := unix.Futimes(int(dst.Fd()), times); err != nil {
		return 0, err
	}
	return size, dst.Close()
}

// Symlink makes a symbolic link.
func (w *Writer) Symlink(name, target string) error {
	if err := w.Dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.Symlink(target, w.Path(name)); err != nil {
		return err
	}
	stamp := unix.NsecToTimespec(Time.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, w.Path(name), []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
}

// Share makes a file with the content of one that is canonical already: a further name where there can be one, else a copy.
func (w *Writer) Share(name, file string) error {
	if err := w.Hardlink(name, file); err == nil {
		return nil
	}
	src, err := os.Open(file)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	_, err = w.File(name, src, info.Mode()&0o111 != 0)
	return err
}

// Hardlink names a file that is canonical already.
func (w *Writer) Hardlink(name, file string) error {
	if err := w.Dir(path.Dir(name)); err != nil {
		return err
	}
	return os.Link(file, w.Path(name))
}

// Seal makes the folders read-only, but for the root: that comes with SealDir, when it has its name.
func (w *Writer) Seal() error {
	for _, name := range slices.Backward(w.order) {
		if err := SealDir(w.Path(name)); err != nil {
			return err
		}
	}
	return nil
}

// SealDir makes one folder canonical.
func SealDir(dir string) error {
	if err := os.Chmod(dir, 0o555); err != nil {
		return err
	}
	return os.Chtimes(dir, Time, Time)
}
