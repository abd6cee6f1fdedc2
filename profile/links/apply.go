package links

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Apply makes what the plan says. root is an open directory that stands for base, an absolute path that every target of
// the plan lies below; the two differ while a tree is made that will be renamed. Parents are made as needed, with mode 0755
// whatever the umask. Nothing is written through a symlink, and nothing is replaced that the plan does not say. After an
// error or a cancelled ctx what was made stays there.
func Apply(ctx context.Context, root *os.File, base string, plan Actions) error {
	steps, err := effective(plan.Steps, base)
	if err != nil {
		return err
	}
	at := cursor{fds: []int{int(root.Fd())}}
	defer at.close()
	for _, a := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir, err := at.enter(strings.TrimPrefix(path.Dir(a.path), base))
		if err == nil {
			err = a.do(dir)
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", a.Verb, a.Target, err)
		}
	}
	return nil
}

// effective returns the steps that change something, those of one directory together.
func effective(all []Action, base string) ([]Action, error) {
	steps := make([]Action, 0, len(all))
	for _, a := range all {
		if a.Idle || a.Verb == Makedirs {
			continue
		}
		if !strings.HasPrefix(a.path, strings.TrimSuffix(base, "/")+"/") {
			return nil, fmt.Errorf("%s %q: it does not lie below %s", a.Verb, a.Target, base)
		}
		steps = append(steps, a)
	}
	slices.SortStableFunc(steps, func(a, b Action) int { return strings.Compare(path.Dir(a.path), path.Dir(b.path)) })
	return steps, nil
}

// do makes the target of a in the directory dir.
func (a Action) do(dir int) error {
	name := path.Base(a.path)
	switch a.Verb {
	case Unlink:
		return unix.Unlinkat(dir, name, 0)
	case Copy:
		tree, ok := a.tree.(copyTree)
		if !ok {
			return fs.ErrInvalid
		}
		return copier{tree: tree}.copy(a.Source, dir, name)
	}
	return unix.Symlinkat(a.Text, dir, name)
}

// cursor holds the descriptors of one directory below a root and of its parents up to the root, which it does not own.
type cursor struct {
	names []string
	fds   []int
}

// enter moves to the directory at the slash-separated path dir below the root, and makes what is missing of it.
func (c *cursor) enter(dir string) (int, error) {
	names := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	common := 0
	for common < len(names) && common < len(c.names) && names[common] == c.names[common] {
		common++
	}
	c.leave(common)
	for _, name := range names[common:] {
		fd, err := makeDir(c.fds[len(c.fds)-1], name)
		if err != nil {
			return -1, err
		}
		c.names, c.fds = append(c.names, name), append(c.fds, fd)
	}
	return c.fds[len(c.fds)-1], nil
}

// leave goes up to the given depth.
func (c *cursor) leave(depth int) {
	for len(c.names) > depth {
		last := len(c.names) - 1
		unix.Close(c.fds[last+1])
		c.names, c.fds = c.names[:last], c.fds[:last+1]
	}
}

func (c *cursor) close() { c.leave(0) }

// makeDir makes and opens a directory, or opens the one that is there. A link is refused with ENOTDIR.
func makeDir(parent int, name string) (int, error) {
	err := unix.Mkdirat(parent, name, 0o755)
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	made := err == nil
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil || !made {
		return fd, err
	}
	if err := unix.Fchmod(fd, 0o755); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// copier copies files and directories of a tree, following links. above are the directories that are being copied.
type copier struct {
	tree  copyTree
	above []fs.FileInfo
}

func (c copier) copy(source string, dir int, name string) error {
	from, err := c.tree.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return c.copyDir(source, info, dir, name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("copy %q: it is neither a file nor a directory", source)
	}
	mode := uint32(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), name)
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	return to.Close()
}

func (c copier) copyDir(source string, info fs.FileInfo, dir int, name string) error {
	if slices.ContainsFunc(c.above, func(above fs.FileInfo) bool { return os.SameFile(above, info) }) {
		return fmt.Errorf("copy %q: its links go in a circle", source)
	}
	c.above = append(slices.Clip(c.above), info)
	entries, err := c.tree.ReadDir(source)
	if err != nil {
		return err
	}
	fd, err := makeDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, e := range entries {
		if err := c.copy(join(source, e.Name()), fd, e.Name()); err != nil {
			return err
		}
	}
	return nil
}
