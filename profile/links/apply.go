package links

import (
	"context"
	"fmt"
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
	defer at.leave(0)
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

// Links are what Apply makes below base where nothing was before: what each link says, by its path relative to base.
func (plan Actions) Links(base string) (map[string]string, error) {
	steps, err := effective(plan.Steps, base)
	made := make(map[string]string, len(steps))
	for _, a := range steps {
		if name := strings.TrimPrefix(a.path, strings.TrimSuffix(base, "/")+"/"); a.Verb == Unlink {
			delete(made, name)
		} else {
			made[name] = a.Text
		}
	}
	return made, err
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
	if a.Verb == Unlink {
		return unix.Unlinkat(dir, name, 0)
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
