package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Copy copies the tree below the open directory src into t: directories, symbolic links, which are never followed, and
// files, which are executable when their owner may execute them. Anything else is refused as special. What skip accepts is
// left out; nil accepts nothing.
func Copy(ctx context.Context, src *os.File, t *Tree, skip func(fs.FileInfo) bool) error {
	if skip == nil {
		skip = func(fs.FileInfo) bool { return false }
	}
	return (&copier{ctx, t, skip}).dir(src, "")
}

type copier struct {
	ctx  context.Context
	t    *Tree
	skip func(fs.FileInfo) bool
}

// dir copies what is in d, whose name ends in a slash or is empty. Tree refuses names that are too deep.
func (c *copier) dir(d *os.File, name string) error {
	if _, err := d.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("list %q: %w", name, err)
	}
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			if err := c.entry(d, e, name+e.Name()); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %q: %w", name, err)
		}
	}
}

func (c *copier) entry(d *os.File, e fs.DirEntry, name string) error {
	switch e.Type() {
	case fs.ModeSymlink:
		buf := make([]byte, maxPath+1)
		n, err := unix.Readlinkat(fileno(d), e.Name(), buf)
		if err != nil {
			return fmt.Errorf("read link %q: %w", name, err)
		}
		return c.t.Symlink(name, string(buf[:n]))
	case 0, fs.ModeDir:
	default:
		return refuse("special", name)
	}
	fd, err := unix.Openat(fileno(d), e.Name(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open %q: %w", name, err)
	}
	switch {
	case c.skip(info):
		return nil
	case info.Mode().IsRegular():
		return c.t.File(name, Content{f, info.Size(), info.Mode()&0o100 != 0})
	case !info.IsDir():
		return refuse("special", name)
	}
	if err := c.t.Dir(name); err != nil {
		return err
	}
	return c.dir(f, name+"/")
}
