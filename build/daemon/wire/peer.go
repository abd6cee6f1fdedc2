package wire

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Caller is who is at the other end, as the kernel tells it (unix(7)): the process that connected, or that listens.
type Caller struct {
	UID, GID, PID int
	// Groups are the supplementary ones, nil where the kernel does not tell (before Linux 4.13).
	Groups []int
}

// Peer asks the kernel who is at the other end.
func (c *Conn) Peer() (caller Caller, err error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return caller, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			caller = Caller{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
			caller.Groups, err = peerGroups(int(fd))
		}
	})
	if err = errors.Join(controlErr, err); err != nil {
		return caller, fmt.Errorf("ask who is at the other end: %w", err)
	}
	return caller, nil
}

// peerGroups is getsockopt(SO_PEERGROUPS), for which x/sys has no function. The groups that a name service knows are among
// them, which a static program could not ask for.
func peerGroups(fd int) ([]int, error) {
	list := make([]uint32, 64)
	for {
		size := uint32(4 * len(list))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ENOPROTOOPT:
			return nil, nil
		case errno == unix.ERANGE && int(size) > 4*len(list):
			list = make([]uint32, size/4)
			continue
		case errno != 0:
			return nil, errno
		}
		groups := make([]int, size/4)
		for i := range groups {
			groups[i] = int(list[i])
		}
		return groups, nil
	}
}
