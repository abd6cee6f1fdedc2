package tree

import (
	"errors"

	"golang.org/x/sys/unix"
)

// window is how many directories of a ladder are open at once.
const window = 64

// ladder is a way down from a root directory. However deep it leads, only the root and the lowest directories are open;
// the others are opened again, component by component from above, when the way leads back to them, and have to be the
// directories that they were.
type ladder struct {
	root   int // not ours to close
	unlock bool
	rungs  []rung
}

type rung struct {
	name string
	stat unix.Stat_t
	fd   int // -1 while closed
}

func newLadder(root int, unlock bool) *ladder { return &ladder{root: root, unlock: unlock} }

// fd returns the descriptor of the lowest directory, which stays the ladder's.
func (l *ladder) fd() (int, error) {
	last := len(l.rungs) - 1
	if last < 0 {
		return l.root, nil
	}
	i := last
	for i >= 0 && l.rungs[i].fd < 0 {
		i--
	}
	for i++; i <= last; i++ {
		r := &l.rungs[i]
		fd, err := openDir(l.at(i-1), r.name, &r.stat, l.unlock)
		if err != nil {
			return -1, err
		}
		r.fd = fd
		l.shut(i - window)
	}
	return l.rungs[last].fd, nil
}

// down opens the directory name of the lowest one, which has to be the one that stat describes, and returns its descriptor.
func (l *ladder) down(name string, stat *unix.Stat_t) (int, error) {
	dir, err := l.fd()
	if err != nil {
		return -1, err
	}
	fd, err := openDir(dir, name, stat, l.unlock)
	if err != nil {
		return -1, err
	}
	l.rungs = append(l.rungs, rung{name, *stat, fd})
	l.rungs[len(l.rungs)-1].stat.Mode |= 0o700 // accessible from now on, whatever mode it gets
	l.shut(len(l.rungs) - 1 - window)
	return fd, nil
}

// up leaves the lowest directory.
func (l *ladder) up() {
	if last := len(l.rungs) - 1; last >= 0 {
		l.shut(last)
		l.rungs = l.rungs[:last]
	}
}

func (l *ladder) at(i int) int {
	if i < 0 {
		return l.root
	}
	return l.rungs[i].fd
}

func (l *ladder) shut(i int) {
	if i >= 0 && l.rungs[i].fd >= 0 {
		unix.Close(l.rungs[i].fd)
		l.rungs[i].fd = -1
	}
}

func (l *ladder) close() {
	for i := range l.rungs {
		l.shut(i)
	}
}

// openDir opens a directory for reading that has to be the one that want describes, never through a link nor across a
// mount. With unlock, one whose mode keeps its owner out is made accessible.
func openDir(dir int, name string, want *unix.Stat_t, unlock bool) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if unlock && want.Mode&0o700 != 0o700 {
		// Only as an owner: root comes in without, and what is not ours is refused before.
		if fd, err := openLocked(dir, name, want, flags); err == nil {
			return fd, nil
		}
	}
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6; in jails that do not know it
		fd, err = unix.Openat(dir, name, flags, 0)
	}
	if errors.Is(err, unix.EXDEV) {
		return -1, &RefusedError{name, "mount", "another file system is mounted on it"}
	}
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !same(&st, want) {
		unix.Close(fd)
		return -1, &RefusedError{name, "changed", "another directory took its name"}
	}
	return fd, nil
}
