package container

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
)

// landlockVersion asks landlock_create_ruleset(2) for the highest ABI.
const landlockVersion = 1

// landlockFloor is the lowest ABI that is used: the first one has no REFER, and fails every rename to another directory.
const landlockFloor = 2

// landlockScoping is the ABI from which on abstract sockets and signals stay inside.
const landlockScoping = 6

// landlockABI is the highest ABI of the running kernel, or why there is none.
func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, landlockVersion)
	if errno != 0 {
		return 0, errno
	}
	return int(abi), nil
}

// landlockRule grants access, LANDLOCK_ACCESS_FS_*, to a path of the jail and all below it.
type landlockRule struct {
	path   string
	access uint64
}

// landlock is what the second fence behind the mounts says, the same as they do: what it handles is denied but for the rules.
// The zero value is no fence.
type landlock struct {
	handled, scoped uint64
	rules           []landlockRule
}

// Rights (landlock(7)).
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// landlockFile are the rights that a rule for a file may have.
	landlockFile  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | landlockChange
	landlockWrite = landlockChange | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	landlockChange = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	landlockScopes = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
)

// planLandlock is the fence for a jail under an ABI. Device nodes are never made, whatever the mount. TCP is not handled: test
// suites talk over the jail's own loopback, and nothing else is on its network.
func planLandlock(c jail.Config, abi int) (l landlock) {
	if !c.Mode.Filtered() || abi < landlockFloor {
		return l
	}
	l.handled = unix.LANDLOCK_ACCESS_FS_EXECUTE | landlockRead | landlockWrite | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	if abi < 3 {
		l.handled &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi < 5 {
		l.handled &^= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= landlockScoping {
		l.scoped = landlockScopes
	}
	l.rules = []landlockRule{{"/", unix.LANDLOCK_ACCESS_FS_READ_DIR}}
	for _, e := range c.Mounts.Entries {
		if access := landlockAccess(e) & l.handled; access != 0 {
			l.rules = append(l.rules, landlockRule{e.Target, access})
		}
	}
	return l
}

// landlockAccess is what an entry of the mount table lets a build do.
func landlockAccess(e mounts.Entry) uint64 {
	if e.Kind == mounts.File {
		return unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	}
	if !e.Mounted() || e.Kind == mounts.Skeleton {
		return 0
	}
	access := uint64(landlockRead)
	if !e.NoExec {
		access |= unix.LANDLOCK_ACCESS_FS_EXECUTE
	}
	switch {
	case e.Kind == mounts.Proc, e.Device: // written to, and nothing is made there
		access |= landlockChange
	case e.Writable:
		access |= landlockWrite
	}
	if e.Kind == mounts.Bind && !e.Directory {
		access &= landlockFile
	}
	return access
}

// encode is the head of the ruleset, as stage 2 reads it, and its rules.
func (l landlock) encode() (head []byte, rules [][]byte) {
	head = binary.NativeEndian.AppendUint64(nil, l.handled)
	head = binary.NativeEndian.AppendUint64(head, l.scoped)
	for _, r := range l.rules {
		rule := binary.NativeEndian.AppendUint64(nil, r.access)
		rules = append(rules, append(append(rule, r.path...), 0))
	}
	return head, rules
}
