package container

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"hdjail/jail/reexec"
	"hdjail/mounts"
)

// idmaps are user namespaces in which id 0 is a leased one. A mount that is mapped by one shows root's files as the
// build's own, as an ordinary user's jail shows his: what a build sees does not depend on who runs it.
type idmaps struct {
	mu    sync.Mutex
	found map[int]*os.File // by leased uid
}

// open returns the namespace for a leased uid, whose gid is the same number. It belongs to the idmaps.
func (m *idmaps) open(uid int) (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.found[uid]; f != nil {
		return f, nil
	}
	f, err := reexec.UserNamespace(uid)
	if err != nil {
		return nil, err
	}
	m.found[uid] = f
	return f, nil
}

func (m *idmaps) close() (err error) {
	for _, f := range m.found {
		err = errors.Join(err, f.Close())
	}
	return err
}

// mapTree sets the flags of a cloned mount and, where idmap is not nil, maps its ids. A read-only tree on a file system that
// cannot do that is shown with its owners as they are; a writable one is refused, since the build could not write there.
func mapTree(fd int, e mounts.Entry, recursive uint, idmap *os.File) error {
	attr := unix.MountAttr{Attr_set: attributes(e), Propagation: unix.MS_PRIVATE}
	if idmap != nil {
		mapped := attr
		mapped.Attr_set |= unix.MOUNT_ATTR_IDMAP
		mapped.Userns_fd = uint64(idmap.Fd())
		err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &mapped)
		if err == nil || e.Writable {
			return err
		}
	}
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|recursive, &attr)
}
