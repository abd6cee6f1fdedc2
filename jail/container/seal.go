package container

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runc/libcontainer/exeseal"
	"golang.org/x/sys/unix"
)

// Reexec replaces this process by a sealed copy of itself, unless it is one already. libcontainer would else make a copy
// for each jail (CVE-2019-5736): a process that starts jails calls Reexec first. It returns only with an error or when
// nothing was to be done.
func Reexec() error {
	if exeseal.IsSelfExeCloned() {
		return nil
	}
	copied, err := sealedSelf()
	if err != nil {
		return err
	}
	err = unix.Exec(fmt.Sprintf("/proc/self/fd/%d", copied.Fd()), os.Args, os.Environ())
	return &os.PathError{Op: "exec", Path: "sealed copy", Err: err}
}

// sealedSelf returns this program as a file in memory that nobody can change. It is readable for everybody: a process
// that executes a file which it may not read is not dumpable, and so cannot map its own ids (proc(5)).
func sealedSelf() (_ *os.File, err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	if exeseal.IsCloned(self) {
		return self, nil
	}
	defer self.Close()
	fd, err := unix.MemfdCreate("hdjail", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC is unknown before Linux 6.3
		fd, err = unix.MemfdCreate("hdjail", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, &os.SyscallError{Syscall: "memfd_create", Err: err}
	}
	copied := os.NewFile(uintptr(fd), "hdjail")
	defer func() {
		if err != nil {
			copied.Close()
		}
	}()
	if _, err := io.Copy(copied, self); err != nil {
		return nil, err
	}
	if err := copied.Chmod(0o555); err != nil {
		return nil, err
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(copied.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, &os.SyscallError{Syscall: "fcntl", Err: err}
	}
	return copied, nil
}
