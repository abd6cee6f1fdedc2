package manners

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The lowest best-effort priority of input and output (ioprio_set(2)).
const (
	niceness       = 10
	ioWhoProcess   = 1
	ioBestEffort   = 2
	ioClassShift   = 13
	ioLowestWithin = 7
)

// StandBack lowers the priority of this process, and so of all that it starts. Both priorities belong to threads, and a new
// thread has those of the one that made it.
func StandBack() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
			return os.NewSyscallError("setpriority", err)
		}
		_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(tid), ioBestEffort<<ioClassShift|ioLowestWithin)
		if errno != 0 && errno != unix.ESRCH {
			return os.NewSyscallError("ioprio_set", errno)
		}
	}
	return nil
}
