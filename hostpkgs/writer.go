package hostpkgs

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// writer makes a canonical tree: files 0444 or 0555, folders 0555, one time for all. Names are absolute in the tree; the
// folders of a name are made as needed. seal comes last.
type writer struct {
	root  string
	dirs  map[string]bool
	order []string
}

func newWriter(root string) (*writer, error) {
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	return &writer{root: root, dirs: map[string]bool{"/": true}}, nil
}

func (w *writer) path(name string) string { return filepath.Join(w.root, name) }

func (w *writer) dir(name string) error {
	if w.dirs[name] {
		return nil
	}
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.Mkdir(w.path(name), 0o755); err != nil {
		return err
	}
	w.dirs[name] = true
	w.order = append(w.order, name)
	return nil
}

// file copies src, sharing its blocks where the file system can (ioctl_ficlone(2)), else in the kernel
// (copy_file_range(2), by io.Copy).
func (w *writer) file(name string, src *os.File, executable bool) (int64, error) {
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

func (w *writer) data(name string, content []byte) error {
	_, err := w.create(name, false, func(dst *os.File) (int64, error) {
		n, err := dst.Write(content)
		return int64(n), err
	})
	return err
}

func (w *writer) create(name string, executable bool, fill func(*os.File) (int64, error)) (int64, error) {
	if err := w.dir(path.Dir(name)); err != nil {
		return 0, err
	}
	dst, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
	times := []unix.Timeval{unix.NsecToTimeval(canonicalTime.UnixNano()), unix.NsecToTimeval(canonicalTime.UnixNano())}
	if err := unix.Futimes(int(dst.Fd()), times); err != nil {
		return 0, err
	}
	return size, dst.Close()
}

func (w *writer) symlink(name, target string) error {
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.Symlink(target, w.path(name)); err != nil {
		return err
	}
	stamp := unix.NsecToTimespec(canonicalTime.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, w.path(name), []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
}

// share makes a file with the content of one that is canonical already: a further name where there can be one, else a copy.
func (w *writer) share(name, file string) error {
	if err := w.hardlink(name, file); err == nil {
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
	_, err = w.file(name, src, info.Mode()&0o111 != 0)
	return err
}

// hardlink names a file that is canonical already.
func (w *writer) hardlink(name, file string) error {
	if err := w.dir(path.Dir(name)); err != nil {
		return err
	}
	return os.Link(file, w.path(name))
}

// seal makes the folders read-only, but for the root: publish does that.
func (w *writer) seal() error {
	for _, name := range slices.Backward(w.order) {
		if err := sealDir(w.path(name)); err != nil {
			return err
		}
	}
	return nil
}
