package collect

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

// judge decides entry by entry what is refused, and at the end what only the whole tree shows.
type judge struct {
	Options
	root   *os.File
	caller int
	inodes map[inode]linked
	bytes  int64
	// through are the directories that links go up from again, with the link: they have to be no links themselves.
	through map[string]string
}

type inode struct{ device, number uint64 }

// linked is a file with several names: how many it has, how many of them were seen, and one of these.
type linked struct {
	links, seen uint64
	path        string
}

func newJudge(root *os.File, o Options) *judge {
	return &judge{Options: o, root: root, caller: os.Geteuid(), inodes: map[inode]linked{}, through: map[string]string{}}
}

func (j *judge) entry(n *tree.Node) error {
	refuse := func(kind, format string, args ...any) error {
		return &RefusedError{Path: n.Path, Kind: kind, Detail: fmt.Sprintf(format, args...)}
	}
	if uid := int(n.Stat.Uid); uid != j.UID && uid != j.caller {
		return refuse("foreign-owner", "it belongs to user %d", uid)
	}
	switch n.Kind {
	case tree.Directory:
		return nil
	case tree.Link:
		if reason := j.link(n.Path, n.Target); reason != "" {
			return refuse("link-leaves-tree", "its target %q %s", n.Target, reason)
		}
	default:
		if n.Stat.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
			return refuse("set-id", "its mode is %04o", n.Stat.Mode&0o7777)
		}
		if j.bytes += n.Stat.Size; j.MaxBytes > 0 && j.bytes > j.MaxBytes {
			return refuse("too-large", "the files up to this one hold %d bytes, more than the limit of %d", j.bytes, j.MaxBytes)
		}
	}
	if n.Stat.Nlink > 1 {
		key := inode{n.Stat.Dev, n.Stat.Ino}
		l := j.inodes[key]
		j.inodes[key] = linked{uint64(n.Stat.Nlink), l.seen + 1, n.Path}
	}
	return nil
}

// link tells why a link may not lead to the target, or nothing.
func (j *judge) link(at, target string) string {
	if path.IsAbs(target) {
		return j.absolute(target)
	}
	dir := split(path.Dir(at))
	named := 0 // how many components at the end of dir the target named
	for rest := split(target); len(rest) > 0; rest = rest[1:] {
		name := rest[0]
		if name != ".." {
			dir, named = append(dir, name), named+1
			continue
		}
		if len(dir) == 0 {
			return j.sibling(rest[1:])
		}
		if named > 0 {
			// Up again from what the target itself named: were that a link, this would lead elsewhere.
			j.through[strings.Join(dir, "/")] = at
			named--
		}
		dir = dir[:len(dir)-1]
	}
	return ""
}

// absolute judges a target that begins with "/".
func (j *judge) absolute(target string) string {
	if slices.Contains(split(target), "..") {
		return "is absolute and goes up"
	}
	clean := path.Clean(target)
	for _, dir := range append([]string{j.Artifact}, j.Dependencies...) {
		if dir != "" && (clean == dir || strings.HasPrefix(clean, dir+"/")) {
			return ""
		}
	}
	if j.Allowed != nil && j.Allowed(clean) {
		return ""
	}
	return "is neither in the artifact, nor in a dependency, nor whitelisted"
}

// sibling judges what is left of a target that has gone up from the root of the tree, to where its dependencies are.
func (j *judge) sibling(rest []string) string {
	switch {
	case len(rest) == 0 || !slices.Contains(j.Direct, rest[0]):
		return "leads out of the tree"
	case slices.Contains(rest, ".."):
		return "goes up from a dependency"
	}
	return ""
}

// finish judges what needs the whole tree.
func (j *judge) finish() error {
	for _, l := range j.inodes {
		if l.seen != l.links {
			return &RefusedError{Path: l.path, Kind: "hard-link", Detail: fmt.Sprintf("%d of its %d names are in the tree", l.seen, l.links)}
		}
	}
	for dir, at := range j.through {
		ok, err := j.noLinks(dir)
		if err != nil {
			return fmt.Errorf("follow link %q: %w", at, err)
		}
		if !ok {
			return &RefusedError{Path: at, Kind: "link-leaves-tree", Detail: fmt.Sprintf("its target goes up again from %q, which leads through a link", dir)}
		}
	}
	return nil
}

// noLinks reports whether no component of the path is a link. One that does not exist leads nowhere, which is fine.
func (j *judge) noLinks(dir string) (bool, error) {
	fd := int(j.root.Fd())
	for _, name := range split(dir) {
		next, err := unix.Openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if fd != int(j.root.Fd()) {
			unix.Close(fd)
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		fd = next
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
			unix.Close(fd)
			return false, err
		}
	}
	if fd != int(j.root.Fd()) {
		unix.Close(fd)
	}
	return true, nil
}

// split lists the components of a path that lead anywhere.
func split(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(c string) bool { return c == "" || c == "." })
}
