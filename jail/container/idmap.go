package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

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
	f, err := userNamespace(uid)
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

// userNamespace makes a namespace by a child that lives until it is opened.
func userNamespace(uid int) (_ *os.File, err error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{waitName}
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: mapping, GidMappings: mapping}
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	err = errors.Join(err, hold.Close())
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	return f, err
}

// waitName is argument 0 of a child that lives until its standard input ends; jail/reexec keeps it from starting Go.
const waitName = "hdjail-wait"

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
