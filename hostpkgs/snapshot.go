package hostpkgs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/hostpkgs/tree"
)

// Reasons for an Omission.
const (
	notReadable   = "not readable by everybody"
	notSearchable = "in a folder that not everybody may search"
	notAFile      = "a device, socket or pipe"
	notShown      = "in a place that a jail has of its own"
)

// ownPlaces are the folders of the root that a jail makes itself, or never has.
var ownPlaces = []string{"boot", "dev", "home", "media", "mnt", "proc", "root", "run", "sys", "tmp"}

// snapshot copies what a package installed into the new folder dst, at its real names, and returns its pin without the
// digest. What somebody may not read is left out, whoever is calling, so that root and others get the same.
func (h *Host) snapshot(ctx context.Context, c Contents, dst string) (Pinned, error) {
	var pin Pinned
	out, err := tree.NewWriter(dst)
	if err != nil {
		return pin, err
	}
	root, err := unix.Open(h.cfg.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pin, err
	}
	in := &copier{out: out, pin: &pin, way: []folder{{name: "/", fd: root}}, linked: map[[2]uint64]string{}}
	defer in.close()
	for _, name := range h.realNames(c.Paths, in) {
		if err := ctx.Err(); err != nil {
			return pin, err
		}
		if err := in.copy(name); err != nil {
			return pin, fmt.Errorf("copy %q: %w", name, err)
		}
	}
	slices.SortFunc(pin.Omitted, func(a, b Omission) int { return strings.Compare(a.Path, b.Path) })
	return pin, out.Seal()
}

// realNames resolves paths and sorts them so that what is in one folder stands together. It omits what cannot be shown.
func (h *Host) realNames(paths []string, in *copier) []string {
	var names []string
	for _, p := range paths {
		real := h.names.Name(p)
		top, rest, _ := strings.Cut(real.Path[1:], "/")
		switch {
		case real.Path == "/":
		case slices.Contains(ownPlaces, top):
			if rest != "" {
				in.omit(real.Path, notShown)
			}
		case real.Closed:
			in.omit(real.Path, notSearchable)
		default:
			names = append(names, real.Path)
		}
	}
	slices.SortFunc(names, tree.ComparePaths)
	return slices.Compact(names)
}

// copier copies from the host, folder by folder through descriptors, following no link: a name that was swapped for a
// link since it was resolved is left out as missing. way is the folder at hand and its parents, which everybody may search.
type copier struct {
	out    *tree.Writer
	pin    *Pinned
	way    []folder
	linked map[[2]uint64]string // device and inode of a copied file with several names → where the copy is
}

type folder struct {
	name string
	fd   int
}

// errClosed says that not everybody may search a folder.
var errClosed = errors.New("closed folder")

func (c *copier) close() {
	for _, f := range c.way {
		unix.Close(f.fd)
	}
}

func (c *copier) omit(name, reason string) {
	c.pin.Omitted = append(c.pin.Omitted, Omission{name, reason})
}

func (c *copier) copy(name string) error {
	fd, err := c.enter(path.Dir(name))
	switch {
	case isMissing(err):
		return nil
	case errors.Is(err, errClosed):
		c.omit(name, notSearchable)
		return nil
	case err != nil:
		return err
	}
	base := path.Base(name)
	var st unix.Stat_t
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); isMissing(err) {
		return nil
	} else if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.out.Dir(name)
	case unix.S_IFLNK:
		target, err := readlinkat(fd, base)
		if err != nil {
			return err
		}
		c.pin.Files++
		return c.out.Symlink(name, target)
	case unix.S_IFREG:
		if st.Mode&0o004 != 0 {
			return c.copyFile(fd, name)
		}
		c.omit(name, notReadable)
		return nil
	}
	c.omit(name, notAFile)
	return nil
}

// copyFile copies a regular file. It looks again at what it opened.
func (c *copier) copyFile(dir int, name string) error {
	fd, err := unix.Openat(dir, path.Base(name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	src := os.NewFile(uintptr(fd), name)
	defer src.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o004 == 0 {
		return errors.New("changed while it was opened")
	}
	c.pin.Files++
	c.pin.Bytes += st.Size
	inode := [2]uint64{st.Dev, st.Ino}
	if first, ok := c.linked[inode]; ok && c.out.Hardlink(name, first) == nil {
		return nil
	}
	size, err := c.out.File(name, src, st.Mode&0o111 != 0)
	if err != nil {
		return err
	}
	if size != st.Size {
		return fmt.Errorf("changed while it was copied: %d bytes of %d", size, st.Size)
	}
	if st.Nlink > 1 {
		c.linked[inode] = c.out.Path(name)
	}
	return nil
}

// enter returns a descriptor of a folder of the host, valid until the next call.
func (c *copier) enter(dir string) (int, error) {
	for !contains(c.way[len(c.way)-1].name, dir) {
		unix.Close(c.way[len(c.way)-1].fd)
		c.way = c.way[:len(c.way)-1]
	}
	for at := c.way[len(c.way)-1]; at.name != dir; {
		rest := strings.TrimPrefix(dir[len(at.name):], "/")
		base, _, _ := strings.Cut(rest, "/")
		fd, err := unix.Openat(at.fd, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		at = folder{name: path.Join(at.name, base), fd: fd}
		c.way = append(c.way, at)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return -1, err
		}
		if st.Mode&0o001 == 0 {
			c.way = c.way[:len(c.way)-1]
			unix.Close(fd)
			return -1, errClosed
		}
	}
	return c.way[len(c.way)-1].fd, nil
}

// contains reports whether name is dir or below it.
func contains(dir, name string) bool {
	return dir == "/" || name == dir || strings.HasPrefix(name, dir) && name[len(dir)] == '/'
}

func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
