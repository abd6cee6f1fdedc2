//go:build !amd64 && !arm64

package ptrace

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Jails do not run on other architectures: package seccomp has no filters for them.

func callByRegisters(int) (call, syscall.Errno) { return call{}, unix.ENOSYS }

func resultByRegisters(int, uint32) (int64, syscall.Errno) { return 0, unix.ENOSYS }

func answer(int, syscall.Errno) syscall.Errno { return unix.ENOSYS }
